"""What the SQL stores share: everything but how a connection is had and how a vector is written."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import numpy as np

from tokenwise_core.cache.entries import deleting, learned, writing
from tokenwise_core.cache.entries.counters import take_numbers
from tokenwise_core.cache.entries.owners import Owner, owner_query
from tokenwise_core.cache.entries.protocol import VectorRows
from tokenwise_core.cache.entries.rows import (
    LightRow,
    Row,
    VectorFormat,
    read_hit,
    stamps,
    to_candidate,
    to_entry,
    to_row,
    to_stored_answer,
    write_hit,
)
from tokenwise_core.cache.entry import Candidate, Entry, HitRecord, Label, NamespaceTotals, StoredAnswer, Vector
from tokenwise_core.scoping import Scope
from tokenwise_core.storage.codec import Codec, DamagedError, ForeignError
from tokenwise_core.storage.names import restored, storable
from tokenwise_core.storage.statements import CHUNK, Statements, marks, one

log = logging.getLogger("tokenwise.cache")
T = TypeVar("T")

_WHOLE = """
SELECT e.seq, e.key, e.namespace, e.partition, e.question, e.created_at, e.expires_at, e.epochs, e.capability,
  e.cost_nano, e.hits, e.good, e.bad, e.bytes, e.application, e.session, e.user_name, a.body, v.data
