"""When a cut pays: what a request costs under a prompt cache, break-even, block size, and the regret guard.

All costs are in input-token equivalents: 1.0 is one token of plain, uncached input of the model at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, sqrt

from tokenwise_core.errors import BadInput
from tokenwise_core.usage.model_price import ModelPrice
from tokenwise_core.usage.prompt_cache import PromptCacheRules

EPSILON = 0.048
"""How far our own cost may ever stand above that of sending everything: 5 % with what a request adds unforeseen."""
UNKNOWN_OUTPUT = 5.0
"""Output over input price where nobody knows it: that of Claude's and most of OpenAI's models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a token costs: read from the provider's prompt cache, written to it, or generated.

    A prefix shorter than *min_tokens* is not cached, a longer one in steps of *granularity*; it lives *ttl_seconds*
    after its last use (None: not known, taken for long enough). Where a request marks what is to be cached, it may set
    *breakpoints* marks (two and more: one of them stands behind system prompt and tools), and what was cached before is
    found no more than *lookback_blocks* before the last mark (None: however far).
    """

    read: float = 0.1
    write: float = 1.25
    output: float = UNKNOWN_OUTPUT
    min_tokens: int = 0
    granularity: int = 1
    ttl_seconds: float | None = None
    breakpoints: int = 0
    lookback_blocks: int | None = None

    def __post_init__(self) -> None:
        if min(self.read, self.write, self.output) < 0 or self.granularity < 1:
            raise BadInput(f"{self}: multipliers of the input price are not below 0, steps not below 1 token")

    @property
    def caches(self) -> bool:
        """Whether a cached prefix is any cheaper."""
        return self.read < 1

    @classmethod
    def of(cls, rules: PromptCacheRules | None, price: ModelPrice | None) -> Rates:
        """Return the rates of a model: of one that is known not to cache, or of one whose price is known.

        An unknown model is taken to cache on Claude's terms: those under which a rash cut costs most.
        """
        output = _output(price)
        if rules is None:
            return UNKNOWN if price is None else replace(UNCACHED, output=output)
        return cls(
            read=float(rules.read_factor),
            write=float(rules.write_factor),
            output=output,
            min_tokens=rules.min_tokens,
            granularity=rules.granularity,
            ttl_seconds=rules.ttl_seconds,
            breakpoints=rules.breakpoints,
            lookback_blocks=rules.lookback_blocks,
        )

    def request(self, total: int, shared: int) -> float:
        """Return the cost of *total* input tokens, the first *shared* of which were sent before."""
        if total < self.min_tokens:
            return float(total)
        cached = 0 if shared < self.min_tokens else shared - shared % self.granularity
        return cached * self.read + (total - cached) * self.write


UNKNOWN = Rates()
UNCACHED = Rates(read=1.0, write=1.0)


def _output(price: ModelPrice | None) -> float:
    plain = price.rate("input_uncached") if price else None
    made = price.rate("output_text") if price else None
    return float(made / plain) if plain and made is not None else UNKNOWN_OUTPUT


def break_even(
    *, removed: int, kept: int, summary: int, rates: Rates, summariser_reads: float, instruction: int = 0
) -> float:
    """Return after how many further calls a cut has paid for itself.

    `n* = [(K+S)(w−r) + H·r_s + S·o] / [r·(H−S)]`: *removed* H tokens go, *kept* K stand behind the cut, a *summary* of
    S comes in their place, made by reading H at *summariser_reads* (r_s).
    """
    gain = rates.read * (removed - summary)
    if gain <= 0:
        return inf
    spent = (kept + summary) * (rates.write - rates.read) + removed * summariser_reads + summary * rates.output
    return (spent + instruction * rates.write) / gain


def block_size(*, growth: float, kept: int, summary: int, rates: Rates) -> int:
    """Return the tokens from which on a block is worth a cut: `√(2g(K(w−r)+S(o+w))/r)`.

    The smaller the block, the oftener its cut is paid; the larger, the longer it is sent in full. *growth* g is what a
    call adds to the conversation.
    """
    paid = kept * (rates.write - rates.read) + summary * (rates.output + rates.write)
    return round(sqrt(2 * growth * paid / rates.read)) if rates.read > 0 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a conversation has cost so far: *ours*, and *everything* had all of it been sent each time.

    *requests* were made; *full* is the size of the last one had all been sent, *at* its time. *unbooked* is what was
    spent on summaries since the ledger was last told. The sums go on over restarts: they stand in the session's view.
    """

    ours: float = 0.0
    everything: float = 0.0
    requests: int = 0
    full: int = 0
    at: float | None = None
    unbooked: float = 0.0

    def sent(self, *, ours: float, everything: float, full: int, at: float) -> Account:
        """Return the account after one more request."""
        return replace(
            self,
            ours=self.ours + ours,
            everything=self.everything + everything,
            requests=self.requests + 1,
            full=full,
            at=at,
        )

    def spent(self, cost: float) -> Account:
        """Return the account after an expense of our own (a summary)."""
        return replace(self, ours=self.ours + cost, unbooked=self.unbooked + cost)

    def allows(self, cost: float, everything: float = 0.0, *, epsilon: float = EPSILON) -> bool:
        """Say whether we may spend *cost* more while sending everything would cost *everything* more.

        The regret guard: our sum never stands above (1+ε) × that of sending everything.
        """
        return self.slack(cost, everything, epsilon=epsilon) >= 0

    def slack(self, cost: float = 0.0, everything: float = 0.0, *, epsilon: float = EPSILON) -> float:
        """Return what the guard leaves us to spend beside *cost*; below 0 where we stand above it."""
        return (1 + epsilon) * (self.everything + everything) - (self.ours + cost)

    @property
    def relative(self) -> float | None:
        """What we spent for each unit that sending everything would have cost."""
        return self.ours / self.everything if self.everything else None
