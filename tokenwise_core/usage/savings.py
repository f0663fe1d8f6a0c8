"""The one definition of "saved": counterfactual less actual less our own overhead, in tokens and in money."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tokenwise_core.quick import quick

if TYPE_CHECKING:  # events holds savings, so these names would import in a circle
    from tokenwise_core.usage.events import Cost, Usage
    from tokenwise_core.usage.model_price import ModelPrice

NOT_MEASURED = "not measured"
UNKNOWN = "unknown"
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Tokens and money; *nano* is integer nano-dollars, None where the model has no price."""

    input_tokens: int = 0
    output_tokens: int = 0
    nano: int | None = None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def usd(self) -> Decimal | None:
        return None if self.nano is None else Decimal(self.nano) / _NANO

    def __add__(self, other: Spend) -> Spend:
        return Spend(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            nano=None if self.nano is None or other.nano is None else self.nano + other.nano,
        )

    def __sub__(self, other: Spend) -> Spend:
        return Spend(
            input_tokens=self.input_tokens - other.input_tokens,
            output_tokens=self.output_tokens - other.output_tokens,
            nano=None if self.nano is None or other.nano is None else self.nano - other.nano,
        )


NOTHING = Spend(nano=0)
_spend = quick(Spend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What one lever saved on one call, against what would have been spent without it.

    *overhead* is what the lever itself spent (its own model calls). A saving may be negative. *quality* is the
    measured change in the answers' score (0 = no change), None = "not measured".
    """

    lever: str
    counterfactual: Spend
    actual: Spend
    overhead: Spend = NOTHING
    quality: float | None = None
    reason: str = ""

    @property
    def saved(self) -> Spend:
        return self.counterfactual - self.actual - self.overhead


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverTotal:
    """The bookings of one lever, or of all (*lever* "total").

    *saved.nano* is None when a booking has no price; *priced_nano* is what those with one saved, *unpriced* counts
    those without. *quality* is the mean over the *measured* ones.
    """

    lever: str
    bookings: int
    counterfactual: Spend
    actual: Spend
    overhead: Spend
    priced_nano: int
    unpriced: int
    quality: float | None
    measured: int

    @property
    def saved(self) -> Spend:
        return self.counterfactual - self.actual - self.overhead

    def row(self) -> dict[str, str]:
        """Return the cells of a report, in words where a number is not known."""
        return {
            "lever": self.lever,
            "bookings": f"{self.bookings:,}",
            "saved tokens": f"{self.saved.tokens:,}",
            "saved": self._money(),
            "overhead tokens": f"{self.overhead.tokens:,}",
            "overhead": UNKNOWN if self.overhead.usd is None else f"${self.overhead.usd:,.6f}",
            "quality": NOT_MEASURED if self.quality is None else f"{self.quality:+.3f}",
        }

    def _money(self) -> str:
        known = f"${Decimal(self.priced_nano) / _NANO:,.6f}"
        if not self.unpriced:
            return known
        return UNKNOWN if self.unpriced == self.bookings else f"{known} + {self.unpriced:,} {UNKNOWN}"


class Ledger:
    """The savings that the levers book on a call, or on many; thread-safe.

    >>> ledger = Ledger()
    >>> ledger.book(Saving(lever="cache", counterfactual=Spend(input_tokens=900, nano=90), actual=NOTHING))
    >>> ledger.total().saved
    Spend(input_tokens=900, output_tokens=0, nano=90)
    """

    def __init__(self, savings: Iterable[Saving] = ()) -> None:
        self._savings = list(savings)
        self._lock = threading.Lock()

    def book(self, saving: Saving) -> None:
        """Add one booking."""
        with self._lock:
            self._savings.append(saving)

    @property
    def savings(self) -> tuple[Saving, ...]:
        """All bookings in order: what `UsageEvent.savings` holds."""
        with self._lock:
            return tuple(self._savings)

    def by_lever(self) -> Mapping[str, LeverTotal]:
        """Return the totals of each lever, in the order of their first booking."""
        groups: dict[str, list[Saving]] = {}
        for saving in self.savings:
            groups.setdefault(saving.lever, []).append(saving)
        return {lever: _total(lever, savings) for lever, savings in groups.items()}

    def total(self) -> LeverTotal:
        """Return the totals of all levers."""
        return _total("total", self.savings)

    def rows(self) -> list[dict[str, str]]:
        """Return a report's rows: one a lever, and the total when there are several."""
        totals = list(self.by_lever().values())
        return [total.row() for total in ([*totals, self.total()] if len(totals) > 1 else totals)]

    def __add__(self, other: Ledger) -> Ledger:
        if not isinstance(other, Ledger):
            return NotImplemented
        return Ledger((*self.savings, *other.savings))

    def __iter__(self) -> Iterator[Saving]:
        return iter(self.savings)

    def __len__(self) -> int:
        return len(self._savings)

    def __bool__(self) -> bool:
        """Be true even when empty: an empty ledger is still the ledger to book on."""
        return True

    def __reduce__(self) -> tuple[type[Ledger], tuple[tuple[Saving, ...]]]:
        return Ledger, (self.savings,)

    def __repr__(self) -> str:
        total = self.total()
        return f"Ledger({total.bookings} bookings, {total.saved.tokens:,} tokens saved)"


def _total(lever: str, savings: Iterable[Saving]) -> LeverTotal:
    listed = list(savings)
    saved = [saving.saved.nano for saving in listed]
    qualities = [saving.quality for saving in listed if saving.quality is not None]
    return LeverTotal(
        lever=lever,
        bookings=len(listed),
        counterfactual=sum((saving.counterfactual for saving in listed), NOTHING),
        actual=sum((saving.actual for saving in listed), NOTHING),
        overhead=sum((saving.overhead for saving in listed), NOTHING),
        priced_nano=sum(nano for nano in saved if nano is not None),
        unpriced=saved.count(None),
        quality=sum(qualities) / len(qualities) if qualities else None,
        measured=len(qualities),
    )


def spend_of(usage: Usage, *, nano: int | None) -> Spend:
    """Return what a call spent, with the tokens that stand beside its totals."""
    return _spend(
        input_tokens=(usage.input_tokens or 0) + (usage.side_input or 0),
        output_tokens=(usage.output_tokens or 0) + (usage.side_output or 0),
        nano=nano,
    )


def cache_hit_saving(
    would: Usage,
    cost: Cost | None,
    *,
    lever: str = "llm_cache",
    overhead: Spend = NOTHING,
    quality: float | None = None,
    reason: str = "",
) -> Saving:
    """Return the saving of an answer served from a cache: the call *would* have spent this, and spent nothing.

    *quality* stays None unless somebody compared the answers: that a hit was right is not known by itself.
    """
    return Saving(
        lever=lever,
        counterfactual=spend_of(would, nano=None if cost is None else cost.nano),
        actual=NOTHING,
        overhead=overhead,
        quality=quality,
        reason=reason,
    )


def prompt_cache_saving(usage: Usage, price: ModelPrice | None, *, lever: str = "prompt_cache") -> Saving | None:
    """Return what the provider's prompt cache saved on one call: reads below the input's rate, less what writes cost
    above it. Negative where a prefix was written that nobody has read yet; None where nothing was cached.

    No token is saved, only money: the tokens are sent and counted all the same.
    """
    cached = {bucket: getattr(usage, bucket) or 0 for bucket in ("cache_read", "cache_write_5m", "cache_write_1h")}
    tokens = sum(cached.values())
    if not tokens:
        return None
    prompt = usage.input_tokens or tokens
    paid = price.cost_of({bucket: n for bucket, n in cached.items() if n}, prompt) if price else None
    plain = price.cost_of({"input_uncached": tokens}, prompt) if price else None
    return Saving(
        lever=lever,
        counterfactual=Spend(input_tokens=tokens, nano=None if plain is None else sum(plain.values())),
        actual=Spend(input_tokens=tokens, nano=None if paid is None else sum(paid.values())),
        quality=0.0,
        reason=f"{cached['cache_read']} read, {tokens - cached['cache_read']} written",
    )
