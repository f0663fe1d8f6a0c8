from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.entries import MemoryEntries
from tokenwise_core.cache.entry import Label
from tokenwise_core.cache.shadow import Judged, ShadowReport, labels_for, shadow_report, upper_bound
from tokenwise_core.errors import BadInput


def label(score: float | None, *, same: bool) -> Label:
    return Label(features=(1.0,), same=same, ts=1.0, score=score)


def store(**counts: int) -> MemoryEntries:
    entries = MemoryEntries()
    entries.add_counts({name.replace("__", ":"): n for name, n in counts.items()})
    return entries


def test_the_report_counts_what_would_have_been_served() -> None:
    entries = store(
        would__exact=30, would__semantic=20, miss__shadow=50, miss__cold=150, shadow__right=46, shadow__wrong=1,
        shadow__unknown=3,
    )  # fmt: skip
    report = shadow_report(entries)
    assert report.lookups == 200
    assert report.would_be_rate == 0.25
    assert report.would_be == {"exact": 30, "semantic": 20}
    assert report.judged == Judged(right=46, wrong=1)
    assert report.unknown == 3
    assert report.judged.rate == pytest.approx(1 / 47)
    assert not report.is_within
    assert report.labels_needed == labels_for(1 / 47, 0.05) - 47  # type: ignore[operator]  # the rate is below


def test_an_empty_store_has_nothing_to_report() -> None:
    report = shadow_report(MemoryEntries())
    assert (report.would_be_rate, report.judged.rate, report.judged.bound) == (None, None, 1.0)
    assert report.labels_needed == 52
    assert not report.is_within
    assert any("nothing was judged yet" in line for line in report.lines())


@pytest.mark.parametrize(("max_error", "enough"), [(0.05, 52), (0.02, 133)])
def test_so_many_answers_without_an_error_are_enough(max_error: float, enough: int) -> None:
    assert shadow_report(store(shadow__right=enough), max_error=max_error).is_within
    assert not shadow_report(store(shadow__right=enough - 1), max_error=max_error).is_within
    assert shadow_report(store(shadow__right=enough - 1), max_error=max_error).labels_needed == 1


def test_a_rate_above_the_bound_is_never_enough() -> None:
    report = shadow_report(store(shadow__right=90, shadow__wrong=10))
    assert report.labels_needed is None
    assert "the rate itself is above it" in report.lines()[-1]


def test_the_bound_is_that_of_the_paper() -> None:
    assert upper_bound(0, 100) == pytest.approx(1.645**2 / (100 + 1.645**2))
    assert upper_bound(5, 100) == pytest.approx(0.0992, abs=1e-4)
    assert upper_bound(3, 3) == pytest.approx(1.0)
    assert upper_bound(0, 0) == 1.0


@given(n=st.integers(1, 10_000), wrong=st.integers(0, 10_000))
def test_the_bound_is_the_highest_rate_that_a_score_test_does_not_reject(n: int, wrong: int) -> None:
    wrong = min(wrong, n)
    rate, bound = wrong / n, upper_bound(wrong, n)
    assert rate - 1e-9 <= bound <= 1
    assert (bound - rate) ** 2 == pytest.approx(1.645**2 * bound * (1 - bound) / n, abs=1e-9)


@given(n=st.integers(1, 5_000), wrong=st.integers(0, 50), max_error=st.floats(0.005, 0.5))
def test_labels_for_is_where_the_bound_is_reached(n: int, wrong: int, max_error: float) -> None:
    wrong = min(wrong, n)
    needed = labels_for(wrong / n, max_error)
    if needed is None:
        assert upper_bound(wrong, n) > max_error
    elif abs(n - needed) > 1:
        assert (upper_bound(wrong, n) <= max_error) is (n >= needed)


def test_labels_are_told_by_score() -> None:
    entries = MemoryEntries()
    entries.add_labels(
        [label(0.99, same=True), *(label(score, same=False) for score in (0.96, 0.6, 0.3)), label(None, same=False)]
    )
    assert shadow_report(entries).by_score == {
        0.5: Judged(right=1, wrong=2), 0.8: Judged(right=1, wrong=1), 0.9: Judged(right=1, wrong=1),
        0.95: Judged(right=1, wrong=1), 0.98: Judged(right=1), 0.99: Judged(right=1),
    }  # fmt: skip


def test_hits_of_caches_that_serve_are_told_apart() -> None:
    report = shadow_report(store(hit__exact=10, hit__joined=5, miss__shadow=5, would__exact=5))
    assert report.served == 10
    assert report.lookups == 20
    assert any("lower bound" in line for line in report.lines())


def test_the_lines_say_it_in_words() -> None:
    report = ShadowReport(lookups=400, would_be={"exact": 60, "semantic": 40}, judged=Judged(right=99, wrong=0))
    assert report.lines() == [
        "lookups: 400",
        "would have been served: 100 (60 exact, 40 semantic), 25.0% of the lookups",
        "judged by the model's own answer: 99 right, 0 wrong, 0 could not be told",
        "false-hit rate: 0.00%, at most 2.66% with 95 % confidence (Wilson)",
        "max_error=0.05 holds: the cache can be switched on",
    ]


@pytest.mark.parametrize("wrong", [0, 1, -0.1, 2])
def test_a_bound_that_is_no_fraction_is_refused(wrong: float) -> None:
    with pytest.raises(BadInput, match="max_error"):
        shadow_report(MemoryEntries(), max_error=wrong)
