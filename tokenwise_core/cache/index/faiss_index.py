"""The index over a store of entries: one small object a partition, so that no search can reach a foreign vector."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.entry import Vector
from tokenwise_core.cache.index import snapshot, upkeep
from tokenwise_core.cache.index.partition import Partition
from tokenwise_core.cache.index.tail import Hits
from tokenwise_core.cache.index.worker import Worker

log = logging.getLogger("tokenwise.cache")

DIRECT = 2048
"""Entries that are compared one by one in 35 µs, and read from SQLite in some 5 ms."""
SMALL_BYTES = 64 << 20
LARGE_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStats:
    """What is resident. *quantised* counts the partitions that have segments; *failures* those of background work."""

    partitions: int
    quantised: int
    entries: int
    bytes: int
    tombstones: int
    builds: int
    failures: int


class FaissIndex:
    """The `NearestNeighbours` of a store that does not search by itself. Thread-safe.

    A partition of up to *direct* entries is read from the store when it is asked for, compared entry by entry, and
    kept while it is among the last used (*small_bytes* in all). A larger one is quantised (FAISS, IVF with 8 bits a
    dimension) by a thread in the background; until that is done a search finds what there is, and never waits. It
    stays resident up to *large_bytes* in all, and is kept in *folder*, if one is given, for the next process.

    The store is the only truth: entries that other processes stored or deleted a moment ago are seen. Cosines are
    exact in small partitions, within 0.005 in large ones. After a fork, and in a copy or a pickle, all is read anew.
    """

    def __init__(
        self,
        entries: Entries,
        *,
        folder: str | Path | None = None,
        direct: int = DIRECT,
        small_bytes: int = SMALL_BYTES,
        large_bytes: int = LARGE_BYTES,
    ) -> None:
        self._entries, self._direct = entries, direct
        self._folder = None if folder is None else Path(folder).expanduser().absolute()
        self._small_bytes, self._large_bytes = small_bytes, large_bytes
        self._states: dict[int, _State] = {}

    def search(self, partition: bytes, vector: Vector, k: int) -> list[tuple[int, float]]:
        """Return up to *k* (seq, cosine) of that partition only, nearest first."""
        state = self._state()
        found = state.partition(partition, self._open)
        hits: Hits = found.search(np.ascontiguousarray(vector, dtype=np.float32), k) if k > 0 else []
        state.after_search(found)
        return hits

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the background has nothing to do; False where it is still at it after *timeout_seconds*."""
        return self._state().worker.wait(timeout_seconds)

    def save(self) -> None:
        """Write the snapshots that have fallen behind, in this thread."""
        for partition in self._state().partitions():
            upkeep.save(partition)

    def stats(self) -> IndexStats:
        """Return what is resident in this process."""
        state = self._state()
        views = [(partition, partition.view) for partition in state.partitions()]
        return IndexStats(
            partitions=len(views),
            quantised=sum(bool(view.segments) for _, view in views),
            entries=sum(len(view) for _, view in views),
            bytes=sum(partition.nbytes for partition, _ in views),
            tombstones=sum(len(partition.dead) for partition, _ in views),
            builds=sum(partition.builds for partition, _ in views),
            failures=state.worker.failures,
        )

    def clear(self) -> None:
        """Forget everything, snapshots included: a store that was purged must leave no vectors behind."""
        for partition in self._drop():
            partition.folder = None  # what is being built is not to be written any more
        if self._folder is not None:
            snapshot.delete_all(self._folder)

    def close(self) -> None:
        """Write snapshots and let go of everything; the next use begins anew. Work that is under way is given up."""
        for partition in self._drop():
            try:
                upkeep.save(partition, patient=False)
            except Exception as error:  # the store has all that the snapshot would have
                log.warning("no snapshot of the cache's index: %s: %s", type(error).__name__, error)

    def _drop(self) -> list[Partition]:
        """Begin anew at the next use; return what was resident."""
        state = self._states.pop(os.getpid(), None)
        return [] if state is None else state.stop()

    def _state(self) -> _State:
        """Return this process's state; what a fork copied may have been in the middle of anything."""
        pid = os.getpid()
        state = self._states.get(pid)
        if state is None:
            for other in [key for key in self._states if key != pid]:
                self._states.pop(other, None)
            state = self._states.setdefault(pid, _State(small_bytes=self._small_bytes, large_bytes=self._large_bytes))
        return state

    def _open(self, partition: bytes) -> Partition:
        return Partition(partition, self._entries, self._direct, self._folder)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_states": {}}


class _Resident:
    """Partitions up to *max_bytes*, those last searched first; the last one stays however large it is."""

    def __init__(self, max_bytes: int) -> None:
        self.partitions: OrderedDict[bytes, Partition] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._sizes: dict[bytes, int] = {}

    def keep(self, partition: Partition, *, busy: Callable[[bytes], bool]) -> None:
        """Count a partition as just used, and let the oldest go that have no room and no work under way."""
        size = partition.nbytes
        self._bytes += size - self._sizes.get(partition.id, 0)
        self._sizes[partition.id] = size
        self.partitions[partition.id] = partition
        self.partitions.move_to_end(partition.id)
        while self._bytes > self._max_bytes:
            oldest = next((key for key in self.partitions if key != partition.id and not busy(key)), None)
            if oldest is None:
                return
            self.remove(oldest)

    def remove(self, key: bytes) -> None:
        if self.partitions.pop(key, None) is not None:
            self._bytes -= self._sizes.pop(key)


class _State:
    """What one process has resident, and its worker."""

    def __init__(self, *, small_bytes: int, large_bytes: int) -> None:
        import faiss  # noqa: F401 - 0.15 s: better with the first search, which the engine makes to warm up, than later

        self.worker = Worker()
        self._small, self._large = _Resident(small_bytes), _Resident(large_bytes)
        self._stopped = False
        self._lock = Lock()

    def partitions(self) -> list[Partition]:
        with self._lock:
            return [*self._small.partitions.values(), *self._large.partitions.values()]

    def partition(self, key: bytes, create: Callable[[bytes], Partition]) -> Partition:
        with self._lock:
            found = self._large.partitions.get(key) or self._small.partitions.get(key)
            if found is None:
                found = create(key)
                self._small.keep(found, busy=self.worker.busy_with)
            return found

    def after_search(self, partition: Partition) -> None:
        """Count what the partition takes by now, and have the work done that the search found due."""
        self._keep(partition)
        if self._stopped or not partition.needs_work:
            return
        if partition.resting:
            partition.resting -= 1
        else:
            self.worker.submit(partition.id, lambda: self._work(partition))

    def _work(self, partition: Partition) -> None:
        upkeep.work(partition)
        self._keep(partition)

    def _keep(self, partition: Partition) -> None:
        home, other = (self._large, self._small) if partition.view.segments else (self._small, self._large)
        with self._lock:
            other.remove(partition.id)
            home.keep(partition, busy=self.worker.busy_with)

    def stop(self) -> list[Partition]:
        """Give up all work; return what was resident."""
        self._stopped = True
        self.worker.drop()
        partitions = self.partitions()
        for partition in partitions:
            partition.stopped = True
        return partitions
