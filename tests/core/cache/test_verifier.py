"""The pooled verifier: what it learns, what it forgets, and that its state is all there is to it."""

from __future__ import annotations

import json
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.entry import Label
from tokenwise_core.cache.features import COMPANY, GROUP, NAMES, PAIR
from tokenwise_core.cache.verifier import ENOUGH, Estimate, Verifier

SURE, DOUBTFUL = 1.5, -1.5


def features(similarity: float, agreement: float = 0.2, *, alone: bool = False) -> tuple[float, ...]:
    pair = (similarity, *(0.0 for _ in PAIR[1:]))
    group = (0.0 if alone else agreement, *(0.0 for _ in GROUP[1:]))
    return (0.0 if alone else 7.0, 1.0, *pair, *group)


def label(similarity: float, same: bool, *, source: str = "miss", **kwargs) -> Label:
    return Label(features=features(similarity, **kwargs), same=same, ts=0.0, source=source)


def traffic(n: int, *, seed: int = 0, wrong_when_near: float = 0.0, alone: bool = False) -> list[Label]:
    """Labels of a world in which the nearer is the righter."""
    dice = np.random.default_rng(seed)
    found = []
    for similarity in dice.uniform(-2, 2, n):
        chance = 1 / (1 + np.exp(-4 * similarity - 1)) - (wrong_when_near if similarity > 0.5 else 0)
        found.append(label(float(similarity), bool(dice.random() < chance), alone=alone))
    return found


def trained(labels: list[Label]) -> Verifier:
    verifier = Verifier()
    verifier.learn(labels)
    return verifier


def judged(verifier: Verifier, values: tuple[float, ...]) -> Estimate:
    return verifier.estimate(values, max_error=0.05)


def test_the_features_have_the_names_that_they_say():
    assert len(features(0.0)) == len(NAMES)


def test_nothing_is_earned_before_enough_labels():
    verifier = trained([label(SURE, True)] * (ENOUGH - 1))
    assert judged(verifier, features(SURE)).bound is None
    verifier.learn([label(SURE, True)])
    assert judged(verifier, features(SURE)).bound is not None


@pytest.mark.parametrize("alone", [False, True])
def test_it_learns_which_neighbours_are_right(alone):
    verifier = trained(traffic(400, alone=alone))
    sure, doubtful = (judged(verifier, features(at, alone=alone)) for at in (SURE, DOUBTFUL))
    assert sure.error < 0.05 < 0.5 < doubtful.error
    assert sure.bound is not None
    assert sure.bound <= 0.05


def test_a_lone_neighbour_is_judged_by_what_labels_of_company_say_of_its_nearness():
    verifier = trained(traffic(600))
    assert judged(verifier, features(SURE, alone=True)).error < 0.05


def test_errors_among_near_neighbours_keep_the_bound_above_them():
    verifier = trained(traffic(600, wrong_when_near=0.2))
    bound = judged(verifier, features(SURE)).bound
    assert bound is not None
    assert bound > 0.1


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_batches_make_no_difference(cuts):
    labels = traffic(180)
    whole, cut = trained(labels), Verifier()
    start = 0
    for size in [*cuts, len(labels)]:
        cut.learn(labels[start : start + size])
        start += size
    assert cut.to_json() == whole.to_json()


def test_a_restored_verifier_decides_and_learns_on_the_same():
    verifier = trained(traffic(300))
    restored = Verifier.from_json(verifier.to_json())
    for at in np.linspace(-2, 2, 41):
        assert judged(restored, features(float(at))) == judged(verifier, features(float(at)))
    more = traffic(200, seed=1)
    verifier.learn(more)
    restored.learn(more)
    assert restored.to_json() == verifier.to_json()


def test_a_state_of_another_version_is_an_untrained_verifier():
    state = {**json.loads(trained(traffic(300)).to_json()), "version": 999}
    assert Verifier.from_json(json.dumps(state)).labels == 0


@given(st.integers(0, 400), st.floats(-2, 2))
def test_feedback_that_a_hit_was_wrong_never_raises_acceptance(n, at):
    verifier = trained(traffic(n))
    before = judged(verifier, features(at))
    verifier.learn([label(at, False, source="feedback")])
    after = judged(verifier, features(at))
    assert after.error >= before.error
    assert before.bound is None or after.bound >= before.bound


def test_feedback_counts_for_more_than_a_label():
    told, seen = trained(traffic(300)), trained(traffic(300))
    told.learn([label(SURE, False, source="feedback")])
    seen.learn([label(SURE, False)])
    assert judged(told, features(SURE)).bound > judged(seen, features(SURE)).bound


def test_answers_that_have_changed_turn_serving_off_within_some_tens_of_labels():
    verifier = trained(traffic(800))
    assert judged(verifier, features(SURE)).bound <= 0.05
    verifier.learn([label(float(at), False) for at in np.random.default_rng(2).uniform(-2, 1, 60)])
    after = judged(verifier, features(SURE))
    assert after.bound is None or after.bound > 0.05 or after.error > 0.05


def test_what_changed_is_learnt_anew():
    verifier = trained(traffic(800))
    verifier.learn([label(float(at), False) for at in np.random.default_rng(2).uniform(-2, 1, 100)])
    verifier.learn(traffic(1500, seed=3))
    assert judged(verifier, features(SURE)).bound <= 0.05


def test_labels_of_another_length_are_left_out():
    verifier = Verifier()
    verifier.learn([Label(features=(1.0, 2.0), same=True, ts=0.0)])
    assert verifier.labels == 0


def test_estimates_can_be_read_while_it_learns():
    verifier, failed = trained(traffic(200)), []

    def read():
        for _ in range(300):
            estimate = judged(verifier, features(SURE))
            if not 0 <= estimate.error <= 1:
                failed.append(estimate)

    threads = [Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for one in traffic(200, seed=5):
        verifier.learn([one])
    for thread in threads:
        thread.join()
    assert not failed
    assert verifier.labels == 400


def test_the_oldest_labels_are_forgotten(monkeypatch):
    monkeypatch.setattr("tokenwise_core.cache.verifier.MEMORY", 100)
    monkeypatch.setattr("tokenwise_core.cache.verifier._ROOM", 20)
    verifier = trained(traffic(500))
    assert 100 <= verifier.labels <= 120


def test_company_is_told_by_the_number_of_others():
    assert features(0.0, alone=True)[COMPANY] == 0


def test_an_explored_label_stands_for_what_was_served_along_with_it():
    """One error among thirty-three that were served must not count as thirty-three errors."""
    served = [label(SURE, True, source="explore")] * 30
    lucky, unlucky = trained([*traffic(600), *served]), trained([*traffic(600), *served])
    unlucky.learn([label(SURE, False, source="explore")])
    lone = features(SURE, alone=True)
    before, after = judged(lucky, lone), judged(unlucky, lone)
    assert before.bound < after.bound < 2 * before.bound