FROM cache_entry e JOIN cache_answer a ON a.seq = e.seq LEFT JOIN cache_vector v ON v.seq = e.seq
"""
_BY_KEY = f"{_WHOLE} WHERE e.key = ? AND (e.expires_at IS NULL OR e.expires_at > ?)"
_BY_SEQ = f"{_WHOLE} WHERE e.seq = ? AND (e.expires_at IS NULL OR e.expires_at > ?)"
_ANSWER = """
SELECT e.seq, e.created_at, e.expires_at, e.epochs, e.capability, e.cost_nano, a.body
FROM cache_entry e JOIN cache_answer a ON a.seq = e.seq
WHERE e.key = ? AND (e.expires_at IS NULL OR e.expires_at > ?)
"""
_PAGE = f"{_WHOLE} WHERE e.seq > ? ORDER BY e.seq LIMIT {CHUNK}"
_LIGHT = """
SELECT e.seq, e.question, e.created_at, e.expires_at, e.epochs, e.capability, e.good, e.bad, v.data
FROM cache_entry e JOIN cache_vector v ON v.seq = e.seq
WHERE e.seq IN ({}) AND (e.expires_at IS NULL OR e.expires_at > ?)
"""
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM cache_vector WHERE partition = ? LIMIT ?) AS found"
_VECTORS = "SELECT seq, data FROM cache_vector WHERE partition = ? AND seq > ? ORDER BY seq"
_TOTALS = """
SELECT n.name, n.entries, n.semantic, n.bytes, n.hits, min(e.created_at), max(e.created_at)
FROM cache_namespace n JOIN cache_entry e ON e.namespace = n.name
GROUP BY n.name, n.entries, n.semantic, n.bytes, n.hits ORDER BY n.name
"""

_UNREADABLE = (ForeignError, DamagedError, ValueError, TypeError)


class SQLEntries(ABC):
    """Entries in tables named `cache_…`, which may share a database with other things.

    A fork, a pickle or a deep copy drops the handles and opens its own.
    """

    searches = False
    vectors_as: VectorFormat

    def __init__(self, *, codec: Codec | None = None) -> None:
        self._codec = codec or Codec()
        self._unreadable = 0
        self._damaged: set[int] = set()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, without password."""

    @property
    def unreadable(self) -> int:
        return self._unreadable

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, key: bytes, *, now: float) -> Entry | None:
        return self._first(_BY_KEY, key, now)

    def answer(self, key: bytes, *, now: float) -> StoredAnswer | None:
        with self._reading() as session:
            found = session.all(_ANSWER, (key, now))
        if not found:
            return None
        row: Any = found[0]
        try:
            return to_stored_answer(row, self._codec)
        except _UNREADABLE as error:
            self._skip_unreadable(error, row[0])
            return None

    def entry(self, seq: int, *, now: float) -> Entry | None:
        return self._first(_BY_SEQ, seq, now)

    def _first(self, statement: str, what: Any, now: float) -> Entry | None:
        with self._reading() as session:
            found = session.all(statement, (what, now))
        return self._whole(found[0]) if found else None

    def candidates(self, seqs: Sequence[int], *, now: float) -> list[Candidate]:
        by_seq = {}
        with self._reading() as session:
            for begin in range(0, len(seqs), CHUNK):
                chunk = seqs[begin : begin + CHUNK]
                for row in session.all(_LIGHT.format(marks(len(chunk))), (*map(int, chunk), now)):
                    by_seq[row[0]] = row
        rows = [by_seq[seq] for seq in seqs if seq in by_seq]
        read = map(self._candidate, rows, self._unpacked([row[-1] for row in rows]))
        return [candidate for candidate in read if candidate is not None]

    def _unpacked(self, data: Sequence[Any]) -> Sequence[Vector | None]:
        """Return vectors of whatever lengths, None for what is none; all at once where that works."""
        if not data:
            return []
        try:
            return list(self.vectors_as.unpack(data))
        except (ValueError, TypeError):  # lengths differ: several partitions, or a damaged one
            return [self._unpacked([item])[0] for item in data] if len(data) > 1 else [None]

    def count(self, partition: bytes, *, at_most: int) -> int:
        with self._reading() as session:
            return int(one(session, _COUNT, (partition, at_most)))

    def vectors(self, partition: bytes, *, after: int = 0, limit: int | None = None) -> VectorRows:
        with self._reading() as session:
            if limit is None:
                found = session.all(_VECTORS, (partition, after))
            else:
                found = session.all(f"{_VECTORS} LIMIT ?", (partition, after, limit))
        if not found:
            return VectorRows(seqs=np.zeros(0, np.int64), vectors=np.zeros((0, 0), np.float32))
        seqs, data = zip(*found, strict=True)
        try:
            return VectorRows(seqs=np.array(seqs, np.int64), vectors=self.vectors_as.unpack(data))
        except (ValueError, TypeError):
            return self._undamaged(seqs, data)

    def _undamaged(self, seqs: Sequence[int], data: Sequence[Any]) -> VectorRows:
        """Return the vectors that can be read and have the first one's length; the others are damaged."""
        read = list(zip(seqs, self._unpacked(data), strict=True))
        length = next((len(vector) for _, vector in read if vector is not None), 0)
        whole = [(seq, vector) for seq, vector in read if vector is not None and len(vector) == length]
        for seq in set(seqs) - {seq for seq, _ in whole}:
            self._skip_unreadable(DamagedError("vector"), seq)
        vectors = np.array([vector for _, vector in whole], np.float32).reshape(len(whole), length)
        return VectorRows(seqs=np.array([seq for seq, _ in whole], np.int64), vectors=vectors)

    def iterate(self, *, namespace: str | None = None) -> Iterator[Entry]:
        after = 0
        while True:
            with self._reading() as session:
                page = session.all(_PAGE, (after,))
            for row in page:
                entry = self._whole(row)
                if entry is not None and namespace in (None, entry.namespace):
                    yield entry
            if len(page) < CHUNK:
                return
            after = page[-1][0]

    def _whole(self, found: Sequence[Any]) -> Entry | None:
        seq, data = found[0], found[-1]

        def read() -> Entry:
            vector = None if data is None else self.vectors_as.unpack([data])[0]
            return to_entry(seq, Row._make((*found[1:-1], vector)), self._codec)

        return self._readable(read, seq)

    def _candidate(self, found: Sequence[Any], vector: Vector | None) -> Candidate | None:
        return self._readable(lambda: to_candidate(LightRow._make(found[:-1]), vector, self._codec), found[0])

    def _readable(self, read: Callable[[], T], seq: int | None) -> T | None:
        """Return what *read* returns, None where the row cannot be read: a damaged one goes with the next write."""
        try:
            return read()
        except _UNREADABLE as error:
            self._skip_unreadable(error, seq)
            return None

    def _skip_unreadable(self, error: Exception, seq: int | None) -> None:
        if seq is not None and not isinstance(error, ForeignError):
            self._damaged.add(seq)
        self._unreadable += 1
        if self._unreadable == 1:
            log.warning("%s holds rows that cannot be read (%s): they are misses", self.url, type(error).__name__)

    # --- writing ----------------------------------------------------------------------------------------------------

    def put(self, entries: Sequence[Entry]) -> list[int]:
        new = {entry.key: writing.Stamped(to_row(entry, self._codec), stamps(entry)) for entry in entries}
        if not new:
            return []
        with self._writing() as session:
            self._delete_damaged(session)
            seqs = writing.put(session, new, self.vectors_as)
        return [seqs[entry.key] for entry in entries]

    def delete(self, seqs: Collection[int]) -> int:
        if not seqs:
            return 0
        with self._writing() as session:
            return deleting.delete(session, set(seqs))

    def touch(self, hits: Mapping[int, int], *, now: float) -> None:
        if hits:
            with self._writing() as session:
                writing.touch(session, hits, now=now)

    def mark(self, marks: Mapping[int, tuple[int, int]]) -> None:
        if marks:
            with self._writing() as session:
                writing.mark(session, marks)

    def sweep(self, *, now: float, limit: int = 1000) -> int:
        with self._writing() as session:
            self._delete_damaged(session)
            return deleting.sweep(session, now=now, limit=limit)

    def evict(self, namespace: str, *, max_entries: int | None = None, max_bytes: int | None = None) -> int:
        name = storable(namespace)
        return self._in_chunks(lambda s: deleting.evict(s, name, max_entries=max_entries, max_bytes=max_bytes))

    def _in_chunks(self, step: Callable[[Statements], int]) -> int:
        """Run *step*, a transaction each time, until it deletes less than a whole chunk; return how many went."""
        total = 0
        while True:
            with self._writing() as session:
                n = step(session)
            total += n
            if n < CHUNK:
                return total

    def _delete_damaged(self, session: Statements) -> None:
        if self._damaged:
            damaged, self._damaged = self._damaged, set()
            deleting.delete(session, damaged)

    # --- invalidation -----------------------------------------------------------------------------------------------

    def generation(self) -> int:
        with self._reading() as session:
            return learned.counter(session, "generation")

    def epochs(self) -> Mapping[str, int]:
        with self._reading() as session:
            return learned.epochs(session)

    def bump(self, name: str) -> int:
        with self._writing() as session:
            return learned.bump(session, name)

    # --- learning and looking back ----------------------------------------------------------------------------------

    def add_labels(self, labels: Sequence[Label]) -> None:
        if labels:
            with self._writing() as session:
                learned.add_labels(session, labels)

    def labels(self, *, after: int = 0) -> tuple[int, list[Label]]:
        with self._reading() as session:
            last, labels, damaged = learned.labels(session, after=after)
        self._unreadable += damaged
        return last, labels

    def add_hits(self, hits: Sequence[HitRecord]) -> None:
        if hits:
            rows = [(hit.id, Owner.of(hit.owner), hit.namespace, write_hit(hit, self._codec)) for hit in hits]
            with self._writing() as session:
                learned.add_hits(session, rows)

    def hit(self, hit_id: str) -> HitRecord | None:
        with self._reading() as session:
            body = one(session, "SELECT body FROM cache_hit WHERE id = ?", (storable(hit_id),))
        return None if body is None else self._readable(lambda: read_hit(body, self._codec), None)

    def get_state(self, name: str) -> str | None:
        with self._reading() as session:
            value = one(session, "SELECT value FROM cache_state WHERE name = ?", (storable(name),))
        return None if value is None else restored(value)

    def set_state(self, name: str, value: str | None, *, owner: Scope | None = None) -> None:
        with self._writing() as session:
            learned.set_state(session, name, value, Owner.of(owner))

    def add_counts(self, counts: Mapping[str, int]) -> None:
        if counts:
            with self._writing() as session:
                learned.add_counts(session, counts)

    def counts(self) -> Mapping[str, int]:
        with self._reading() as session:
            return learned.counts(session)

    # --- looking after it -------------------------------------------------------------------------------------------

    def totals(self) -> list[NamespaceTotals]:
        with self._reading() as session:
            return [
                NamespaceTotals(
                    namespace=restored(name), entries=entries, semantic=semantic, bytes=size, hits=hits,
                    oldest=oldest, newest=newest,
                )
                for name, entries, semantic, size, hits, oldest, newest in session.all(_TOTALS)
            ]  # fmt: skip

    def purge(self, *, user: str | None = None, session: str | None = None, application: str | None = None) -> int:
        owner = owner_query(user=user, session=session, application=application)
        with self._writing() as writer:
            deleting.purge_others(writer, owner)
        n = self._in_chunks(lambda s: deleting.purge_entries(s, owner))
        self._give_back()
        return n

    def clear(self, *, namespace: str | None = None) -> int:
        if namespace is None:
            n = self._clear_all()
        else:
            name = storable(namespace)
            n = self._in_chunks(lambda s: deleting.clear(s, name))
        with self._writing() as session:
            if namespace is not None:
                deleting.clear_hits(session, storable(namespace))
            take_numbers(session, "generation", 1)
        self._give_back()
        return n

    def _clear_all(self) -> int:
        with self._writing() as session:
            return deleting.clear_all(session)

    # --- what the databases do differently --------------------------------------------------------------------------

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Statements]:
        """Give a connection to read with; raise `StoreError` for whatever goes wrong inside."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Statements]:
        """Open a transaction beside which no other writer of this store, in any process, runs."""

    @abstractmethod
    def _give_back(self) -> None:
        """Return freed space to the system, and see that what was deleted can't be read in the files."""

    @abstractmethod
    def close(self) -> None:
        """Let go of handles; the next use opens them again."""
