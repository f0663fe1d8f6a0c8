"""Entries in memory: a cache of this process alone, and what the durable stores are tested against."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np

from tokenwise_core.cache.entries.kept import Kept, Space
from tokenwise_core.cache.entries.owners import Owner, owner_query
from tokenwise_core.cache.entries.protocol import KEPT_HITS, KEPT_LABELS, VectorRows
from tokenwise_core.cache.entries.rows import (
    LightRow,
    Row,
    from_half,
    read_hit,
    same_direction,
    stamps,
    to_candidate,
    to_entry,
    to_row,
    to_stored_answer,
    write_hit,
)
from tokenwise_core.cache.entry import Candidate, Entry, HitRecord, Label, NamespaceTotals, StoredAnswer
from tokenwise_core.scoping import Scope
from tokenwise_core.storage.codec import Codec, DamagedError, ForeignError
from tokenwise_core.storage.names import restored, storable

_PAGE = 500


class MemoryEntries:
    """Entries of this process, encoded as in a file: what is returned is built anew at each reading.

    A deep copy is the same store; a pickle carries what it holds.
    """

    searches = False
    url = "memory://"

    def __init__(self, *, codec: Codec | None = None) -> None:
        self._codec = codec or Codec()
        self._kept: dict[int, Kept] = {}
        self._keys: dict[bytes, int] = {}
        self._partitions: dict[bytes, set[int]] = {}
        self._namespaces: dict[str, Space] = {}
        self._emptied: set[str] = set()
        self._epochs: dict[str, int] = {}
        self._labels: deque[Label] = deque(maxlen=KEPT_LABELS)
        self._hits: dict[str, tuple[Scope, str, bytes]] = {}
        self._state: dict[str, tuple[str, Scope]] = {}
        self._counts: Counter[str] = Counter()
        self._last_seq = self._last_label = self._generation = 0
        self._unreadable = 0
        self._own_lock()

    @property
    def unreadable(self) -> int:
        """How many rows could not be read since the store was opened here: each was a miss."""
        return self._unreadable

    # --- reading ----------------------------------------------------------------------------------------------------

    def get(self, key: bytes, *, now: float) -> Entry | None:
        with self._locked():
            seq = self._keys.get(key)
            return None if seq is None else self.entry(seq, now=now)

    def answer(self, key: bytes, *, now: float) -> StoredAnswer | None:
        with self._locked():
            seq = self._keys.get(key)
            if seq is None or not self._kept[seq].lives(now):
                return None
            row = self._kept[seq].row
            light = (seq, row.created_at, row.expires_at, row.epochs, row.capability, row.cost_nano, row.body)
            try:
                return to_stored_answer(light, self._codec)
            except (DamagedError, ForeignError):
                self._unreadable += 1
                return None

    def entry(self, seq: int, *, now: float) -> Entry | None:
        with self._locked():
            kept = self._kept.get(seq)
            return self._read(seq, kept) if kept is not None and kept.lives(now) else None

    def candidates(self, seqs: Sequence[int], *, now: float) -> list[Candidate]:
        found = []
        with self._locked():
            for seq in seqs:
                kept = self._kept.get(seq)
                if kept is None or kept.half is None or not kept.lives(now):
                    continue
                row, vector = kept.row, kept.vector()
                assert row.question is not None
                light = LightRow(
                    seq, row.question, row.created_at, row.expires_at, row.epochs, row.capability, kept.right,
                    kept.wrong,
                )  # fmt: skip
                try:
                    found.append(to_candidate(light, vector, self._codec))
                except (DamagedError, ForeignError):
                    self._unreadable += 1
        return found

    def count(self, partition: bytes, *, at_most: int) -> int:
        with self._locked():
            return min(len(self._partitions.get(partition, ())), at_most)

    def vectors(self, partition: bytes, *, after: int = 0, limit: int | None = None) -> VectorRows:
        with self._locked():
            seqs = sorted(seq for seq in self._partitions.get(partition, ()) if seq > after)[:limit]
            halves = [half for seq in seqs if (half := self._kept[seq].half) is not None]
        if not halves:
            return VectorRows(seqs=np.zeros(0, np.int64), vectors=np.zeros((0, 0), np.float32))
        return VectorRows(seqs=np.array(seqs, np.int64), vectors=from_half(halves))

    def iterate(self, *, namespace: str | None = None) -> Iterator[Entry]:
        after = 0
        while True:
            with self._locked():
                seqs = sorted(seq for seq in self._kept if seq > after)[:_PAGE]
                page = [self._read(seq, self._kept[seq]) for seq in seqs]
            yield from (entry for entry in page if entry and namespace in (None, entry.namespace))
            if len(seqs) < _PAGE:
                return
            after = seqs[-1]

    def _read(self, seq: int, kept: Kept) -> Entry | None:
        try:
            return to_entry(seq, kept.whole(), self._codec)
        except (DamagedError, ForeignError):
            self._unreadable += 1
            return None

    # --- writing ----------------------------------------------------------------------------------------------------

    def put(self, entries: Sequence[Entry]) -> list[int]:
        rows = {entry.key: (to_row(entry, self._codec), stamps(entry)) for entry in entries}
        with self._locked():
            known = {key: self._replaced(row) for key, (row, _) in rows.items()}
            inflations = {row.namespace: self._inflation(row.namespace) for row, _ in rows.values()}
            self._forget([self._keys[key] for key in rows if key in self._keys])
            if any(key_known and kept_seq is None for key_known, kept_seq in known.values()):
                self._generation += 1
            for key, (row, names) in rows.items():
                self._insert(row, names, known[key][1], inflations[row.namespace])
            self._drop_empty()
            return [self._keys[entry.key] for entry in entries]

    def _inflation(self, namespace: str) -> float:
        space = self._namespaces.get(namespace)
        return 0.0 if space is None else space.inflation

    def _replaced(self, row: Row) -> tuple[bool, int | None]:
        """Say whether *row* replaces another, and the seq that it takes over."""
        seq = self._keys.get(row.key)
        if seq is None:
            return False, None
        before = self._kept[seq]
        stale = seq <= self._namespaces[before.row.namespace].stale_to
        same = not stale and before.row.partition == row.partition and same_direction(before.vector(), row.vector)
        return True, seq if same else None

    def _insert(self, row: Row, names: Mapping[str, int], seq: int | None, inflation: float) -> None:
        if seq is None:
            self._last_seq = seq = self._last_seq + 1
        space = self._namespaces.setdefault(row.namespace, Space())
        space.inflation = max(space.inflation, inflation)
        kept = Kept(row, names, inflation=space.inflation)
        self._kept[seq], self._keys[row.key] = kept, seq
        if row.partition is not None:
            self._partitions.setdefault(row.partition, set()).add(seq)
        space.add(seq, kept)

    def delete(self, seqs: Collection[int]) -> int:
        with self._locked():
            n = self._forget(seqs)
            self._drop_empty()
            self._generation += bool(n)
            return n

    def _forget(self, seqs: Iterable[int]) -> int:
        n = 0
        for seq in seqs:
            kept = self._kept.pop(seq, None)
            if kept is None:
                continue
            n += 1
            row = kept.row
            del self._keys[row.key]
            if row.partition is not None:
                self._partitions[row.partition].discard(seq)
                if not self._partitions[row.partition]:
                    del self._partitions[row.partition]
            space = self._namespaces[row.namespace]
            space.remove(seq)
            if not space.kept:
                self._emptied.add(row.namespace)
        return n

    def _drop_empty(self) -> None:
        for name in self._emptied:
            if not self._namespaces[name].kept:
                del self._namespaces[name]
        self._emptied.clear()

    def touch(self, hits: Mapping[int, int], *, now: float) -> None:
        with self._locked():
            for seq, n in hits.items():
                kept = self._kept.get(seq)
                if kept is None:
                    continue
                space = self._namespaces[kept.row.namespace]
                kept.hit(n, now=now, inflation=space.inflation)
                space.place(seq)

    def mark(self, marks: Mapping[int, tuple[int, int]]) -> None:
        with self._locked():
            for seq, (right, wrong) in marks.items():
                if seq in self._kept:
                    self._kept[seq].right += right
                    self._kept[seq].wrong += wrong

    def sweep(self, *, now: float, limit: int = 1000) -> int:
        with self._locked():
            gone = [seq for seq, kept in self._kept.items() if not kept.lives(now) or self._outdated(seq, kept)]
            return self.delete(gone[:limit])

    def _outdated(self, seq: int, kept: Kept) -> bool:
        if seq <= self._namespaces[kept.row.namespace].stale_to:
            return True
        return any(epoch < self._epochs.get(name, 0) for name, epoch in kept.stamps.items())

    def evict(self, namespace: str, *, max_entries: int | None = None, max_bytes: int | None = None) -> int:
        with self._locked():
            space = self._namespaces.get(storable(namespace))
            return 0 if space is None else self.delete(list(space.lowest(max_entries=max_entries, max_bytes=max_bytes)))

    # --- invalidation -----------------------------------------------------------------------------------------------

    def generation(self) -> int:
        return self._generation

    def epochs(self) -> Mapping[str, int]:
        with self._locked():
            return dict(self._epochs)

    def bump(self, name: str) -> int:
        with self._locked():
            self._epochs[name] = self._epochs.get(name, 0) + 1
            space = self._namespaces.get(storable(name.removeprefix("ns:"))) if name.startswith("ns:") else None
            if space is not None:
                space.stale_to = self._last_seq
            self._generation += 1
            return self._epochs[name]

    # --- learning and looking back ----------------------------------------------------------------------------------

    def add_labels(self, labels: Sequence[Label]) -> None:
        with self._locked():
            self._labels.extend(labels)
            self._last_label += len(labels)

    def labels(self, *, after: int = 0) -> tuple[int, list[Label]]:
        with self._locked():
            newer = min(len(self._labels), max(0, self._last_label - after))
            return self._last_label, list(self._labels)[len(self._labels) - newer :]

    def add_hits(self, hits: Sequence[HitRecord]) -> None:
        written = [(hit, write_hit(hit, self._codec)) for hit in hits]
        with self._locked():
            for hit, body in written:
                self._hits.pop(hit.id, None)
                self._hits[hit.id] = (hit.owner, storable(hit.namespace), body)
            for name in list(self._hits)[: max(0, len(self._hits) - KEPT_HITS)]:
                del self._hits[name]

    def hit(self, hit_id: str) -> HitRecord | None:
        with self._locked():
            found = self._hits.get(hit_id)
        try:
            return None if found is None else read_hit(found[2], self._codec)
        except (DamagedError, ForeignError):
            self._unreadable += 1
            return None

    def get_state(self, name: str) -> str | None:
        with self._locked():
            found = self._state.get(name)
            return None if found is None else found[0]

    def set_state(self, name: str, value: str | None, *, owner: Scope | None = None) -> None:
        with self._locked():
            self._state.pop(name, None)
            if value is not None:
                self._state[name] = (value, owner or Scope())

    def add_counts(self, counts: Mapping[str, int]) -> None:
        with self._locked():
            self._counts.update(counts)

    def counts(self) -> Mapping[str, int]:
        with self._locked():
            return dict(self._counts)

    # --- looking after it -------------------------------------------------------------------------------------------

    def totals(self) -> list[NamespaceTotals]:
        with self._locked():
            return [self._totals(name, space) for name, space in sorted(self._namespaces.items())]

    def _totals(self, name: str, space: Space) -> NamespaceTotals:
        kept = space.kept.values()
        made = [entry.row.created_at for entry in kept]
        return NamespaceTotals(
            namespace=restored(name),
            entries=len(kept),
            semantic=sum(entry.half is not None for entry in kept),
            bytes=space.bytes,
            hits=sum(entry.hits for entry in kept),
            oldest=min(made),
            newest=max(made),
        )

    def purge(self, *, user: str | None = None, session: str | None = None, application: str | None = None) -> int:
        wanted = owner_query(user=user, session=session, application=application)
        with self._locked():
            for name, (owner, _, _) in list(self._hits.items()):
                if wanted.owns(Owner.of(owner)):
                    del self._hits[name]
            for name, (_, owner) in list(self._state.items()):
                if wanted.owns(Owner.of(owner)):
                    del self._state[name]
            theirs = [
                seq
                for seq, kept in self._kept.items()
                if wanted.owns(Owner(kept.row.application, kept.row.session, kept.row.user))
            ]
            self._generation += not theirs
            return self.delete(theirs)

    def clear(self, *, namespace: str | None = None) -> int:
        with self._locked():
            wanted = None if namespace is None else storable(namespace)
            gone = [seq for seq, kept in self._kept.items() if wanted in (None, kept.row.namespace)]
            self._hits = {name: hit for name, hit in self._hits.items() if wanted not in (None, hit[1])}
            self._generation += not gone
            return self.delete(gone)

    def close(self) -> None:
        """Do nothing: there are no handles."""

    # --- locks over forks and pickles -------------------------------------------------------------------------------

    def _own_lock(self) -> None:
        self._lock, self._pid = RLock(), os.getpid()

    def _locked(self) -> RLock:
        if self._pid != os.getpid():  # the parent's lock may have been held by a thread that is not here
            self._own_lock()
        return self._lock

    def __deepcopy__(self, memo: dict[int, Any]) -> MemoryEntries:
        return self

    def __getstate__(self) -> dict[str, Any]:
        with self._locked():
            return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_pid")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._own_lock()
