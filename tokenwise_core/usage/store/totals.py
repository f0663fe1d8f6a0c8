"""Sums over calls: what a report row holds, and the columns it is kept in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from tokenwise_core.usage.components import INPUTS, Breakdown, Component, CountSource, worst_source
from tokenwise_core.usage.events import NANO
from tokenwise_core.usage.savings import Spend
from tokenwise_core.usage.store.histograms import Measurements, Metric

Name = TypeVar("Name")

TOKEN_COLUMNS = {component: f"tokens_{component}" for component in Component}
CACHED_COLUMNS = {component: f"cached_{component}" for component in INPUTS}
NANO_COLUMNS = {component: f"nano_{component}" for component in Component}
SOURCE_COLUMNS = {source: f"{source}_calls" for source in CountSource}
SPLIT_COLUMNS = {source: f"{source}_splits" for source in CountSource if source is not CountSource.REPORTED}

_PLAIN = (
    "calls", "input_tokens", "output_tokens", "side_tokens", "cache_read", "cache_write", "cache_known_input",
    "cost_nano", "priced_calls",
)  # fmt: skip
COLUMNS = (
    *_PLAIN, *SOURCE_COLUMNS.values(), *SPLIT_COLUMNS.values(),
    *TOKEN_COLUMNS.values(), *CACHED_COLUMNS.values(), *NANO_COLUMNS.values(),
)  # fmt: skip
"""The integer columns of a call; a group of calls has their sums."""

SAVING_COLUMNS = (
    "bookings", "priced", "measured", "quality_ppm",
    "counterfactual_input", "counterfactual_output", "counterfactual_nano",
    "actual_input", "actual_output", "actual_nano",
    "overhead_input", "overhead_output", "overhead_nano",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over *calls* calls.

    *cache_known_input* is the input of the calls whose provider said how much it read from its cache; *cost_nano* sums
    the *priced_calls* alone. Quantiles are known within 1 %, and None where nothing was measured or where they are not
    kept (groups by session or user that span whole hours).
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    side_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_known_input: int = 0
    cost_nano: int = 0
    priced_calls: int = 0
    tokens: Mapping[Component, int] = field(default_factory=dict)
    cached: Mapping[Component, int] = field(default_factory=dict)
    nano: Mapping[Component, int] = field(default_factory=dict)
    sources: Mapping[CountSource, int] = field(default_factory=dict)
    splits: Mapping[CountSource, int] = field(default_factory=dict)
    histograms: Measurements = field(default_factory=Measurements)

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cost_usd(self) -> Decimal | None:
        """Cost of the priced calls; None when no call has a price."""
        return Decimal(self.cost_nano) / NANO if self.priced_calls else None

    @property
    def unpriced_calls(self) -> int:
        return self.calls - self.priced_calls

    @property
    def cache_hit_rate(self) -> float | None:
        """Share of input tokens read from the provider's prompt cache, None when no provider said."""
        return self.cache_read / self.cache_known_input if self.cache_known_input else None

    @property
    def breakdown(self) -> Breakdown:
        """The tokens by component, with the least certain source of any call."""
        return Breakdown(
            tokens=self.tokens,
            cached=self.cached,
            calls=self.calls,
            source=_worst(self.sources, CountSource.REPORTED),
            split=_worst(self.splits, CountSource.EXACT),
        )

    def quantile(self, metric: Metric, q: float) -> float | None:
        """Return the *q* quantile of *metric* in its unit (µs, nano-dollars, tokens)."""
        histogram = self.histograms.get(metric)
        return histogram.quantile(q) if histogram else None

    def milliseconds(self, metric: Metric, q: float) -> float | None:
        """Return the *q* quantile of `LATENCY_US` or `TTFT_US` in milliseconds."""
        value = self.quantile(metric, q)
        return None if value is None else value / 1000

    def component(self, component: Component) -> Totals:
        """Return the part of *component* alone: its tokens, cached tokens and cost."""
        tokens, cached, nano = (part.get(component, 0) for part in (self.tokens, self.cached, self.nano))
        return Totals(
            calls=self.calls,
            input_tokens=0 if component.is_output else tokens,
            output_tokens=tokens if component.is_output else 0,
            cache_read=cached,
            cache_known_input=0 if component.is_output or not self.cache_known_input else tokens,
            cost_nano=nano,
            priced_calls=self.priced_calls,
            tokens={component: tokens} if tokens else {},
            cached={component: cached} if cached else {},
            nano={component: nano} if nano else {},
            sources=self.sources,
            splits=self.splits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingTotals:
    """Sums over *bookings* of savings; money sums the *priced* ones, *quality* is the mean of the *measured* ones."""

    bookings: int = 0
    priced: int = 0
    measured: int = 0
    counterfactual: Spend = field(default_factory=Spend)
    actual: Spend = field(default_factory=Spend)
    overhead: Spend = field(default_factory=Spend)
    quality: float | None = None

    @property
    def saved(self) -> Spend:
        return self.counterfactual - self.actual - self.overhead


def to_totals(sums: Sequence[int], histograms: Measurements) -> Totals:
    """Return the totals that stand in *sums* (in the order of `COLUMNS`)."""
    column = dict(zip(COLUMNS, sums, strict=True))
    return Totals(
        **{name: column[name] for name in _PLAIN},
        tokens={c: column[name] for c, name in TOKEN_COLUMNS.items() if column[name]},
        cached={c: column[name] for c, name in CACHED_COLUMNS.items() if column[name]},
        nano={c: column[name] for c, name in NANO_COLUMNS.items() if column[name]},
        sources={s: column[name] for s, name in SOURCE_COLUMNS.items() if column[name]},
        splits={s: column[name] for s, name in SPLIT_COLUMNS.items() if column[name]},
        histograms=histograms,
    )


def to_saving_totals(sums: Sequence[int]) -> SavingTotals:
    """Return the savings that stand in *sums* (in the order of `SAVING_COLUMNS`)."""
    bookings, priced, measured, quality_ppm, *spends = sums
    counterfactual, actual, overhead = (
        Spend(input_tokens=spends[i], output_tokens=spends[i + 1], nano=spends[i + 2] if priced else None)
        for i in (0, 3, 6)
    )
    return SavingTotals(
        bookings=bookings, priced=priced, measured=measured,
        counterfactual=counterfactual, actual=actual, overhead=overhead,
        quality=quality_ppm / measured / 1e6 if measured else None,
    )  # fmt: skip


def _worst(counts: Mapping[CountSource, int], best: CountSource) -> CountSource:
    return worst_source((best, *(source for source, n in counts.items() if n)))


def merged(parts: Iterable[Totals]) -> Totals:
    """Return the sums over all *parts*."""
    found = list(parts)
    return Totals(
        **{name: sum(getattr(part, name) for part in found) for name in _PLAIN},
        tokens=_added(part.tokens for part in found),
        cached=_added(part.cached for part in found),
        nano=_added(part.nano for part in found),
        sources=_added(part.sources for part in found),
        splits=_added(part.splits for part in found),
        histograms=Measurements.joined(part.histograms for part in found),
    )


def _added(parts: Iterable[Mapping[Name, int]]) -> dict[Name, int]:
    total: Counter[Name] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)
