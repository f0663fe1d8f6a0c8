"""Which turns of a conversation a question needs: few cues, each measured, mixed into one score a turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.memory.index import WINDOWS, Floats, RecallIndex
from tokenwise_core.text.fusion import fused, min_max

Among = range | NDArray[np.bool_] | Sequence[int]
"""Which turns are ranked: a range, a mask over all, or positions."""

_SIZES = (1, *WINDOWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """What each cue weighs beside the fused similarity (0…1). Guessed, then checked; not searched."""

    dense: float = 0.5  # share of the vectors in the similarity; words have the rest
    speaker: float = 0.1  # the question names who speaks
    asking: float = -0.1  # × share of the turn that is itself question
    sitting: float = 0.2  # × mean of the sitting's three best
    rare: float = 0.1  # × overlap of rare terms with the question


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A score a turn (-inf for turns that were not asked for); *dense* tells whether vectors had a say."""

    scores: Floats
    dense: bool


def rank(
    index: RecallIndex,
    query: str,
    vector: Floats | None = None,
    *,
    among: Among | None = None,
    cues: Cues | None = None,
) -> Ranking:
    """Score the turns *among* (all by default) for *query*, whose unit vector is *vector*.

    Without a vector, or for turns that have none yet, words decide alone. Costs O(turns), no embedding.
    """
    cues = cues or Cues()
    chosen = _positions(among, len(index))
    scores = np.full(len(index), -np.inf, np.float32)
    if not chosen.size:
        return Ranking(scores=scores, dense=False)
    embedded = index.embedded[chosen] if vector is not None else np.zeros(chosen.size, np.bool_)
    dense = bool(embedded.any())
    mixed = _words(index, query, chosen)
    if vector is not None and dense:
        share = cues.dense * embedded
        mixed = (1 - share) * mixed + share * _meaning(index, vector, chosen)
    scores[chosen] = mixed + _extras(index, query, mixed, chosen, cues)
    return Ranking(scores=scores, dense=dense)


def fill(scores: Floats, tokens: Sequence[int], max_tokens: int) -> tuple[int, ...]:
    """Return the best turns that fit *max_tokens* together, in their order; what does not fit is passed over."""
    kept: list[int] = []
    left = max_tokens
    for position in np.argsort(-scores, kind="stable").tolist():
        if scores[position] == -np.inf:
            break
        if tokens[position] <= left:
            kept.append(position)
            left -= tokens[position]
    return tuple(sorted(kept))


def _positions(among: Among | None, length: int) -> NDArray[np.intp]:
    if among is None:
        return np.arange(length)
    if isinstance(among, range):
        return np.arange(length)[among.start : among.stop : among.step]
    chosen = np.asarray(among)
    return np.flatnonzero(chosen) if chosen.dtype == np.bool_ else np.unique(chosen.astype(np.intp))


def _words(index: RecallIndex, query: str, chosen: NDArray[np.intp]) -> Floats:
    return fused([index.lexical.window_scores(query, size)[chosen] for size in _SIZES])


def _meaning(index: RecallIndex, vector: Floats, chosen: NDArray[np.intp]) -> Floats:
    similar = index.similarities(vector)
    return fused([similar[size][chosen] for size in _SIZES])


def _extras(index: RecallIndex, query: str, mixed: Floats, chosen: NDArray[np.intp], cues: Cues) -> Floats:
    terms = set(index.lexical.terms(query))
    extra = cues.speaker * index.said_by(terms)[chosen]
    extra = extra + cues.asking * index.question_shares[chosen]
    extra = extra + cues.sitting * _best_of_sitting(mixed, index.segments[chosen])
    extra = extra + cues.rare * min_max(_rare(index, terms)[chosen])
    return np.asarray(extra, np.float32)


def _best_of_sitting(scores: Floats, segments: NDArray[np.int64], best: int = 3) -> Floats:
    """Return for each turn the mean of the *best* scores of its sitting."""
    order = np.lexsort((-scores, segments))
    starts = np.flatnonzero(np.diff(segments[order], prepend=segments[order[0]] - 1))
    sizes = np.diff(np.append(starts, len(order)))
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    top = np.where(place < best, scores[order], 0)
    means = np.add.reduceat(top, starts) / np.minimum(sizes, best)
    out = np.empty_like(scores)
    out[order] = np.repeat(means, sizes)
    return out


def _rare(index: RecallIndex, terms: set[str]) -> Floats:
    """Return for each turn the sum of the rarity of *terms* that it has and few others have."""
    total = np.zeros(len(index), np.float32)
    for term in terms:
        found = index.lexical.positions(term)
        if 0 < found.size <= max(2, len(index) // 50):
            total[found] += index.lexical.rarity(term)
    return total
