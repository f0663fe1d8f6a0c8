"""What one model charges: exact rates in nano-dollars a token for every bucket of `Usage`, and the cost of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from tokenwise_core.usage.events import INPUT_BUCKETS, OUTPUT_BUCKETS, Usage

NANO_PER_TOKEN = 1000
"""One dollar for a million tokens is 1,000 nano-dollars a token."""

BUCKETS = (*INPUT_BUCKETS, *OUTPUT_BUCKETS)


@dataclass(frozen=True, slots=True)
class Rate:
    """Nano-dollars a token; *tiers* of (prompt tokens, rate): past a threshold the rate holds for the whole call."""

    base: Fraction
    tiers: tuple[tuple[int, Fraction], ...] = ()

    def at(self, prompt_tokens: int) -> Fraction:
        """Return the rate for a call whose prompt has *prompt_tokens*."""
        rate = self.base
        for start, dearer in self.tiers:
            if prompt_tokens > start:
                rate = dearer
        return rate

    def times(self, factor: Fraction) -> Rate:
        return Rate(self.base * factor, tuple((start, rate * factor) for start, rate in self.tiers))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """The price of *model* at *provider* in force at one time.

    *rates* has each bucket that can be priced; a bucket that is not there has no known price. *per_request* and
    *web_search* are nano-dollars apiece. *tier* is the service tier that the rates are for, None for the standard
    one; *source* says where they come from.
    """

    model: str
    provider: str
    rates: Mapping[str, Rate]
    per_request: Fraction = Fraction(0)
    web_search: Fraction | None = None
    tier: str | None = None
    context_window: int | None = None
    source: str = "genai-prices"
    version: str = ""
    deprecated: bool = field(default=False)

    def rate(self, bucket: str, prompt_tokens: int = 0) -> Fraction | None:
        """Return nano-dollars a token of *bucket*, or None where it has no known price."""
        rate = self.rates.get(bucket)
        return None if rate is None else rate.at(prompt_tokens)

    def usd_per_mtok(self, bucket: str, prompt_tokens: int = 0) -> Decimal | None:
        """Return dollars for a million tokens of *bucket*, as price lists print it."""
        rate = self.rate(bucket, prompt_tokens)
        return None if rate is None else Decimal(rate.numerator) / Decimal(rate.denominator * NANO_PER_TOKEN)

    def scaled(self, factor: Fraction, *, tier: str | None = None, fees: bool = False) -> ModelPrice:
        """Return this price with all token rates times *factor*; *fees* too for a committed discount."""
        return replace(
            self,
            rates={bucket: rate.times(factor) for bucket, rate in self.rates.items()},
            tier=tier or self.tier,
            per_request=self.per_request * factor if fees else self.per_request,
            web_search=self.web_search * factor if fees and self.web_search is not None else self.web_search,
        )

    def cost_of(self, tokens: Mapping[str, int], prompt_tokens: int) -> dict[str, int] | None:
        """Return nano-dollars by bucket of *tokens*, None when one of them has no known price."""
        cost: dict[str, int] = {}
        for bucket, n in tokens.items():
            rate = self.rates.get(bucket)
            if rate is None:
                return None
            cost[bucket] = nano(n * (rate.at(prompt_tokens) if rate.tiers else rate.base))
        return cost


def nano(amount: Fraction) -> int:
    """Round to whole nano-dollars, halves up: every bucket is rounded alone, so that totals are sums of their parts."""
    return (2 * amount.numerator + amount.denominator) // (2 * amount.denominator)


def counted(usage: Usage) -> dict[str, int]:
    """Return the buckets of *usage* that hold tokens."""
    return {bucket: n for bucket in BUCKETS if (n := getattr(usage, bucket))}


def fill_rates(rates: dict[str, Rate], *, model: str) -> dict[str, Rate]:
    """Complete *rates* by what a price list leaves unsaid.

    Media and cached tokens without a rate of their own cost as plain input, reasoning as plain output. An hour-long
    cache write of a Claude model costs twice the input on every platform
    (https://platform.claude.com/docs/en/build-with-claude/prompt-caching#pricing).
    """
    filled = dict(rates)
    plain, out = rates.get("input_uncached"), rates.get("output_text")
    if plain is not None:
        for bucket in INPUT_BUCKETS:
            if bucket != "cache_write_1h":
                filled.setdefault(bucket, plain)
        hour = plain.times(Fraction(2)) if "claude" in model and "cache_write_5m" in rates else filled["cache_write_5m"]
        filled.setdefault("cache_write_1h", hour)
    if out is not None:
        for bucket in OUTPUT_BUCKETS:
            filled.setdefault(bucket, out)
    return filled
