from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.memory.economics import UNCACHED, UNKNOWN, Account, Rates, block_size, break_even
from tokenwise_core.memory.paying import steady
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.prompt_cache import PromptCacheRules

A, C = Rates(), UNCACHED


def test_the_breaks_even_of_the_research_come_out() -> None:
    six = {"removed": 6_000, "kept": 2_000, "summary": 300}
    assert break_even(**six, rates=Rates(write=1.25), summariser_reads=1.0) == pytest.approx(17.8, abs=0.2)
    assert break_even(**six, rates=Rates(write=1.25), summariser_reads=0.1) == pytest.approx(8.3, abs=0.3)
    assert break_even(**six, rates=C, summariser_reads=1.0) == pytest.approx(1.3, abs=0.1)


def test_a_summary_as_long_as_what_it_replaces_never_pays() -> None:
    assert break_even(removed=300, kept=0, summary=300, rates=A, summariser_reads=0.0) == inf


def test_blocks_are_larger_the_dearer_a_cut_and_the_faster_the_growth() -> None:
    small = block_size(growth=50, kept=250, summary=150, rates=A)
    assert block_size(growth=200, kept=250, summary=150, rates=A) > small
    assert block_size(growth=50, kept=2_000, summary=150, rates=A) > small
    assert block_size(growth=50, kept=2_000, summary=0, rates=C) == 0


def test_a_request_reads_what_was_sent_before_and_writes_the_rest() -> None:
    assert A.request(1_000, 800) == pytest.approx(80 + 250)
    assert C.request(1_000, 800) == 1_000


def test_what_is_too_short_for_the_cache_is_plain_input() -> None:
    rates = Rates(min_tokens=1_024)
    assert rates.request(1_000, 900) == 1_000
    assert rates.request(1_200, 900) == 1_200 * 1.25  # what was sent before was never in the cache


def test_a_cache_in_steps_reads_whole_steps() -> None:
    rates = Rates(write=1.0, granularity=128)
    assert rates.request(1_000, 500) == pytest.approx(384 * 0.1 + 616)


def test_a_context_below_the_cache_minimum_saves_nothing_over_one_above() -> None:
    rates = Rates(min_tokens=4_096)
    assert steady(rates, 2_000) > steady(rates, 8_000)


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "gpt-5", "gemini-2.5-pro"])
def test_a_listed_model_has_its_own_rates(model: str) -> None:
    price = PriceBook().price(model, None)
    rates = Rates.of(PromptCacheRules.for_model(model, None, price), price)
    assert rates.caches
    assert rates.output > 1
    assert rates.min_tokens >= 1_024


def test_an_unknown_model_is_taken_to_cache_where_a_rash_cut_costs_most() -> None:
    assert Rates.of(None, None) == UNKNOWN
    assert UNKNOWN.caches


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=20))
def test_the_account_is_the_sum_of_its_requests(requests: list[tuple[float, float]]) -> None:
    account = Account()
    for ours, everything in requests:
        account = account.sent(ours=ours, everything=everything, full=1, at=0.0)
    assert account.ours == pytest.approx(sum(ours for ours, _ in requests))
    assert account.everything == pytest.approx(sum(everything for _, everything in requests))
    assert account.requests == len(requests)


def test_the_guard_allows_five_per_cent_and_no_more() -> None:
    account = Account(ours=1_000.0, everything=1_000.0)
    assert account.allows(100.0, 52.4, epsilon=0.05) is True
    assert account.allows(106.0, 52.4, epsilon=0.05) is False
    assert account.spent(50.0).relative == pytest.approx(1.05)
    assert Account().relative is None
