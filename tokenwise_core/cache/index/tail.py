"""Vectors as they are, compared one by one: a small partition whole, of a large one the newest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.cache.entries.protocol import VectorRows
from tokenwise_core.cache.entry import Vector

Hits = list[tuple[int, float]]
"""(seq, cosine), nearest first."""

_BY_NUMPY = 32
"""Rows up to which numpy multiplies: from some dozen on its BLAS wakes threads that spin."""


class Tail:
    """Rows in order of seq, immutable: appending makes a new tail, over the same buffers where they have room.

    Only the newest tail of a line may be appended to, by one thread at a time; all of them may be read.
    """

    __slots__ = ("_count", "_seqs", "_vectors")

    def __init__(self, seqs: NDArray[np.int64], vectors: NDArray[np.float32], count: int) -> None:
        self._seqs, self._vectors, self._count = seqs, vectors, count

    @classmethod
    def of(cls, rows: VectorRows) -> Tail:
        return cls(rows.seqs, rows.vectors, len(rows.seqs))

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._seqs.nbytes + self._vectors.nbytes

    @property
    def last_seq(self) -> int:
        """The newest row's seq, 0 where there is none."""
        return int(self._seqs[self._count - 1]) if self._count else 0

    def ends_with(self, rows: VectorRows) -> bool:
        """Say whether the first of *rows* is this tail's newest row."""
        if not self._count or not len(rows.seqs) or rows.seqs[0] != self.last_seq:
            return False
        return np.array_equal(rows.vectors[0], self._vectors[self._count - 1])

    def append(self, rows: VectorRows) -> Tail:
        """Return a tail with *rows* at its end."""
        if not len(rows.seqs):
            return self
        if not self._count:
            return Tail.of(rows)
        old, count = self._count, self._count + len(rows.seqs)
        seqs, vectors = self._seqs, self._vectors
        if count > len(seqs):
            room = max(count, 2 * old)
            seqs, vectors = np.empty(room, np.int64), np.empty((room, vectors.shape[1]), np.float32)
            seqs[:old], vectors[:old] = self._seqs[:old], self._vectors[:old]
        seqs[old:count], vectors[old:count] = rows.seqs, rows.vectors
        return Tail(seqs, vectors, count)

    def after(self, seq: int) -> Tail:
        """Return what came after *seq*, in buffers of its own."""
        start = int(np.searchsorted(self._seqs[: self._count], seq, side="right"))
        kept = slice(start, self._count)
        return Tail(self._seqs[kept].copy(), self._vectors[kept].copy(), self._count - start)

    def search(self, vector: Vector, k: int) -> Hits:
        """Return the *k* nearest."""
        if not self._count or self._vectors.shape[1] != len(vector):
            return []
        vectors, k = self._vectors[: self._count], min(k, self._count)
        if self._count <= _BY_NUMPY:
            cosines = vectors @ vector
            order = np.argsort(-cosines, kind="stable")[:k]
            cosines = cosines[order]
        else:
            import faiss

            found, places = faiss.knn(vector[None], vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
            cosines, order = found[0], places[0]
        return list(zip(self._seqs[order].tolist(), cosines.tolist(), strict=True))


NOTHING = Tail(np.empty(0, np.int64), np.empty((0, 0), np.float32), 0)
