"""Finds what may be served: the exact answer in the store, else the nearest neighbour that passes judgement.

Everything here may block and may raise: `SemanticCache` calls it in threads of its own, under its deadline.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from tokenwise_core.cache.answers import AnswerSignature
from tokenwise_core.cache.entries.protocol import Entries, NearestNeighbours
from tokenwise_core.cache.entry import Candidate, Entry, StoredAnswer
from tokenwise_core.cache.exact import are_current, is_capable
from tokenwise_core.cache.reading import Reading, edition, read
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.cache.verifier import Verifier
from tokenwise_core.cache.verify import Judgement, Neighbour, judge
from tokenwise_core.embeddings import fits_window
from tokenwise_core.protocols import Clock, Embedder

log = logging.getLogger("tokenwise.cache")

NEIGHBOURS = 8
REFRESH_S = 1.0
"""How long another process's deletion may go unseen by answers held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a user sets about serving: *vetoes_off* by category (None: for all), *protected* terms."""

    max_error: float
    explore: float
    vetoes_off: Mapping[str | None, Collection[str]] = field(default_factory=dict)
    protected: tuple[str, ...] = ()

    def off(self, category: str | None) -> Collection[str]:
        """Return the vetoes that are switched off for *category*."""
        return self.vetoes_off.get(category, self.vetoes_off.get(None, ()))

    def bound(self, asked: float | None) -> float:
        """Return the error bound of one request: it may only be stricter."""
        return self.max_error if asked is None else min(asked, self.max_error)


class Found(NamedTuple):
    """An entry to be served; *neighbour* and *judgement* of a semantic one."""

    entry: Entry | StoredAnswer
    neighbour: Neighbour | None = None
    judgement: Judgement | None = None


class Finder:
    """The open parts of one cache in one process: the store, the index over it, the embedder, the verifier.

    *epochs* are those of the store, at most `REFRESH_S` old.
    """

    def __init__(
        self,
        *,
        entries: Entries,
        searcher: NearestNeighbours,
        embedder: Embedder | None,
        verifier: Verifier,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self.entries, self.searcher, self.embedder, self.verifier = entries, searcher, embedder, verifier
        self.epochs: Mapping[str, int] = {}
        self._policy, self._clock = policy, clock
        self._generation: int | None = None
        self._refreshed = 0.0
        self._random = random.Random()
        self._edition = edition(policy.protected)

    def refresh(self) -> bool:
        """Look for deletions and epochs of other processes; True where answers held in memory must be dropped."""
        began = time.monotonic()
        generation, is_first = self.entries.generation(), self._generation is None
        is_new = generation != self._generation
        if is_new:
            self.epochs = self.entries.epochs()
            self._generation = generation
        self._refreshed = began  # not before all of it was read: what fails is repeated
        return is_new and not is_first

    @property
    def is_stale(self) -> bool:
        """Say whether `refresh` is due."""
        return time.monotonic() - self._refreshed > REFRESH_S

    def exact(self, ticket: Ticket) -> Found | None:
        """Return the stored answer to exactly this request."""
        assert ticket.key is not None
        entry = self.entries.answer(ticket.key.exact, now=self._clock())
        if entry is None or not are_current(entry.epochs, self.epochs):
            return None
        if not is_capable(entry.capability, ticket.request.capability):
            return None
        return Found(entry=entry)

    def semantic(self, ticket: Ticket) -> Found | str:
        """Return the neighbour that may be served, or why none may; notes on *ticket* what a miss can learn from."""
        assert ticket.key is not None
        query, partition = ticket.key.query, ticket.key.partition
        if query is None or partition is None or self.embedder is None:
            return "no_embedder" if self.embedder is None else "unsafe:no_query"
        if not fits_window(self.embedder, query):
            ticket.semantic_reason = "unsafe:long"
            return ticket.semantic_reason
        ticket.vector = vector = self.embedder.embed([query])[0]
        ticket.asked = asked = read(query, protected=self._policy.protected)
        near = self.searcher.search(partition, vector, NEIGHBOURS)
        if not near:
            return "cold"
        ticket.neighbours = neighbours = self._neighbours(ticket, near)
        request = ticket.request
        judgement = ticket.judgement = judge(
            asked,
            neighbours,
            self.verifier,
            max_error=self._policy.bound(request.max_error),
            off=self._policy.off(request.category),
            explore=self._random.random,
        )
        if judgement.index is None:
            return judgement.reason or "below"
        if self.entries.get_state(unlike(ticket.key.exact.hex())) is not None:
            return "told_wrong"
        neighbour = neighbours[judgement.index]
        entry = self.entries.entry(neighbour.seq, now=self._clock())
        if entry is None or entry.partition != partition:
            return "cold"  # deleted since it was looked at; a second lock on the partition, whatever an index returns
        return Found(entry=entry, neighbour=neighbour, judgement=judgement)

    def _neighbours(self, ticket: Ticket, near: Sequence[tuple[int, float]]) -> tuple[Neighbour, ...]:
        """Return the live, capable neighbours with what verification compares, nearest first.

        An answer that was redacted has no signature: it cannot be compared, and is found by the very words only.
        """
        now, scores = self._clock(), dict(near)
        rows = [
            row
            for row in self.entries.candidates(list(scores), now=now)
            if row.signature
            and are_current(row.epochs, self.epochs)
            and is_capable(row.capability, ticket.request.capability)
        ]
        found = [self._neighbour(row, ticket, scores[row.seq]) for row in rows]
        return tuple(sorted(found, key=lambda neighbour: -neighbour.similarity))

    def _reading(self, row: Candidate) -> Reading:
        """Return the stored reading, or read anew what was read by other rules or protected terms."""
        if row.reading.get("edition") == self._edition:
            return Reading.from_json(row.reading)
        return read(row.query, protected=self._policy.protected)

    def _neighbour(self, row: Candidate, ticket: Ticket, score: float) -> Neighbour:
        similarity = score if row.vector is None or ticket.vector is None else float(np.dot(row.vector, ticket.vector))
        return Neighbour(
            seq=row.seq,
            similarity=similarity,
            reading=self._reading(row),
            signature=AnswerSignature.from_json(row.signature),
            right=row.right,
            wrong=row.wrong,
        )


def unlike(key: str) -> str:
    """Return the name of the state that says: what was served by likeness to this question was wrong."""
    return f"unlike:{key}"


def without_partition(entry: Entry) -> Entry:
    """Return *entry* as one that only its own exact request finds."""
    return replace(entry, seq=None, partition=None, vector=None, reading=None, signature=None)
