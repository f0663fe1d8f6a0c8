"""Decides whether a stored neighbour may answer a question: vetoes, agreement of the neighbours, an error bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tokenwise_core.cache.answers import AnswerSignature, same_answer
from tokenwise_core.cache.entry import Label
from tokenwise_core.cache.features import Neighbour, alone, in_company
from tokenwise_core.cache.reading import Reading
from tokenwise_core.cache.verifier import Estimate, Verifier
from tokenwise_core.cache.vetoes import is_vetoed, vetoes

__all__ = ["Judgement", "Neighbour", "judge", "labels_of"]

FLOOR = 0.5
"""Cosine below which a neighbour has nothing to do with the question; nothing is learnt from it either."""
AGREEMENT = 0.5
"""Share of the neighbourhood that must carry the candidate's answer."""
SHARPNESS = 15.0
"""A neighbour counts for e^(15 Δcosine) of the nearest one: a third at .07 less, a twentieth at .2 less."""
FOREIGN = 0.5
"""Share of the allowed error outside English, where only numbers, quotes and identifiers are vetoed."""
NEAR_IDENTICAL = 0.99
"""Cosine from which equal content words are the same question, before anything has been learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What was decided: *index* of the neighbour to be served, or the *reason* why none is.

    Reasons: "cold" (nothing near), "veto:<name>", "disagree", "below" (more likely wrong than the user allows),
    "unearned" (likely right, but the bound is not yet shown), "explore" (would be served, asked for the label),
    "exact_only" (`max_error` is 0). *score* is the estimated chance of being right, *bound* the upper bound of the
    false-hit rate among all that is served along with it; *candidate* the neighbour that all this is said of.
    """

    index: int | None
    reason: str | None
    features: tuple[float, ...] = ()
    score: float | None = None
    bound: float | None = None
    agreement: float | None = None
    vetoes: tuple[str, ...] = ()
    candidate: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """The neighbour whose answer its neighbours carry most, and which nothing forbids."""

    place: int
    group: tuple[int, ...]
    agreement: float
    vetoes: tuple[str, ...]


def judge(
    asked: Reading,
    neighbours: Sequence[Neighbour],
    verifier: Verifier,
    *,
    max_error: float,
    off: Collection[str] = (),
    explore: Callable[[], float],
) -> Judgement:
    """Say which of *neighbours* (nearest first) may answer *asked* with at most *max_error* false hits, if any.

    *off* are vetoes to do without; *explore* draws from [0, 1).
    """
    if max_error <= 0 or not neighbours or neighbours[0].similarity < FLOOR:
        return Judgement(index=None, reason="exact_only" if max_error <= 0 else "cold")
    chosen = _candidate(asked, neighbours, off)
    if chosen.vetoes:
        return Judgement(
            index=None,
            reason=f"veto:{chosen.vetoes[0]}",
            agreement=chosen.agreement,
            vetoes=chosen.vetoes,
            candidate=chosen.place,
        )
    features = _features(asked, neighbours, chosen)
    limit = max_error if asked.english else max_error * FOREIGN
    estimate = verifier.estimate(features, max_error=limit)
    candidate = neighbours[chosen.place]
    reason: str | None = None
    if not _is_twin(asked, candidate):
        if chosen.agreement < AGREEMENT:
            reason = "disagree"
        elif not _near_identical(asked, candidate):
            reason = _refused(estimate, limit)
    if reason is None and explore() < verifier.explore:
        reason = "explore"
    return Judgement(
        index=chosen.place if reason is None else None,
        reason=reason,
        features=features,
        score=1 - estimate.error,
        bound=estimate.bound,
        agreement=chosen.agreement,
        candidate=chosen.place,
    )


