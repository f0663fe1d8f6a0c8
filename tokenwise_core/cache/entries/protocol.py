"""What a store of cache entries implements: memory (the reference), SQLite, Postgres. One contract suite runs over all.

All methods are synchronous and thread-safe, and may raise `StoreError`: the cache calls them in its own threads, under
its deadline, and treats any failure as a miss.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.cache.entry import Candidate, Entry, HitRecord, Label, NamespaceTotals, StoredAnswer, Vector
from tokenwise_core.scoping import Scope

KEPT_LABELS = KEPT_HITS = 20_000
"""How many of the newest labels and hit records are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorRows:
    """Vectors of one partition in order of *seqs* (int64, rising); *vectors* is float32 (n, dimension)."""

    seqs: NDArray[np.int64]
    vectors: NDArray[np.float32]


@runtime_checkable
class NearestNeighbours(Protocol):
    """Finds the entries of one partition that lie nearest to a vector: an index, or a store that has one inside."""

    def search(self, partition: bytes, vector: Vector, k: int) -> list[tuple[int, float]]:
        """Return up to *k* (seq, cosine) of that partition only, nearest first."""
        ...


@runtime_checkable
class Entries(Protocol):
    """A durable store of entries. What it returns is never shared: callers may keep it."""

    searches: bool
    """True where the store itself is a `NearestNeighbours` (pgvector); else `index.FaissIndex` is built over it."""

    @property
    def url(self) -> str:
        """Where it is, without password."""
        ...

    @property
    def unreadable(self) -> int:
        """How many rows could not be read since this object was made: damaged, or sealed with another key.

        Each was a miss; damaged ones are deleted with the next write.
        """
        ...

    # reading: expired entries are never returned

    def get(self, key: bytes, *, now: float) -> Entry | None:
        """Return the newest live entry under the exact *key*, whole."""
        ...

    def answer(self, key: bytes, *, now: float) -> StoredAnswer | None:
        """Return what an exact hit needs of the entry that `get` finds: the lookup has no microseconds to spare."""
        ...

    def entry(self, seq: int, *, now: float) -> Entry | None:
        """Return the live entry *seq*, whole."""
        ...

    def candidates(self, seqs: Sequence[int], *, now: float) -> list[Candidate]:
        """Return the live ones among *seqs*, in that order: without answers, with vectors (for exact rescoring)."""
        ...

    def count(self, partition: bytes, *, at_most: int) -> int:
        """Return how many entries the partition holds, counting no further than *at_most*."""
        ...

    def vectors(self, partition: bytes, *, after: int = 0, limit: int | None = None) -> VectorRows:
        """Return the partition's vectors with seq > *after*, in order of seq: how an index catches up."""
        ...

    def iterate(self, *, namespace: str | None = None) -> Iterator[Entry]:
        """Yield all entries in order of seq (export)."""
        ...

    # writing: durable (committed) when the call returns

    def put(self, entries: Sequence[Entry]) -> list[int]:
        """Insert in one transaction; return their seqs.

        An entry replaces the one under the same *key*, and the last of several with one key in *entries* wins. It
        takes over the seq where partition and vector are the same: nothing that an index holds has changed. Otherwise
        the old seq is gone and `generation` moves. A seq is never used again for another key, also where the store
        was lost and begun anew.
        """
        ...

    def delete(self, seqs: Collection[int]) -> int:
        """Delete entries; return how many there were. Moves `generation`."""
        ...

    def touch(self, hits: Mapping[int, int], *, now: float) -> None:
        """Add hits (seq → count) in one transaction: counters are batched, never written a hit."""
        ...

    def mark(self, marks: Mapping[int, tuple[int, int]]) -> None:
        """Add (right, wrong) labels to entries, in one transaction."""
        ...

    def sweep(self, *, now: float, limit: int = 1000) -> int:
        """Delete up to *limit* expired entries and those whose tags' epochs have moved on; return how many.

        The names in `Entry.epochs` are those of `epochs`, or bare tags. When the epoch of a namespace is bumped, all
        that stands there then is swept in time, whatever its `epochs` say.
        """
        ...

    def evict(self, namespace: str, *, max_entries: int | None = None, max_bytes: int | None = None) -> int:
        """Bring a namespace under its quota by GreedyDual-Size (`eviction`); return how many entries went."""
        ...

    # invalidation

    def generation(self) -> int:
        """Return a number that moves whenever entries were deleted or an epoch was bumped, by any process."""
        ...

    def epochs(self) -> Mapping[str, int]:
        """Return all epochs that were ever bumped (absent = 0); names are namespaces (`ns:…`) and tags (`tag:…`)."""
        ...

    def bump(self, name: str) -> int:
        """Move an epoch on and return it: O(1) invalidation of all that stands under the older one."""
        ...

    # learning and looking back

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Append labels; only the newest `KEPT_LABELS` are kept."""
        ...

    def labels(self, *, after: int = 0) -> tuple[int, list[Label]]:
        """Return (the last label's number, the labels with a higher number than *after*, oldest first)."""
        ...

    def add_hits(self, hits: Sequence[HitRecord]) -> None:
        """Append hit records; only the newest `KEPT_HITS` are kept."""
        ...

    def hit(self, hit_id: str) -> HitRecord | None:
        """Return a hit record."""
        ...

    def get_state(self, name: str) -> str | None:
        """Return a small JSON text kept under *name* (counters, decisions of S4-19, levels of S4-17)."""
        ...

    def set_state(self, name: str, value: str | None, *, owner: Scope | None = None) -> None:
        """Keep *value* under *name*; None deletes it. `purge` finds it by its *owner*."""
        ...

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """Add to named counters, atomically over processes (lookups, hits by kind, misses by reason)."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Return all counters."""
        ...

    # looking after it

    def totals(self) -> list[NamespaceTotals]:
        """Return what is stored, a row a namespace."""
        ...

    def purge(self, *, user: str | None = None, session: str | None = None, application: str | None = None) -> int:
        """Delete entries, hit records and state whose owner matches all names given; return how many entries.

        Labels hold numbers only, and no owner: they stay.
        """
        ...

    def clear(self, *, namespace: str | None = None) -> int:
        """Delete every entry (of one namespace); return how many. Hit records, labels and state stay."""
        ...

    def close(self) -> None:
        """Let go of handles; the next use opens them again."""
        ...
