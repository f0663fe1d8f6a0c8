"""Judgement of neighbours: what is served, what is refused and why, and what a miss teaches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.answers import signature
from tokenwise_core.cache.entry import CachedAnswer, Label
from tokenwise_core.cache.features import COMPANY, NAMES, UNTIL, alone
from tokenwise_core.cache.reading import read
from tokenwise_core.cache.verifier import Verifier
from tokenwise_core.cache.verify import Judgement, Neighbour, judge, labels_of

ASKED = "How do I change the address of my account?"
REPHRASED = "How can I change the address for my account?"
OTHERS = (
    "Where do I change my account address?",
    "I want another address on my account",
    "Please change the account's address",
    "My account shows an old address",
    "What is the way to a new address in my account?",
    "Account address wrong, how to change it",
    "Can the address of an account be changed?",
)


def never() -> float:
    return 1.0


def always() -> float:
    return 0.0


def said(answer: str):
    return signature(CachedAnswer(text=answer), None)


def neighbour(text: str = REPHRASED, similarity: float = 0.95, answer: str = "address", **kwargs) -> Neighbour:
    given = {"seq": 1, "reading": read(text), "signature": said(answer)}
    return Neighbour(similarity=similarity, **{**given, **kwargs})


def neighbours(*answers: str, nearest: float = 0.95) -> list[Neighbour]:
    """One neighbour an answer, each a little further off."""
    texts = (REPHRASED, *OTHERS)
    return [neighbour(texts[n], nearest - 0.01 * n, answer, seq=n) for n, answer in enumerate(answers)]


def ask(near, verifier: Verifier, text: str = ASKED, *, explore=never, **kwargs) -> Judgement:
    return judge(read(text), near, verifier, **{"max_error": 0.05, "explore": explore, **kwargs})


def experienced(n: int = 900, *, explore: float = 0.03) -> Verifier:
    """A verifier that has seen the nearer and the more agreed be right, the others mostly wrong."""
    dice, verifier, learnt = np.random.default_rng(0), Verifier(explore=explore), []
    for _ in range(n):
        similarity = float(dice.uniform(0.6, 1.0))
        share = int(dice.integers(1, 9)) if similarity < 0.85 else int(dice.integers(5, 9))
        near = neighbours(*["address"] * share, *["billing"] * (8 - share), nearest=similarity)
        same = dice.random() < 1 / (1 + np.exp(-(30 * (similarity - 0.78) + share - 4)))
        learnt += [label for label, _ in labels_of(read(ASKED), near, said("address" if same else "other"))]
    verifier.learn(learnt)
    return verifier


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return experienced()


AGREED = neighbours(*["address"] * 8)


def test_what_is_near_and_agreed_is_served_once_it_is_earned(verifier):
    found = ask(AGREED, verifier)
    assert found.index == 0
    assert found.reason is None
    assert found.score > 0.95
    assert found.bound <= 0.05
    assert found.agreement == pytest.approx(1.0)
    assert len(found.features) == len(NAMES)


def test_an_untrained_cache_serves_no_rephrased_question():
    assert ask(AGREED, Verifier()).index is None


@pytest.mark.parametrize(
    "text", ["how do i change the address of my account", "How do I change the address of my account??"]
)
def test_an_untrained_cache_serves_the_question_in_another_spelling(text):
    assert ask([neighbour(ASKED, 0.998)], Verifier(), text).index == 0


def test_another_spelling_is_not_served_from_an_entry_that_was_mostly_wrong():
    assert ask([neighbour(ASKED, 0.998, right=1, wrong=2)], Verifier()).index is None


def test_a_lone_neighbour_is_served_when_nearness_alone_has_earned_it(verifier):
    assert ask([neighbour(similarity=0.97)], verifier).index == 0
    assert ask([neighbour(similarity=0.7)], verifier).index is None


@given(st.floats(0.5, 1.0), st.lists(st.sampled_from(["address", "billing"]), min_size=1, max_size=8))
def test_nothing_is_served_at_max_error_zero(nearest, answers):
    found = ask(neighbours(*answers, nearest=nearest), experienced_once(), max_error=0)
    assert (found.index, found.reason) == (None, "exact_only")


_ONCE: list[Verifier] = []


def experienced_once() -> Verifier:
    if not _ONCE:
        _ONCE.append(experienced())
    return _ONCE[0]


@given(st.floats(0.5, 1.0), st.lists(st.sampled_from(["address", "billing", "other"]), min_size=1, max_size=8))
def test_the_same_request_is_judged_the_same_twice_and_never_beyond_the_bound(nearest, answers):
    near = neighbours(*answers, nearest=nearest)
    found = ask(near, experienced_once())
    assert found == ask(near, experienced_once())
    if found.index is not None:
        assert found.bound <= 0.05
        assert 1 - found.score <= 0.05
        assert not found.vetoes


@given(st.floats(0.5, 1.0), st.floats(0.001, 0.1), st.floats(0.001, 0.1))
def test_what_a_stricter_bound_serves_a_looser_one_serves_too(nearest, one, other):
    near, (strict, loose) = neighbours(*["address"] * 8, nearest=nearest), sorted((one, other))
    if ask(near, experienced_once(), max_error=strict).index is not None:
        assert ask(near, experienced_once(), max_error=loose).index is not None


def test_a_veto_is_never_outvoted(verifier):
    near = [neighbour("How do I change the 2 addresses of my account?", 0.99)]
    found = ask(near, verifier, "How do I change the 3 addresses of my account?")
    assert found.index is None
    assert found.reason == "veto:number"
    assert found.vetoes == ("number",)


def test_another_neighbour_with_the_same_answer_stands_in_for_a_vetoed_one(verifier):
    near = [neighbour("How do I not change the address of my account?", 0.96), *AGREED]
    found = ask(sorted(near, key=lambda one: -one.similarity)[:8], verifier)
    assert found.index == 1


def test_a_veto_can_be_switched_off(verifier):
    near = [neighbour("How do I change the 2 addresses of my account?", 0.99)]
    text = "How do I change the 3 addresses of my account?"
    assert ask(near, verifier, text).reason == "veto:number"
    assert ask(near, verifier, text, off=["number"], max_error=0.2).index == 0


def test_neighbours_that_disagree_are_not_served(verifier):
    found = ask(neighbours("address", "billing", "card", "pin", "fee", "limit", "top-up", "refund"), verifier)
    assert found.index is None
    assert found.reason == "disagree"


def test_the_answer_that_most_carry_is_preferred_to_the_nearest(verifier):
    found = ask(neighbours("billing", *["address"] * 7), verifier)
    assert found.candidate == 1


def test_a_share_of_servable_requests_is_explored(verifier):
    found = ask(AGREED, verifier, explore=always)
    assert (found.index, found.reason) == (None, "explore")
    assert found.score is not None


def test_far_neighbours_are_as_good_as_none(verifier):
    assert ask([neighbour(similarity=0.3)], verifier).reason == "cold"
    assert ask([], verifier).reason == "cold"
    assert labels_of(read(ASKED), [neighbour(similarity=0.3)], said("address")) == []


def test_other_languages_get_half_the_error():
    verifier, spanish = experienced_once(), "¿Cómo cambio la dirección de mi cuenta del banco?"
    stored = "¿Cómo puedo cambiar la dirección de mi cuenta del banco?"
    near = [neighbour(stored, 0.99 - n / 100, seq=n) for n in range(8)]
    bounds = [0.002 * step for step in range(1, 40)]
    asked = [bound for bound in bounds if ask(near, verifier, spanish, max_error=bound).index is not None]
    limits = [ask(near, verifier, spanish, max_error=bound) for bound in bounds]
    assert asked
    assert all(1 - each.score <= bound / 2 for bound, each in zip(bounds, limits, strict=True) if bound in asked)


def test_a_miss_labels_the_judged_candidate_and_the_nearest_by_itself():
    near = neighbours("billing", *["address"] * 7)
    found = labels_of(read(ASKED), near, said("address"))
    assert [(label.same, place) for label, place in found] == [(True, 1), (False, 0)]
    assert found[0][0].features[COMPANY] == 7
    assert found[1][0].features == alone(read(ASKED), near[0])


def test_a_label_carries_the_score_and_says_that_it_was_explored(verifier):
    judgement = ask(AGREED, verifier, explore=always)
    ((label, place),) = labels_of(read(ASKED), AGREED, said("address"), judgement)
    assert (label.source, label.score, place) == ("explore", judgement.score, 0)
    assert label.features == judgement.features
    assert len(label.features) == UNTIL


def test_what_was_vetoed_teaches_nothing(verifier):
    near = [neighbour("How do I change the 2 addresses of my account?", 0.99)]
    text = "How do I change the 3 addresses of my account?"
    assert labels_of(read(text), near, said("address"), ask(near, verifier, text)) == []


def test_an_answer_that_cannot_be_compared_makes_no_label():
    prose = signature(CachedAnswer(text="You can change it in the settings of your profile."), None)
    other = signature(CachedAnswer(text="In your profile's settings, there you can change it."), None)
    assert labels_of(read(ASKED), [neighbour(signature=prose)], other) == []


def test_feedback_that_a_hit_was_wrong_is_not_forgotten_by_the_next_request(verifier):
    told = Verifier.from_json(verifier.to_json())
    hit = ask(AGREED, told)
    assert hit.index == 0
    for _ in range(20):
        told.learn([Label(features=hit.features, same=False, ts=0.0, source="feedback")])
    assert ask(AGREED, told).index is None


def test_nothing_is_learnt_from_a_single_tenant_that_another_could_read(verifier):
    """Labels are numbers: no word of a question is among the features."""
    assert all(isinstance(value, float) for value in ask(AGREED, verifier).features)


def test_the_same_words_are_served_whatever_their_look_alikes_answer():
    near = [neighbour(ASKED.upper(), 0.999, "of this one")]
    near += [neighbour(REPHRASED, 0.99, f"of another {n % 2}") for n in range(6)]
    judgement = ask(near, Verifier(explore=0))
    assert judgement.index == 0


def test_look_alikes_that_a_veto_forbids_do_not_outvote_the_question_itself():
    near = [neighbour("How do I reset a Hub 3 to factory settings?", 0.998, "of three")]
    near += [neighbour(f"How do I reset a Hub {n} to factory settings?", 0.99, "of another") for n in (2, 4, 5, 6)]
    assert ask(near, Verifier(explore=0), "How can I reset a Hub 3 to factory settings?").index == 0
