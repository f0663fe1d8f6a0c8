"""BM25 over short texts that keep coming: turns, chunks, tool descriptions. Also over windows of neighbouring texts."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.text.terms import stems, words

Scores = NDArray[np.float32]

_SATURATION = 1.5  # k1: how soon a term's repetition stops adding
_LENGTH = 0.75  # b: how much a long text pays for its length


class Lexical:
    """An append-only BM25 index of texts, by English stems; a text is known by its position.

    Adding costs the words of the text, a query the postings of its terms: nothing is rebuilt. Texts are not kept.
    Not thread-safe: who shares one holds a lock around every call, reading ones too.

    >>> index = Lexical()
    >>> index.add_all(["The dog runs", "A cat sleeps"])
    >>> index.scores("running dogs").argmax()
    np.int64(0)
    """

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._known: dict[str, tuple[int, ...]] = {}  # word → ids of its terms: a word is stemmed once
        self._positions: list[array[int]] = []  # by term: where it stands, ascending
        self._counts: list[array[int]] = []  # by term: how often it stands there
        self._lengths = array("i")
        self._penalties: dict[int, NDArray[np.float64]] = {}  # by window size, for the present length

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, text: str) -> int:
        """Append *text* and return its position."""
        position = len(self._lengths)
        found = Counter(term for word in words(text) for term in self._learn(word))
        for term, count in found.items():
            self._positions[term].append(position)
            self._counts[term].append(count)
        self._lengths.append(found.total())
        return position

    def add_all(self, texts: Iterable[str]) -> None:
        """Append *texts* in order."""
        for text in texts:
            self.add(text)

    def truncate(self, length: int) -> None:
        """Forget all texts from position *length* on: a conversation was cut back there."""
        del self._lengths[length:]
        self._penalties.clear()
        for positions, counts in zip(self._positions, self._counts, strict=True):
            while positions and positions[-1] >= length:
                positions.pop()
                counts.pop()

    def terms(self, text: str) -> dict[str, int]:
        """Return the search terms of *text* with their counts, whether the index has them or not."""
        return dict(Counter(term for word in words(text) for term in stems(word)))

    def found_in(self, term: str) -> int:
        """Return in how many texts *term* (a stem, as `terms` gives them) stands: its document frequency."""
        term_id = self._ids.get(term)
        return 0 if term_id is None else len(self._positions[term_id])

    def positions(self, term: str) -> NDArray[np.intp]:
        """Return the positions of the texts with *term*, ascending."""
        term_id = self._ids.get(term)
        return np.array(() if term_id is None else self._positions[term_id], dtype=np.intp)

    def rarity(self, term: str) -> float:
        """Return BM25's inverse document frequency of *term*: about ln(texts ÷ texts that have it)."""
        return _rarity(self.found_in(term), len(self))

    def scores(self, query: str) -> Scores:
        """Return every text's BM25 score for *query* (0 where no term is shared); a term counts once."""
        return self.weighted_scores(dict.fromkeys(self.terms(query), 1.0))

    def weighted_scores(self, terms: dict[str, float], *, size: int = 1) -> Scores:
        """Return BM25 scores for *terms* that weigh unequally.

        Each text is scored by the *size* texts around it (odd), as one text: its own terms, length and frequencies.
        """
        length = len(self)
        known = {term_id: weight for term, weight in terms.items() if (term_id := self._found(term)) is not None}
        if not known:
            return np.zeros(length, dtype=np.float32)
        row, at, times = self._postings(tuple(known), size)
        rarity = [_rarity(found_in, length) for found_in in np.bincount(row, minlength=len(known)).tolist()]
        factor = np.array(list(known.values())) * np.array(rarity) * (_SATURATION + 1)
        gained = factor[row] * times / (times + self._penalty(size)[at])
        return np.bincount(at, weights=gained, minlength=length).astype(np.float32)

    def _found(self, term: str) -> int | None:
        """Return the id of *term* if any text has it."""
        term_id = self._ids.get(term)
        return term_id if term_id is not None and self._positions[term_id] else None

    def _learn(self, word: str) -> tuple[int, ...]:
        known = self._known.get(word)
        if known is None:
            known = self._known[word] = tuple(self._id(term) for term in stems(word))
        return known

    def _id(self, term: str) -> int:
        term_id = self._ids.setdefault(term, len(self._ids))
        if term_id == len(self._positions):
            self._positions.append(array("i"))
            self._counts.append(array("i"))
        return term_id

    def _postings(
        self, term_ids: Sequence[int], size: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Return where the terms stand, and how often in the window around there: their number in *term_ids*, the
        text, the count; all terms at once, as most of a query's time is the calls.
        """
        length, half = len(self), size // 2
        row = np.repeat(np.arange(len(term_ids)), [len(self._positions[term_id]) for term_id in term_ids])
        at = np.concatenate([np.array(self._positions[term_id], dtype=np.intp) for term_id in term_ids])
        times = np.concatenate([np.array(self._counts[term_id], dtype=np.float64) for term_id in term_ids])
        if not half:
            return row, at, times
        near = at[:, None] + np.arange(-half, half + 1)
        inside = (near >= 0) & (near < length)
        places = (row[:, None] * length + near)[inside]
        sums = np.bincount(places, weights=np.broadcast_to(times[:, None], near.shape)[inside])
        stands = np.flatnonzero(sums)
        return stands // length, stands % length, sums[stands].astype(np.float64, copy=False)

    def _penalty(self, size: int) -> NDArray[np.float64]:
        """Return what the length of each window costs it; computed once per length of the index."""
        known = self._penalties.get(size)
        if known is None or len(known) != len(self):
            lengths = window_sums(np.array(self._lengths, dtype=np.float64), size)
            mean = max(float(lengths.mean()), 1.0) if len(lengths) else 1.0
            known = self._penalties[size] = _SATURATION * (1 - _LENGTH + _LENGTH * lengths / mean)
        return known


def window_sums(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return, for each position, the sum of *values* over the *size* positions around it (fewer at both ends)."""
    if size == 1 or not len(values):
        return values
    half = size // 2
    sums = np.concatenate((np.zeros(1), np.cumsum(values)))
    at = np.arange(len(values))
    windows: NDArray[np.float64] = sums[np.minimum(at + half + 1, len(values))] - sums[np.maximum(at - half, 0)]
    return windows


def _rarity(found_in: int, length: int) -> float:
    """Lucene's variant: never negative, even for a term of every text."""
    return log(1 + (length - found_in + 0.5) / (found_in + 0.5))
