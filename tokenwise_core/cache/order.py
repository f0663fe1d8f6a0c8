"""What two questions of the same words differ in: sides that changed places, persons, a word put in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tokenwise_core.cache.lexicon import stem
from tokenwise_core.cache.roles import OWNERS, content
from tokenwise_core.cache.words import COORDINATORS, FIRST_PERSON, SECOND_PERSON, SYMMETRIC, TIME_ORDER

_SYMMETRIC = frozenset(stem(word) for word in SYMMETRIC)
_LONGEST_SIDE = 6
_JOINS = frozenset({"to", "with", "and", "from"})


@dataclass(frozen=True, slots=True)
class Swap:
    """Two sides that changed places: the two words *before* them and the words *between*."""

    before: tuple[str, ...]
    between: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Name what it changes: "time_order", "comparison", "argument_order", or "" for nothing."""
        between = set(self.between)
        if between <= COORDINATORS:
            return ""
        if not between.isdisjoint(TIME_ORDER):
            return "time_order"
        if "than" in between:
            return "comparison"
        if not between.isdisjoint(_SYMMETRIC) or (between <= _JOINS and not _SYMMETRIC.isdisjoint(self.before)):
            return ""
        return "argument_order"


def swapped(one: Sequence[str], other: Sequence[str]) -> Swap | None:
    """Return the swap by which the two sequences differ, None where they differ otherwise or not at all.

    The two sequences must be *pre x mid y post* and *pre y mid x post*, sides of up to six words.
    """
    if len(one) != len(other) or one == other or sorted(one) != sorted(other):
        return None
    start, stop = 0, len(one)
    while one[start] == other[start]:
        start += 1
    while one[stop - 1] == other[stop - 1]:
        stop -= 1
    p, q = tuple(one[start:stop]), tuple(other[start:stop])
    size = len(p)
    for x in range(1, min(_LONGEST_SIDE, size - 1) + 1):
        if p[:x] != q[size - x :]:
            continue
        for y in range(1, min(_LONGEST_SIDE, size - x - 1) + 1):
            if p[size - y :] == q[:y] and p[x : size - y] == q[y : size - x]:
                return Swap(tuple(one[max(0, start - 2) : start]), p[x : size - y])
    return None


def reversed_core(one: Sequence[str], other: Sequence[str], among: Collection[str] | None = None) -> bool:
    """Say whether two neighbours of a shared content word changed sides: "Alice owes Bob", "… that Bob owes Alice".

    Both must be *among* these where some are given.
    """
    cores = set(zip(one, one[1:], one[2:], strict=False))
    return any(
        (right, relation, left) in cores
        and left != right
        and relation not in _SYMMETRIC
        and (among is None or (left in among and right in among))
        for left, relation, right in zip(other, other[1:], other[2:], strict=False)
    )


def addressed(one: Sequence[str], other: Sequence[str]) -> bool:
    """Say whether two sequences differ in nothing but I for you: "how old are you?", "do you have children?".

    Elsewhere "you" is anyone: "how do you", "what do you need" are asked for oneself.
    """
    if len(one) != len(other):
        return False
    changed = {(a, b) for a, b in zip(one, other, strict=True) if a != b}
    if not changed or not all(a in _SPEAKERS and b in _SPEAKERS for a, b in changed):
        return False
    people = {(a, b) for a, b in changed if a not in _ARE or b not in _ARE}
    return bool(people) and (people != changed or one[0] in ("do", "did"))


_ARE = frozenset({"am", "are", "was", "were"})
_SPEAKERS = FIRST_PERSON | SECOND_PERSON | _ARE


_KNOWN = frozenset({"the", *OWNERS, "this", "that", "these", "those"})
_LIGHT = frozenset({"still", "yet", "already"})


def narrows(words: Sequence[str], added: str) -> bool:
    """Say whether the word with the stem *added* narrows the content word after it.

    It does not where that is known ("my new card"), nor where it says how or how long ("directly", "still").
    """
    for at, word in enumerate(words[:-1]):
        if at and stem(word) == added and words[at - 1] not in _KNOWN and content(words[at + 1]):
            return not word.endswith("ly") and word not in _LIGHT
    return False
