"""What a cache has done in this process, counted: hits by kind, misses by reason, failures, what was saved."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from tokenwise_core.usage.savings import Spend

_MANY = 1_000
"""Hits that wait to be added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStats:
    """Counts since the cache was made (or forked).

    *hits* by kind and *misses* by reason sum to *lookups*. *failures* counts what went wrong by part ("lookup",
    "write", "embedder", …); each was a miss or a lost entry, none reached a caller. *refused* counts answers not
    stored, by reason. *saved* is what the hits would have cost; *unpriced_hits* had a model without a price.
    """

    lookups: int = 0
    hits: Mapping[str, int] = field(default_factory=dict)
    misses: Mapping[str, int] = field(default_factory=dict)
    stored: int = 0
    merged: int = 0
    dropped: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    breaker_trips: int = 0
    is_off: bool = False
    labels: Mapping[str, int] = field(default_factory=dict)
    feedback: Mapping[str, int] = field(default_factory=dict)
    saved: Spend = field(default_factory=Spend)
    unpriced_hits: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Hits ÷ lookups; None before the first."""
        return sum(self.hits.values()) / self.lookups if self.lookups else None

    @property
    def saved_usd(self) -> Decimal | None:
        return self.saved.usd


class Counters:
    """The counts behind `CacheStats`, and those not yet added to the store's. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._hits: deque[tuple[str, Spend]] = deque()  # not counted yet

    def add(self, name: str, n: int = 1) -> None:
        """Count *n* under "group:name"."""
        with self._lock:
            self._counts[name] += n

    def add_hit(self, kind: str, saved: Spend) -> None:
        """Count a hit and what it saved; added up when somebody asks, as a hit has no microseconds to spare."""
        self._hits.append((kind, saved))
        if len(self._hits) >= _MANY:
            with self._lock:
                self._count_hits()

    def _count_hits(self) -> None:
        """Add up the hits; the caller holds the lock."""
        counts = self._counts
        while self._hits:
            kind, saved = self._hits.popleft()
            counts["hit:" + kind] += 1
            counts["saved_input_tokens"] += saved.input_tokens
            counts["saved_output_tokens"] += saved.output_tokens
            if saved.nano is None:
                counts["unpriced_hits"] += 1
            else:
                counts["saved_nano"] += saved.nano

    def take_unsent(self) -> dict[str, int]:
        """Return what was counted since the last time, for the store."""
        with self._lock:
            self._count_hits()
            unsent = {name: n - self._sent[name] for name, n in self._counts.items() if n != self._sent[name]}
            self._sent = Counter(self._counts)
        return unsent

    def give_back(self, counts: Mapping[str, int]) -> None:
        """Keep for later what could not be sent."""
        with self._lock:
            self._sent.subtract(counts)

    def stats(self, *, trips: int, is_off: bool) -> CacheStats:
        """Return the counts as they stand."""
        with self._lock:
            self._count_hits()
            counts = dict(self._counts)
        hits, misses = group(counts, "hit"), group(counts, "miss")
        return CacheStats(
            lookups=sum(hits.values()) + sum(misses.values()),
            hits=hits,
            misses=misses,
            stored=counts.get("stored", 0),
            merged=counts.get("merged", 0),
            dropped=counts.get("dropped", 0),
            refused=group(counts, "refused"),
            failures=group(counts, "failure"),
            breaker_trips=trips,
            is_off=is_off,
            labels=group(counts, "label"),
            feedback=group(counts, "feedback"),
            saved=saved_by(counts),
            unpriced_hits=counts.get("unpriced_hits", 0),
        )


def group(counts: Mapping[str, int], name: str) -> dict[str, int]:
    """Return the counts under "*name*:…", without that prefix."""
    prefix = f"{name}:"
    return {key[len(prefix) :]: n for key, n in sorted(counts.items()) if key.startswith(prefix)}


def saved_by(counts: Mapping[str, int]) -> Spend:
    """Return what the hits among *counts* saved; the money of those with a price."""
    return Spend(
        input_tokens=counts.get("saved_input_tokens", 0),
        output_tokens=counts.get("saved_output_tokens", 0),
        nano=counts.get("saved_nano", 0),
    )
