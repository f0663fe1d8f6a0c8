"""The bound on false hits, and the watch for drift."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.acceptance import DriftWatch, Evidence

labels = st.lists(st.tuples(st.floats(0.001, 0.9), st.booleans()), min_size=1, max_size=120)


def evidence(found) -> Evidence:
    estimates, wrong = zip(*found, strict=True)
    return Evidence(np.array(estimates), np.array(wrong, dtype=float), np.ones(len(found)))


@given(labels, st.floats(0, 1), st.data())
def test_one_error_more_never_lowers_the_bound(found, at, data):
    place = data.draw(st.integers(0, len(found) - 1))
    worse = [(p, w or n == place) for n, (p, w) in enumerate(found)]
    assert evidence(worse).bound(at) >= evidence(found).bound(at)


@given(labels, st.floats(0, 1), st.floats(0, 1))
def test_a_surer_candidate_never_has_a_higher_bound(found, one, other):
    known = evidence(found)
    sure, unsure = sorted((one, other))
    lowest = min(p for p, _ in found)
    if sure >= lowest:
        assert known.bound(sure) <= known.bound(unsure)
    else:
        assert known.bound(sure) == 1.0  # no label is as sure: nothing is known


def test_errors_that_the_model_did_not_expect_raise_the_bound_over_what_was_seen():
    found = [(0.01, n % 10 == 0) for n in range(200)]
    assert 0.10 <= evidence(found).bound(0.01) < 0.25


def test_a_model_that_is_right_earns_a_bound_not_far_above_its_estimate():
    dice = np.random.default_rng(1)
    found = [(0.02, bool(dice.random() < 0.02)) for _ in range(600)]
    assert 0.02 < evidence(found).bound(0.02) < 0.05


def test_the_bound_holds_in_nineteen_of_twenty_samples_of_a_calibrated_model():
    dice = np.random.default_rng(2)
    held = []
    for _ in range(400):
        estimates = dice.beta(1, 30, 300)
        wrong = dice.random(300) < estimates
        held.append(evidence(list(zip(estimates, wrong, strict=True))).bound(0.05) >= _true_rate(0.05))
    assert np.mean(held) >= 0.95


def _true_rate(limit: float) -> float:
    estimates = np.random.default_rng(3).beta(1, 30, 200_000)
    return float(estimates[estimates <= limit].mean())


def test_the_watch_stays_quiet_over_thousands_of_labels_that_go_as_expected():
    dice, watch = np.random.default_rng(4), DriftWatch()
    expected = dice.beta(1, 8, 10_000)
    assert not any(watch.alarms(p, wrong=bool(dice.random() < p)) for p in expected)


def test_the_watch_raises_the_alarm_within_some_tens_of_answers_that_have_changed():
    dice, watch = np.random.default_rng(5), DriftWatch()
    alarms = [watch.alarms(p, wrong=bool(dice.random() < 0.5)) for p in dice.beta(1, 8, 100)]
    assert any(alarms[:60])
