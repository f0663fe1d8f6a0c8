"""Savings that a lever announces before a call: it marks what it inserts, and the accountant books them with the event.

The mark travels in the tag of an inserted message (`memory#7f3a…`), so it finds its call in every framework, thread and
event loop. What a call cost, and the price, are known only then: a lever announces tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from uuid import uuid4

from cachetools import LRUCache

from tokenwise_core.messages import Prompt
from tokenwise_core.usage.model_price import ModelPrice
from tokenwise_core.usage.savings import Saving, Spend

MAX_WAITING = 16_384
_MARK = "#"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """What a lever did to one request, by its own counts.

    *would_send* and *sends* are input tokens without and with the lever; *would_cost* and *costs* the same in
    input-token equivalents, the provider's prompt cache included (`memory/economics.py`). *overhead_input* and
    *overhead_output* are tokens of the lever's own model calls since its last announcement, *overhead_cost* what they
    cost in input-token equivalents.
    """

    lever: str
    would_send: int
    sends: int
    would_cost: float
    costs: float
    overhead_input: int = 0
    overhead_output: int = 0
    overhead_cost: float = 0.0
    reason: str = ""

    def saving(self, price: ModelPrice | None) -> Saving:
        """Return the saving in the money of *price*; without one in tokens only."""
        return Saving(
            lever=self.lever,
            counterfactual=Spend(input_tokens=self.would_send, nano=_nano(self.would_cost, price)),
            actual=Spend(input_tokens=self.sends, nano=_nano(self.costs, price)),
            overhead=Spend(
                input_tokens=self.overhead_input,
                output_tokens=self.overhead_output,
                nano=_nano(self.overhead_cost, price),
            ),
            reason=self.reason,
        )


_waiting: LRUCache[str, Announced] = LRUCache(MAX_WAITING)
_lock = threading.Lock()


def announce(announced: Announced) -> str:
    """Keep *announced* until its call is booked, and return the mark to be set as a tag's source."""
    mark = f"{announced.lever}{_MARK}{uuid4().hex[:16]}"
    with _lock:
        _waiting[mark] = announced
    return mark


def announced_in(prompt: Prompt) -> tuple[Announced, ...]:
    """Return what was announced by marks in *prompt*, each once: of several calls with one mark the first books it."""
    found = []
    for mark in _marks(prompt):
        with _lock:
            announced = _waiting.pop(mark, None)
        if announced is not None:
            found.append(announced)
    return tuple(found)


def _marks(prompt: Prompt) -> Iterable[str]:
    sources = (tag.source for message in prompt.messages for tag in message.tags)
    return dict.fromkeys(source for source in sources if source is not None and _MARK in source)


def _nano(equivalents: float, price: ModelPrice | None) -> int | None:
    if price is None:
        return None
    rate = price.rate("input_uncached")
    return None if rate is None else round(Fraction(equivalents) * rate)
