"""The FAISS part of the index: how a large partition is divided and quantised, and the sealed pieces of it."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.cache.entries.protocol import VectorRows
from tokenwise_core.cache.entry import Vector
from tokenwise_core.errors import BadInput

PROBES = 32
"""Lists read a search. Of the exact top 8 among questions, 16 hold .994; among random vectors at 100k, 16 hold .84,
32 .88 and 64 .92, each doubling for half the time more."""
LISTS_PER_ROOT = 4
"""Lists per square root of the number of vectors (FAISS's guidelines: 4 to 16)."""
MAX_LISTS = 4096
SAMPLE_PER_LIST = 32
ROUNDS = 6
"""Rounds of k-means: 28 s at a million on one core."""
MARGIN = 0.2
"""By how much the 8-bit scale reaches beyond the sample's lowest and highest values: what is beyond it is cut."""
_ID_BYTES = 8
_LIST_BYTES = 128
"""An empty list of FAISS: two C++ vectors."""

Seqs = NDArray[np.int64]
Scores = NDArray[np.float32]


class Codebook:
    """The centroids and the 8-bit scale of one partition: trained once, then shared by all of its segments.

    A code does not depend on its centroid (no residuals), so segments are merged by copying bytes.
    """

    def __init__(self, quantizer: Any, scale: NDArray[np.float32]) -> None:
        self._quantizer, self._scale = quantizer, scale
        self.dimension, self.lists = int(quantizer.d), int(quantizer.ntotal)
        self.probes = min(PROBES, self.lists)

    @classmethod
    def train(cls, sample: NDArray[np.float32], *, count: int) -> Codebook:
        """Learn from a *sample* of *count* vectors; minutes at a million."""
        import faiss

        dimension = sample.shape[1]
        quantizer = faiss.IndexFlatIP(dimension)
        index = _ivf(quantizer, dimension, min(lists_for(count), len(sample)))
        index.cp.niter, index.cp.min_points_per_centroid = ROUNDS, 1
        index.sq.rangestat_arg = MARGIN
        index.train(np.ascontiguousarray(sample))
        return cls(quantizer, faiss.vector_to_array(index.sq.trained))

    @property
    def nbytes(self) -> int:
        return self.lists * self.dimension * 4

    def nearest_lists(self, vector: Vector) -> tuple[Scores, NDArray[np.int64]]:
        """Return how near the nearest lists are, and which: found once for all segments."""
        nearness, lists = self._quantizer.search(vector[None], self.probes)
        return nearness, lists

    def new_index(self) -> Any:
        """Return an index without vectors."""
        import faiss

        index = _ivf(self._quantizer, self.dimension, self.lists)
        faiss.copy_array_to_vector(self._scale, index.sq.trained)
        index.is_trained, index.nprobe = True, self.probes
        return index


class Segment:
    """Quantised vectors under their seqs, each in the list of its nearest centroid. Never changed once published."""

    def __init__(self, codebook: Codebook, index: Any) -> None:
        self.codebook, self.index = codebook, index

    @classmethod
    def encode(cls, codebook: Codebook, rows: VectorRows) -> Segment:
        """Seal rows."""
        index = codebook.new_index()
        if len(rows.seqs):
            index.add_with_ids(np.ascontiguousarray(rows.vectors), rows.seqs)
        return cls(codebook, index)

    @classmethod
    def merge(cls, segments: Sequence[Segment], *, dead: Seqs | None = None, live: Seqs | None = None) -> Segment:
        """Return one segment of the vectors of all, without *dead*, or of those in *live* (sorted) alone.

        Each list is allocated once, at its final size: grown by adding, lists take up to twice the memory.
        """
        codebook = segments[0].codebook
        index = codebook.new_index()
        total = 0
        for number in range(codebook.lists):
            total += _fill(index.invlists, number, [s.index.invlists for s in segments], dead, live)
        index.ntotal = total
        return cls(codebook, index)

    @classmethod
    def from_bytes(cls, data: NDArray[np.uint8]) -> Segment:
        """Read what `to_bytes` wrote; raises BadInput where FAISS reads something else from it."""
        import faiss

        try:
            index = faiss.deserialize_index(data)
        except RuntimeError as error:
            raise BadInput("FAISS cannot read these bytes") from error
        if not isinstance(index, faiss.IndexIVFScalarQuantizer):
            raise BadInput(f"an index of another kind: {type(index).__name__}")
        quantizer = faiss.clone_index(faiss.downcast_index(index.quantizer))  # its own: it outlives this segment
        codebook = Codebook(quantizer, faiss.vector_to_array(index.sq.trained))
        index.nprobe = codebook.probes
        return cls(codebook, index)

    def to_bytes(self) -> NDArray[np.uint8]:
        """Return FAISS's own serialisation, centroids included."""
        import faiss

        data: NDArray[np.uint8] = faiss.serialize_index(self.index)
        return data

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def nbytes(self) -> int:
        return len(self) * (self.codebook.dimension + _ID_BYTES) + self.codebook.lists * _LIST_BYTES

    def sample(self, count: int) -> Seqs:
        """Return up to *count* of the seqs, from lists far apart."""
        lists = self.index.invlists
        filled = [number for number in range(self.codebook.lists) if lists.list_size(number)]
        step = max(1, len(filled) // count)
        firsts = [int(_ids(lists, number)[0]) for number in filled[::step]]
        return np.array(firsts[:count], dtype=np.int64)

    def search(self, vector: Vector, k: int, nearness: Scores, lists: NDArray[np.int64]) -> tuple[Scores, Seqs]:
        """Return the *k* best (approximate cosines, seqs) of the lists given; -1 stands where there are fewer."""
        scores, seqs = self.index.search_preassigned(vector[None], k, lists, nearness)
        return scores[0], seqs[0]


def lists_for(count: int) -> int:
    """Return into how many lists *count* vectors are divided."""
    return max(1, min(MAX_LISTS, int(LISTS_PER_ROOT * count**0.5)))


def sample_for(count: int) -> int:
    """Return how many vectors a codebook for *count* is trained on."""
    return min(count, SAMPLE_PER_LIST * lists_for(count))


def search(segments: Sequence[Segment], vector: Vector, k: int) -> list[tuple[float, int]]:
    """Return the *k* best (approximate cosine, seq) of all segments, best first.

    The scale's 8 bits are off by up to 0.005 (measured), more for vectors beyond what it was trained on.
    """
    nearness, lists = segments[0].codebook.nearest_lists(vector)
    found: list[tuple[float, int]] = []
    for segment in segments:
        scores, seqs = segment.search(vector, k, nearness, lists)
        found += [(score, seq) for score, seq in zip(scores.tolist(), seqs.tolist(), strict=True) if seq >= 0]
    found.sort(reverse=True)
    return found[:k]


def use_one_thread() -> None:
    """Keep FAISS to one core in the calling thread; OpenMP keeps the number for each thread by itself."""
    import faiss

    faiss.omp_set_num_threads(1)


def give_back_memory() -> None:
    """Return freed memory to the system: after a build glibc keeps 90 MB of it, and more the larger the build."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another system's C library: it has its own ways
        return


def _ivf(quantizer: Any, dimension: int, lists: int) -> Any:
    import faiss

    kind, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    return faiss.IndexIVFScalarQuantizer(quantizer, dimension, lists, kind, metric, False)


def _fill(target: Any, number: int, sources: Sequence[Any], dead: Seqs | None, live: Seqs | None) -> int:
    """Copy list *number* of the *sources* into the empty *target*; return how many vectors were copied."""
    import faiss

    pieces = []
    for source in sources:
        if not (size := source.list_size(number)):
            continue
        ids, width = _ids(source, number), source.code_size
        codes = faiss.rev_swig_ptr(source.get_codes(number), size * width).reshape(size, width)
        if (keep := _kept(ids, dead, live)) is not None:
            ids, codes = ids[keep], codes[keep]
        pieces.append((ids, codes))
    total = sum(len(ids) for ids, _ in pieces)
    if total:
        ids = np.concatenate([piece[0] for piece in pieces])
        codes = np.concatenate([piece[1] for piece in pieces])
        target.resize(number, total)
        target.update_entries(number, 0, total, faiss.swig_ptr(ids), faiss.swig_ptr(codes))
    return total


def _kept(ids: Seqs, dead: Seqs | None, live: Seqs | None) -> NDArray[np.bool_] | None:
    if live is not None:
        at = np.searchsorted(live, ids)
        kept: NDArray[np.bool_] = at < len(live)
        kept[kept] = live[at[kept]] == ids[kept]
        return kept
    return None if dead is None or not len(dead) else ~np.isin(ids, dead)


def _ids(lists: Any, number: int) -> Seqs:
    import faiss

    size = lists.list_size(number)
    ids: Seqs = faiss.rev_swig_ptr(lists.get_ids(number), size) if size else np.empty(0, dtype=np.int64)
    return ids
