"""What the store in memory keeps: rows with the numbers that change, by namespace in the order of their eviction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush

from tokenwise_core.cache.entries.eviction import first_heat, heated, priority
from tokenwise_core.cache.entries.rows import Row, from_half, to_half
from tokenwise_core.cache.entry import Vector

_SLACK = 100
"""Stale places that a heap may hold beside twice the living."""


class Kept:
    """A row, its half-float vector, and the numbers that change; *stamps* are the epochs that it stands under."""

    __slots__ = ("half", "heat", "heat_at", "hits", "priority", "right", "row", "stamps", "wrong")

    def __init__(self, row: Row, stamps: Mapping[str, int], *, inflation: float) -> None:
        self.half = None if row.vector is None else to_half(row.vector)
        self.row = row._replace(vector=None)
        self.stamps = stamps
        self.hits, self.right, self.wrong = row.hits, row.right, row.wrong
        self.heat, self.heat_at = first_heat(row.hits), row.created_at
        self._rank(inflation)

    def hit(self, n: int, *, now: float, inflation: float) -> None:
        """Count *n* hits."""
        self.hits += n
        self.heat, self.heat_at = heated(self.heat, seconds=now - self.heat_at, hits=n), now
        self._rank(inflation)

    def _rank(self, inflation: float) -> None:
        row = self.row
        self.priority = priority(inflation=inflation, cost_nano=row.cost_nano, heat=self.heat, size=row.size)

    def vector(self) -> Vector | None:
        """Return the vector, a new one each time."""
        return None if self.half is None else from_half([self.half])[0]

    def whole(self) -> Row:
        """Return the row as it is now."""
        return self.row._replace(hits=self.hits, right=self.right, wrong=self.wrong, vector=self.vector())

    def lives(self, now: float) -> bool:
        """Say whether it has not expired."""
        return self.row.expires_at is None or self.row.expires_at > now


class Space:
    """The entries of one namespace; those up to the seq *stale_to* are of an older epoch of it.

    Behind `lowest` is a heap of (priority, made at, seq) with places among them that are no longer true.
    """

    __slots__ = ("_heap", "bytes", "inflation", "kept", "stale_to")

    def __init__(self) -> None:
        self.kept: dict[int, Kept] = {}
        self.bytes = 0
        self.inflation = 0.0
        self.stale_to = 0
        self._heap: list[tuple[float, float, int]] = []

    def add(self, seq: int, kept: Kept) -> None:
        """Take in an entry."""
        self.kept[seq] = kept
        self.bytes += kept.row.size
        self.place(seq)

    def remove(self, seq: int) -> None:
        """Let go of an entry."""
        self.bytes -= self.kept.pop(seq).row.size

    def place(self, seq: int) -> None:
        """Note the priority that an entry has now."""
        heappush(self._heap, self._place(seq))
        if len(self._heap) > 2 * len(self.kept) + _SLACK:
            self._heap = [self._place(seq) for seq in self.kept]
            heapify(self._heap)

    def lowest(self, *, max_entries: int | None, max_bytes: int | None) -> Iterator[int]:
        """Yield the seqs that go, the lowest in priority first, until what is left is within the quotas."""
        entries, size, gone = len(self.kept), self.bytes, set()
        while self._heap and _over(entries, max_entries, size, max_bytes):
            place = heappop(self._heap)
            seq = place[-1]
            if seq not in self.kept or seq in gone or place != self._place(seq):
                continue
            gone.add(seq)
            entries, size = entries - 1, size - self.kept[seq].row.size
            self.inflation = max(self.inflation, place[0])
            yield seq

    def _place(self, seq: int) -> tuple[float, float, int]:
        kept = self.kept[seq]
        return kept.priority, kept.row.created_at, seq


def _over(entries: int, max_entries: int | None, size: int, max_bytes: int | None) -> bool:
    return (max_entries is not None and entries > max_entries) or (max_bytes is not None and size > max_bytes)
