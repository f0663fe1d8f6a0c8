"""Vectors in partitions of a store, what an exact search finds among them, and a store that stalls or fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.cache.entries import Entries, MemoryEntries, VectorRows
from tokenwise_core.cache.entry import CachedAnswer, Entry

DIMENSION = 16
HERE, THERE = b"here".ljust(16), b"there".ljust(16)

Vectors = NDArray[np.float32]


def unit(n: int, *, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    """Return random unit vectors that a half float holds exactly enough."""
    rows = np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fill(store: Entries, vectors: Vectors, *, partition: bytes = HERE) -> list[int]:
    """Store an entry a vector; return their seqs."""
    return store.put([entry(vector, partition) for vector in vectors])


def entry(vector: NDArray[np.float32], partition: bytes = HERE) -> Entry:
    return Entry(
        key=blake2b(vector.tobytes() + partition, digest_size=16).digest(),
        namespace="desk",
        answer=CachedAnswer(text="Yes."),
        created_at=0.0,
        partition=partition,
        query="Is it?",
        vector=vector,
        reading={},
        signature={},
    )


def nearest(vectors: Vectors, seqs: Sequence[int], query: Vectors, k: int) -> list[int]:
    """Return the seqs of the *k* nearest, by comparing all."""
    return [seqs[i] for i in np.argsort(-(vectors @ query), kind="stable")[:k]]


def found(hits: Sequence[tuple[int, float]]) -> list[int]:
    return [seq for seq, _ in hits]


class Trying(MemoryEntries):
    """Entries whose reading in the index's own thread waits for *go*, or fails while *broken*."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.reached, self.broken = threading.Event(), threading.Event(), False
        self.go.set()

    def vectors(self, partition: bytes, *, after: int = 0, limit: int | None = None) -> VectorRows:
        if threading.current_thread().name == "tokenwise-index":
            self.reached.set()
            if self.broken:
                raise OSError("no disk")
            self.go.wait(10)
        return super().vectors(partition, after=after, limit=limit)

    def __getstate__(self) -> dict[str, Any]:
        raise NotImplementedError
