"""The definition of saved, and the ledger that keeps it additive."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.usage.events import Cost, Usage
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.savings import (
    NOTHING,
    Ledger,
    Saving,
    Spend,
    cache_hit_saving,
    prompt_cache_saving,
)

NOW = 1_790_000_000.0
BOOK = PriceBook(clock=lambda: NOW)
COUNTS = st.integers(0, 10_000)
SPENDS = st.builds(Spend, input_tokens=COUNTS, output_tokens=COUNTS, nano=st.none() | COUNTS)
SAVINGS = st.builds(
    Saving,
    lever=st.sampled_from(["cache", "memory", "routing"]),
    counterfactual=SPENDS,
    actual=SPENDS,
    overhead=SPENDS,
    quality=st.none() | st.floats(-1, 1),
)


@given(saving=SAVINGS)
def test_saved_is_counterfactual_less_actual_less_overhead(saving: Saving) -> None:
    would, did, own = saving.counterfactual, saving.actual, saving.overhead
    assert saving.saved.tokens == would.tokens - did.tokens - own.tokens
    if would.nano is None or did.nano is None or own.nano is None:
        assert saving.saved.nano is None
    else:
        assert saving.saved.nano == would.nano - did.nano - own.nano


@given(first=st.lists(SAVINGS, max_size=6), second=st.lists(SAVINGS, max_size=6))
def test_ledgers_add_up(first: list[Saving], second: list[Saving]) -> None:
    one, two = Ledger(first), Ledger(second)
    both = one + two
    assert both.savings == (*first, *second)
    total, parts = both.total(), (one.total(), two.total())
    assert total.saved == parts[0].saved + parts[1].saved
    assert total.priced_nano == sum(part.priced_nano for part in parts)
    assert total.unpriced == sum(part.unpriced for part in parts)


@given(savings=st.lists(SAVINGS, max_size=8))
def test_the_levers_sum_to_the_total_and_unknown_money_keeps_its_tokens(savings: list[Saving]) -> None:
    ledger = Ledger(savings)
    levers = ledger.by_lever().values()
    assert sum(lever.saved.tokens for lever in levers) == ledger.total().saved.tokens
    assert sum(saving.saved.tokens for saving in savings) == ledger.total().saved.tokens
    assert ledger.total().priced_nano == sum(s.saved.nano for s in savings if s.saved.nano is not None)
    assert (ledger.total().saved.nano is None) == any(saving.saved.nano is None for saving in savings)


def saving(lever: str, *, tokens: int, nano: int | None, quality: float | None = None) -> Saving:
    return Saving(lever=lever, counterfactual=Spend(input_tokens=tokens, nano=nano), actual=NOTHING, quality=quality)


def test_a_report_says_what_is_not_known_in_words() -> None:
    ledger = Ledger()
    ledger.book(saving("cache", tokens=900, nano=2_500_000))
    ledger.book(saving("cache", tokens=100, nano=None, quality=0.5))
    ledger.book(saving("routing", tokens=0, nano=None))
    assert [(row["lever"], row["saved tokens"], row["saved"], row["quality"]) for row in ledger.rows()] == [
        ("cache", "1,000", "$0.002500 + 1 unknown", "+0.500"),
        ("routing", "0", "unknown", "not measured"),
        ("total", "1,000", "$0.002500 + 2 unknown", "+0.500"),
    ]


def test_an_empty_ledger_has_saved_nothing_for_no_money() -> None:
    total = Ledger().total()
    assert (total.bookings, total.saved, total.quality) == (0, NOTHING, None)
    assert Ledger().rows() == []


def test_quality_is_the_mean_of_what_was_measured_zero_is_a_measurement() -> None:
    ledger = Ledger([saving("a", tokens=1, nano=0, quality=q) for q in (0.0, None, -0.5)])
    assert (ledger.total().quality, ledger.total().measured) == (-0.25, 2)


def test_levers_on_many_threads_book_on_one_ledger() -> None:
    ledger = Ledger()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ledger.book(saving("cache", tokens=n, nano=n)), range(500)))
    assert len(ledger) == 500
    assert ledger.total().saved.nano == sum(range(500))


def test_a_ledger_survives_pickle_and_deepcopy() -> None:
    ledger = Ledger([saving("cache", tokens=5, nano=1)])
    for other in (copy.deepcopy(ledger), pickle.loads(pickle.dumps(ledger))):
        assert other.savings == ledger.savings
        other.book(saving("cache", tokens=5, nano=1))


def test_a_cache_hit_saves_all_that_the_call_would_have_cost() -> None:
    would = Usage(input_tokens=1000, output_tokens=50, side_input=20)
    hit = cache_hit_saving(would, Cost(nano=7_000), lever="semantic_cache", overhead=Spend(nano=1_000))
    assert hit.saved == Spend(input_tokens=1020, output_tokens=50, nano=6_000)
    assert (hit.actual, hit.quality) == (NOTHING, None)
    assert cache_hit_saving(would, None).saved == Spend(input_tokens=1020, output_tokens=50, nano=None)


def test_reads_of_the_prompt_cache_save_money_and_no_tokens() -> None:
    usage = Usage(input_tokens=10_000, input_uncached=2_000, cache_read=8_000, output_tokens=0)
    effect = prompt_cache_saving(usage, BOOK.price("claude-sonnet-4-6", "anthropic"))
    assert effect is not None
    assert effect.saved == Spend(nano=8_000 * (3_000 - 300))


def test_a_prefix_written_and_never_read_is_a_loss() -> None:
    usage = Usage(input_tokens=10_000, input_uncached=0, cache_write_5m=6_000, cache_write_1h=4_000, output_tokens=0)
    effect = prompt_cache_saving(usage, BOOK.price("claude-sonnet-4-6", "anthropic"))
    assert effect is not None
    assert effect.saved.nano == -(6_000 * 750 + 4_000 * 3_000)


@given(read=COUNTS, write=COUNTS, fresh=COUNTS)
def test_the_effect_of_the_prompt_cache_is_the_difference_of_the_costs(read: int, write: int, fresh: int) -> None:
    total = read + write + fresh
    with_cache = Usage(input_tokens=total, input_uncached=fresh, cache_read=read, cache_write_5m=write, output_tokens=0)
    without = Usage(input_tokens=total, input_uncached=total, output_tokens=0)
    model, provider = "claude-opus-4-8", "anthropic"
    costs = [BOOK.cost(usage, model=model, provider=provider) for usage in (without, with_cache)]
    effect = prompt_cache_saving(with_cache, BOOK.price(model, provider))
    without_nano, with_nano = (found.nano for found in costs if found is not None)
    assert (effect.saved.nano if effect else 0) == without_nano - with_nano


def test_nothing_cached_is_no_saving_and_an_unknown_price_is_unknown_money() -> None:
    assert prompt_cache_saving(Usage(input_tokens=5, input_uncached=5), None) is None
    unknown = prompt_cache_saving(Usage(input_tokens=5, cache_read=5), None)
    assert unknown is not None
    assert (unknown.saved.tokens, unknown.saved.nano) == (0, None)


def test_spend_speaks_dollars() -> None:
    assert Spend(nano=1_500_000_000).usd == Decimal("1.5")
    assert Spend().usd is None
