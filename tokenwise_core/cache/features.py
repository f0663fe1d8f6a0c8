"""What the verifier weighs of a question and a stored neighbour: numbers between about -1 and 1, never text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tokenwise_core.cache.answers import AnswerSignature
from tokenwise_core.cache.reading import Reading

COMPANY, NEAREST = 0, 1
"""Places of two facts that are not weighed: how many other neighbours there are, and whether this is the nearest."""
PAIR = ("similarity", "overlap", "difference", "question_word", "right", "wrong")
GROUP = ("agreement", "support", "margin", "group_right", "group_wrong")
NAMES = ("company", "nearest", *PAIR, *GROUP)
PAIR_FROM, PAIR_UNTIL, UNTIL = 2, 2 + len(PAIR), 2 + len(PAIR) + len(GROUP)

_NEAR, _FAR = -0.1, 0.2
"""How much nearer or further off than the candidate a rival's cosine counts at most."""
_NO_RIVAL = 0.1
"""What stands for the distance of a rival that was not seen: neutral, for one may lie just beyond the neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A stored question near the one asked; *right* and *wrong* count what labels said of its entry."""

    seq: int
    similarity: float
    reading: Reading
    signature: AnswerSignature
    right: int = 0
    wrong: int = 0


def pair_features(asked: Reading, neighbour: Neighbour) -> tuple[float, ...]:
    """Return what can be said of one neighbour by itself (`PAIR`)."""
    mine, theirs = _content(asked), _content(neighbour.reading)
    common, either = len(mine & theirs), len(mine | theirs)
    other_word = asked.question_word != neighbour.reading.question_word
    return (
        (neighbour.similarity - 0.8) * 10,
        common / either - 0.5 if either else 0.5,
        min(either - common, 6) / 3 - 1,
        float(other_word and bool(asked.question_word) and bool(neighbour.reading.question_word)),
        math.log1p(min(neighbour.right, 7)),
        math.log1p(min(neighbour.wrong, 7)),
    )


def _content(reading: Reading) -> set[str]:
    return set(reading.stems or reading.words)


def alone(asked: Reading, neighbour: Neighbour) -> tuple[float, ...]:
    """Return the features of the nearest neighbour as if there were no other."""
    return (0.0, 1.0, *pair_features(asked, neighbour), *(0.0 for _ in GROUP))


def in_company(
    asked: Reading, neighbours: Sequence[Neighbour], candidate: int, *, group: Sequence[int], agreement: float
) -> tuple[float, ...]:
    """Return the features of a candidate among others; *group* are the places of those with the same answer."""
    members = set(group)
    rivals = [neighbour.similarity for place, neighbour in enumerate(neighbours) if place not in members]
    best = neighbours[group[0]].similarity
    margin = min(max(best - rivals[0], _NEAR), _FAR) if rivals else _NO_RIVAL
    return (
        float(len(neighbours) - 1),
        float(candidate == 0),
        *pair_features(asked, neighbours[candidate]),
        agreement - 0.7,
        len(group) / 8 - 0.5,
        margin * 5 - 0.5,
        math.log1p(sum(neighbours[place].right for place in group)) - 0.7,
        math.log1p(sum(neighbours[place].wrong for place in group)) - 0.5,
    )
