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


limits = st.sampled_from((0.01, 0.05, 0.2, 1.0))


@given(labels, st.floats(0, 1), limits, st.data())
def test_one_error_more_never_lowers_the_bound(found, at, limit, data):
    place = data.draw(st.integers(0, len(found) - 1))
    worse = [(p, w or n == place) for n, (p, w) in enumerate(found)]
    assert evidence(worse).bound(at, limit=limit) >= evidence(found).bound(at, limit=limit)


@given(labels, st.floats(0, 1), st.floats(0, 1), limits)
def test_a_surer_candidate_never_has_a_higher_bound(found, one, other, limit):
    known, (sure, unsure) = evidence(found), sorted((one * limit, other * limit))
    assert known.bound(sure, limit=limit) <= known.bound(unsure, limit=limit)


def test_one_error_at_the_very_top_does_not_close_the_whole_region():
    found = [(0.001, True)] + [(0.01, False)] * 400
    assert evidence(found).bound(0.01, limit=0.05) < 0.05
    assert evidence(found).bound(0.001, limit=0.05) < 0.05


def test_errors_that_the_model_did_not_expect_raise_the_bound_over_what_was_seen():
    found = [(0.01, n % 10 == 0) for n in range(200)]
    assert 0.10 <= evidence(found).bound(0.01, limit=0.01) < 0.25


def test_a_model_that_is_right_earns_a_bound_not_far_above_its_estimate():
    dice = np.random.default_rng(1)
    found = [(0.02, bool(dice.random() < 0.02)) for _ in range(600)]
    assert 0.02 < evidence(found).bound(0.02, limit=0.02) < 0.05


def test_the_bound_holds_in_about_nineteen_of_twenty_samples_even_of_a_model_that_errs_by_half():
    dice = np.random.default_rng(2)
    for worse_by in (1.0, 1.5):
        held = []
        for _ in range(300):
            estimates = dice.beta(1, 30, 1000)
            wrong = dice.random(1000) < estimates * worse_by
            bound = evidence(list(zip(estimates, wrong, strict=True))).bound(0.05, limit=0.05)
            held.append(bound >= _true_rate(0.05) * worse_by)
        assert np.mean(held) >= 0.92


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
