"""Which turns of a conversation a question needs: few cues, each measured, mixed into one score a turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.memory.index import WINDOWS, Floats, RecallIndex
from tokenwise_core.text.fusion import fused

Among = range | NDArray[np.bool_] | Sequence[int]
"""Which turns are ranked: a range, a mask over all, or positions."""

_SIZES = (1, *WINDOWS)
_TERMS = 64
"""Of a long query the rarest terms count: each costs a pass over the turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """What each cue weighs beside the similarity (0…1): round values.

    Tried in sight of six (evidence at 5 % of the tokens .83 without them, .88 with). Halving any one of them moves
    that by less than a point.
    """

    dense: float = 0.5  # share of the vectors in the similarity; words have the rest
    speaker: float = 0.35  # the question names one speaker, and it is this turn's
    dated: float = 0.3  # × share of the question's date that is the sitting's
    sitting: float = 0.2  # × mean of the sitting's three best
    concrete: float = 0.1  # × how many names and times the turn states
    asking: float = -0.1  # × share of the turn that is itself question


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A score a turn (-inf for turns that were not asked for); *dense* tells whether vectors had a say."""

    scores: Floats
    dense: bool


def rank(
    index: RecallIndex,
    query: str,
    vectors: Floats | None = None,
    *,
    among: Among | None = None,
    cues: Cues | None = None,
) -> Ranking:
    """Score the turns *among* (all by default) for *query*; *vectors* are those of `index.to_embed(query)`, or of one.

    Without vectors, or for turns that have none yet, words decide alone. Costs O(turns), no embedding.
    """
    cues = cues or Cues()
    chosen = _positions(among, len(index))
    scores = np.full(len(index), -np.inf, np.float32)
    if not chosen.size:
        return Ranking(scores=scores, dense=False)
    named = index.named(query)
    similar = _words(index, query, named, chosen)
    embedded = index.embedded[chosen] if vectors is not None else np.zeros(chosen.size, np.bool_)
    dense = bool(embedded.any())
    if vectors is not None and dense:
        share = cues.dense * embedded
        similar = (1 - share) * similar + share * _meaning(index, vectors, chosen, embedded)
    extra = cues.sitting * _best_of_sitting(similar, index.segments[chosen])
    if len(named) == 1:
        extra += cues.speaker * index.said_by(named[0])[chosen]
    extra += cues.dated * index.dated(query)[chosen]
    extra += cues.concrete * index.concreteness[chosen]
    extra += cues.asking * index.question_shares[chosen]
    scores[chosen] = similar + extra
    return Ranking(scores=scores, dense=dense)


def fill(
    scores: Floats,
    tokens: Sequence[int],
    max_tokens: int,
    *,
    segments: Sequence[int] | NDArray[np.int64] | None = None,
    heading_tokens: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """Return the positions of the best turns that fit *max_tokens* together, ascending.

    *tokens* are those of each turn's line, line break included. With *segments* the first turn of a sitting also pays
    its *heading_tokens* (by position). What does not fit is passed over for what does; -inf is never taken.
    """
    kept: list[int] = []
    shown: set[int] = set()
    left, least = max_tokens, min(tokens, default=0)
    order = np.argsort(-scores, kind="stable")
    for position in order[: np.count_nonzero(scores > -np.inf)].tolist():
        if left < least:
            break
        segment = position if segments is None else int(segments[position])
        heading = 0 if heading_tokens is None or segment in shown else heading_tokens[position]
        if tokens[position] + heading <= left:
            kept.append(position)
            shown.add(segment)
            left -= tokens[position] + heading
    return tuple(sorted(kept))


def _positions(among: Among | None, length: int) -> NDArray[np.intp]:
    if among is None:
        return np.arange(length)
    if isinstance(among, range):
        return np.arange(length)[among.start : among.stop : among.step]
    chosen = np.asarray(among)
    return np.flatnonzero(chosen) if chosen.dtype == np.bool_ else np.unique(chosen.astype(np.intp))


def _words(index: RecallIndex, query: str, named: Sequence[str], chosen: NDArray[np.intp]) -> Floats:
    """Fuse BM25 over the turn and its windows, without the speakers' names: they stand where others address them."""
    names = {term for speaker in named for term in index.lexical.terms(speaker)}
    terms = index.lexical.terms(query).keys()
    telling = sorted(terms - names or terms, key=index.lexical.found_in)  # the rarest first
    weights = dict.fromkeys([term for term in telling if index.lexical.found_in(term)][:_TERMS], 1.0)
    return fused([index.lexical.weighted_scores(weights, size=size)[chosen] for size in _SIZES])


def _meaning(index: RecallIndex, vectors: Floats, chosen: NDArray[np.intp], embedded: NDArray[np.bool_]) -> Floats:
    """Fuse the cosines of the turn and its windows; those without a vector stay out of the scale."""
    similar = index.similarities(np.atleast_2d(vectors).mean(axis=0))
    out = np.zeros(chosen.size, np.float32)
    out[embedded] = fused([similar[size][chosen][embedded] for size in _SIZES])
    return out


def _best_of_sitting(scores: Floats, segments: NDArray[np.int64], best: int = 3) -> Floats:
    """Return for each turn the mean of the *best* scores of its sitting: turns in a row with the same number."""
    starts = np.flatnonzero(np.diff(segments, prepend=segments[0] - 1))
    sizes = np.diff(np.append(starts, len(segments)))
    sitting = np.repeat(np.arange(len(starts)), sizes)
    spread = float(scores.max() - scores.min()) + 1
    ordered = sitting * spread - np.sort(sitting * spread - scores)  # one sort of plain numbers, best first in each
    place = np.arange(len(segments)) - starts[sitting]
    means = np.add.reduceat(np.where(place < best, ordered, 0), starts) / np.minimum(sizes, best)
    return means[sitting].astype(np.float32)
