"""What a replayed conversation costs, by the benchmark's own arithmetic: nothing of the product is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Line = tuple[str, int]
"""A message as the provider sees it: what tells it from others, and its tokens."""


@dataclass(frozen=True, slots=True)
class Price:
    """A price model: multipliers of the input price; *least* tokens are cached, in steps of *step*."""

    name: str
    read: float
    write: float
    output: float = 5.0
    least: int = 0
    step: int = 1


A = Price("A", 0.1, 1.25)
B = Price("B", 0.1, 1.0, least=1024, step=128)
C = Price("C", 1.0, 1.0)


@dataclass(slots=True)
class Meter:
    """Adds up requests; two of them share what is equal from their beginning."""

    price: Price
    cost: float = 0.0
    sent: int = 0
    cached: int = 0
    first: int = 0
    by_request: list[float] = field(default_factory=list)
    _last: Sequence[Line] = ()
    _seen: set[str] = field(default_factory=set)

    def request(self, fixed: int, lines: Sequence[Line], *, output: int = 0, remember: bool = True) -> None:
        """Add one request: *fixed* tokens that are the same each time, then *lines*."""
        shared = self._shared(lines) + (fixed if self._seen or self._last else 0)
        total = fixed + sum(tokens for _, tokens in lines)
        cached = 0 if shared < self.price.least else shared - shared % self.price.step
        self.cost += cached * self.price.read + (total - cached) * self.price.write + output * self.price.output
        self.sent += total
        self.cached += cached
        self.first += sum(tokens for name, tokens in lines if name not in self._seen)
        self.first += 0 if self._seen else fixed
        self._seen.update(name for name, _ in lines)
        if remember:
            self._last = list(lines)
        self.by_request.append(self.cost)

    def _shared(self, lines: Sequence[Line]) -> int:
        shared = 0
        for (name, tokens), (before, _) in zip(lines, self._last, strict=False):
            if name != before:
                break
            shared += tokens
        return shared

    @property
    def cached_share(self) -> float | None:
        """Cached ÷ (sent − tokens sent for the first time)."""
        again = self.sent - self.first
        return self.cached / again if again else None


Counted = Callable[[str], int]
