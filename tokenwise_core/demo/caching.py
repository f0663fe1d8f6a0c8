"""The cache of the demo: whose answers are shared, and what it decided about each question."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from tokenwise_core.cache import CacheRequest, Entries, SemanticCache, Ticket
from tokenwise_core.protocols import Embedder
from tokenwise_core.scoping import Scope
from tokenwise_core.usage.pricing import PriceBook

HANDBOOK = "handbook"
DEADLINE_MS = 2_000
"""Longer than the default, so that the demo shows the same on a busy machine."""


def whose(scope: Scope) -> str | None:
    """Return the namespace of a call: a customer's own, or the handbook's for visitors, who have no account.

    A call whose scope was lost belongs to nobody and gets no cache.
    """
    if scope.user is None:
        return None
    return HANDBOOK if scope.user.startswith("visitor") else scope.user


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the cache did with one question: a hit of *kind*, or none for *reason*.

    *near* is the stored question that was compared, *similarity* the cosine of both; None where there was none.
    """

    asked: str | None
    kind: str | None = None
    reason: str | None = None
    near: str | None = None
    similarity: float | None = None
    hit_id: str | None = None

    @property
    def is_refusal(self) -> bool:
        """Whether a stored answer was at hand and was not given."""
        return self.kind is None and self.near is not None


class WatchedCache(SemanticCache):
    """A semantic cache that notes its decisions, so that the demo can tell them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._noted: list[Decision] = []
        self._noting = threading.Lock()

    def begin(self, request: CacheRequest) -> Ticket:
        return self._note(super().begin(request))

    async def abegin(self, request: CacheRequest) -> Ticket:
        return self._note(await super().abegin(request))

    def lookup(self, request: CacheRequest) -> Ticket:
        return self._note(super().lookup(request))

    async def alookup(self, request: CacheRequest) -> Ticket:
        return self._note(await super().alookup(request))

    def taken(self) -> tuple[Decision, ...]:
        """Return the decisions since the last time."""
        with self._noting:
            noted, self._noted = tuple(self._noted), []
        return noted

    def _note(self, ticket: Ticket) -> Ticket:
        near, similarity = self._compared(ticket)
        hit = ticket.hit
        decision = Decision(
            asked=None if ticket.key is None else ticket.key.query,
            kind=None if hit is None else hit.kind,
            reason=ticket.reason,
            near=near,
            similarity=similarity,
            hit_id=None if hit is None else hit.id,
        )
        with self._noting:
            self._noted.append(decision)
        return ticket

    def _compared(self, ticket: Ticket) -> tuple[str | None, float | None]:
        """Return the stored question that the decision is about, and its cosine."""
        if ticket.judgement is None or ticket.judgement.candidate is None:
            return None, None
        neighbour = ticket.neighbours[ticket.judgement.candidate]
        rows = self.entries.candidates([neighbour.seq], now=0.0)
        return (rows[0].query, neighbour.similarity) if rows else (None, None)


def demo_cache(entries: Entries | str, *, embedder: Embedder, prices: PriceBook) -> WatchedCache:
    """Return an open cache over *entries*; nothing is left to chance, so that two runs show the same."""
    cache = WatchedCache(
        namespace=whose, entries=entries, embedder=embedder, prices=prices, explore=0.0, deadline_ms=DEADLINE_MS
    )
    cache.ready()
    return cache
