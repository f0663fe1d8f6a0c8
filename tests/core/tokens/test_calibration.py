"""Corrections: the simplest that explains what was reported, unmoved by single strange calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.tokens.calibration import ENOUGH, NONE, WINDOW, Calibration, Correction, fitted
from tokenwise_core.tokens.counts import MessageCount, PromptCount
from tokenwise_core.tokens.scaling import apportioned, scaled
from tokenwise_core.usage.components import CountSource

SIZES = (10.0, 40.0, 15.0, 300.0, 80.0, 1000.0)


def test_good_estimates_are_left_alone() -> None:
    assert fitted([(size, size) for size in SIZES]) == NONE


def test_hidden_text_is_a_shift() -> None:
    assert fitted([(size, size + 29) for size in SIZES]) == Correction(shift=29)


def test_another_tokeniser_is_a_factor() -> None:
    correction = fitted([(size, 1.4 * size) for size in SIZES])
    assert correction.factor == pytest.approx(1.4)
    assert correction.shift == 0


def test_both_at_once_are_told_apart_when_sizes_differ() -> None:
    correction = fitted([(size, 1.2 * size + 50) for size in SIZES])
    assert correction.factor == pytest.approx(1.2)
    assert correction.shift == pytest.approx(50)


def test_a_few_strange_calls_change_nothing() -> None:
    strange = [(8.0, 3520.0), (8.0, 3520.0)]
    assert fitted([*((size, size) for size in SIZES), *strange]) == NONE


def test_too_few_observations_correct_nothing() -> None:
    assert fitted([(10.0, 50.0)] * (ENOUGH - 1)) == NONE


def test_a_new_model_borrows_from_its_family_until_it_has_its_own() -> None:
    calibration = Calibration()
    for _ in range(ENOUGH):
        calibration.observe(10, 30, "elder", "family")
    assert calibration.correction("newcomer", "family")[0](10) == 30
    for _ in range(ENOUGH):
        calibration.observe(10, 20, "newcomer", "family")
    assert calibration.correction("newcomer", "family")[0](10) == 20


def test_only_the_latest_observations_count() -> None:
    calibration = Calibration()
    for _ in range(WINDOW):
        calibration.observe(10, 99, "m")
    for _ in range(WINDOW):
        calibration.observe(10, 20, "m")
    assert calibration.correction("m") == (Correction(shift=10), WINDOW)


def test_nothing_is_learned_from_nothing() -> None:
    calibration = Calibration()
    for _ in range(ENOUGH):
        calibration.observe(0, 10, "m")
        calibration.observe(10, 0, "m")
    assert calibration.correction("m") == (NONE, 0)


@given(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)), max_size=40))
def test_a_correction_never_predicts_less_than_one_token(pairs: list[tuple[int, int]]) -> None:
    correction = fitted([(float(a), float(b)) for a, b in pairs])
    assert all(correction(estimate) >= 1 for estimate, _ in pairs)


@given(st.lists(st.integers(0, 5_000), max_size=30), st.integers(0, 100_000))
def test_apportioned_parts_sum_to_the_total_and_stay_within_a_token(parts: list[int], total: int) -> None:
    shares = apportioned(parts, total)
    if not sum(parts):
        assert shares == parts
        return
    assert sum(shares) == total
    assert all(abs(share - part * total / sum(parts)) <= 1 for share, part in zip(shares, parts, strict=True))


@given(st.lists(st.integers(0, 500), min_size=6, max_size=6), st.integers(1, 5_000))
def test_a_scaled_count_sums_to_what_it_was_scaled_to(values: list[int], total: int) -> None:
    text, calls, name, reasoning, media, overhead = values
    message = MessageCount(text=text, tool_calls=calls, name=name, reasoning=reasoning, media=media, overhead=overhead)
    counted = PromptCount(messages=(message, message), tools=(7, 9), tools_overhead=3, schema=text, overhead=2)
    assert scaled(counted, total, CountSource.CALIBRATED).total == total