def labels_of(
    asked: Reading, neighbours: Sequence[Neighbour], answer: AnswerSignature, judgement: Judgement | None = None
) -> list[tuple[Label, int]]:
    """Return what the model's *answer* tells of the neighbours: labels, each with the place of its neighbour.

    One for the candidate that was judged, one for the nearest neighbour by itself where that is another. A label's
    `ts` is for the caller to set.
    """
    if not neighbours or neighbours[0].similarity < FLOOR:
        return []
    source = "explore" if judgement is not None and judgement.reason == "explore" else "miss"
    score = None if judgement is None else judgement.score
    found = []
    features = () if judgement is None else judgement.features
    place = None if judgement is None else judgement.candidate
    if place is None:
        chosen = _candidate(asked, neighbours, ())
        place, features = chosen.place, () if chosen.vetoes else _features(asked, neighbours, chosen)
    if features:
        found.append((features, place, score))
    if place != 0 and not is_vetoed(asked, neighbours[0].reading):
        found.append((alone(asked, neighbours[0]), 0, None))
    labels = []
    for values, at, known in found:
        same = same_answer(answer, neighbours[at].signature)
        if same is not None:
            labels.append((Label(features=values, same=same, ts=0.0, score=known, source=source), at))
    return labels


def _candidate(asked: Reading, neighbours: Sequence[Neighbour], off: Collection[str]) -> _Candidate:
    """Return the neighbour to be judged: one with the question's own words, else of the answer carried most."""
    weights = [math.exp(SHARPNESS * (one.similarity - neighbours[0].similarity)) for one in neighbours]
    groups = _groups(neighbours)
    group = max(groups, key=lambda places: sum(weights[place] for place in places))
    vetoed = _Vetoed(asked, neighbours, off)
    twin = next((place for place, one in enumerate(neighbours) if _is_nearly(asked, one) and not vetoed[place]), None)
    if twin is not None:
        group = next(places for places in groups if twin in places)
        weights = [0.0 if place not in group and vetoed[place] else weight for place, weight in enumerate(weights)]
    place = twin if twin is not None else next((place for place in group if not vetoed[place]), group[0])
    agreement = sum(weights[place] for place in group) / sum(weights)
    names = vetoes(asked, neighbours[place].reading, off=off) if vetoed[place] else ()
    return _Candidate(place=place, group=group, agreement=agreement, vetoes=names)


class _Vetoed(dict[int, bool]):
    """Whether a veto forbids the neighbour at a place, found out when it is first asked: most are never asked."""

    def __init__(self, asked: Reading, neighbours: Sequence[Neighbour], off: Collection[str]) -> None:
        self._asked, self._neighbours, self._off = asked, neighbours, off

    def __missing__(self, place: int) -> bool:
        self[place] = found = is_vetoed(self._asked, self._neighbours[place].reading, off=self._off)
        return found


def _is_nearly(asked: Reading, neighbour: Neighbour) -> bool:
    """Say whether the stored question is this one in other spelling or other small words: its look-alikes are others.

    Then the neighbours that a veto forbids have no say in what the answer is.
    """
    return _is_twin(asked, neighbour) or _near_identical(asked, neighbour)


def _is_twin(asked: Reading, neighbour: Neighbour) -> bool:
    """Say whether the question is the stored one word for word, and was not a wrong neighbour more often than not."""
    return asked.plain == neighbour.reading.plain and neighbour.wrong <= neighbour.right


def _groups(neighbours: Sequence[Neighbour]) -> list[tuple[int, ...]]:
    """Return, for each distinct answer, the places of the neighbours that carry it.

    Neighbours whose answers may be the same but cannot be told apart are counted as different.
    """
    groups: list[list[int]] = []
    for place, neighbour in enumerate(neighbours):
        for group in groups:
            if same_answer(neighbours[group[0]].signature, neighbour.signature):
                group.append(place)
                break
        else:
            groups.append([place])
    return [tuple(group) for group in groups]


def _features(asked: Reading, neighbours: Sequence[Neighbour], chosen: _Candidate) -> tuple[float, ...]:
    if len(neighbours) == 1:
        return alone(asked, neighbours[0])
    return in_company(asked, neighbours, chosen.place, group=chosen.group, agreement=chosen.agreement)


def _refused(estimate: Estimate, max_error: float) -> str | None:
    """Return why an estimate does not do: the answer itself is too doubtful, or the region's bound is not shown."""
    if estimate.error > max_error:
        return "below"
    return "unearned" if estimate.bound is None or estimate.bound > max_error else None


def _near_identical(asked: Reading, neighbour: Neighbour) -> bool:
    """Say whether the content words are the stored ones, which needs no evidence unless it was wrong."""
    if neighbour.wrong > neighbour.right:
        return False
    stems = neighbour.reading.stems
    return neighbour.similarity >= NEAR_IDENTICAL and asked.stems == stems and bool(stems)
