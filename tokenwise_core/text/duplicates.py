"""Texts that say the same again: exact Jaccard over word shingles, and cosine where there are vectors."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.text.values import values

SHINGLE_WORDS = 3
_WORD = re.compile(r"\w+(?:['\u2019]\w+)?|[^\w\s]")
_NEGATION = re.compile(r"\b(?:not|no|never|none|without|cannot)\b|n['\u2019]t\b", re.IGNORECASE)


def near_duplicates(
    texts: Sequence[str],
    threshold: float = 0.9,
    *,
    vectors: NDArray[np.float32] | None = None,
    cosine: float = 0.95,
) -> list[int | None]:
    """Return for each text the earlier one that it repeats, None where it says something new.

    A text repeats another where the Jaccard similarity of their three-word shingles is at least *threshold*, or the
    cosine of their unit *vectors* at least *cosine*; and where both hold the same values (numbers, dates, codes) and
    as many negations: "room 12" never repeats "room 13". Only texts that are new are pointed to, so that all repeats
    can go.
    """
    shingles = [_shingles(text) for text in texts]
    facts = [_facts(text) for text in texts]
    found: list[int | None] = []
    index = _Index(shingles, threshold)
    for i in range(len(texts)):
        near = index.similar(i)
        if vectors is not None:
            near |= _close(vectors, i, cosine)
        earlier = next((j for j in sorted(near) if found[j] is None and facts[i] == facts[j]), None)
        found.append(earlier)
        if earlier is None:
            index.add(i)
    return found


class _Index:
    """Sets that share a rare element: two sets of Jaccard ≥ t must share one among their first |s| − ⌈t·|s|⌉ + 1.

    Elements are ordered rarest first over all sets (prefix filter of Bayardo, Ma and Srikant, WWW 2007): exact, and
    far from comparing all with all.
    """

    def __init__(self, sets: Sequence[frozenset[str]], threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold={threshold} is no similarity: above 0, at most 1")
        frequency = Counter(element for one in sets for element in one)
        self._sets = sets
        self._threshold = threshold
        self._prefixes = [self._prefix(one, frequency) for one in sets]
        self._holders: dict[str, list[int]] = defaultdict(list)

    def _prefix(self, elements: frozenset[str], frequency: Counter[str]) -> list[str]:
        ordered = sorted(elements, key=lambda element: (frequency[element], element))
        return ordered[: len(elements) - ceil(self._threshold * len(elements) - 1e-9) + 1]

    def add(self, i: int) -> None:
        for element in self._prefixes[i]:
            self._holders[element].append(i)

    def similar(self, i: int) -> set[int]:
        mine = self._sets[i]
        candidates = {j for element in self._prefixes[i] for j in self._holders.get(element, ())}
        return {j for j in candidates if _jaccard(mine, self._sets[j]) >= self._threshold - 1e-9}


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _shingles(text: str) -> frozenset[str]:
    words = _WORD.findall(text.casefold())
    if len(words) < SHINGLE_WORDS:
        return frozenset((" ".join(words),))
    return frozenset(" ".join(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1))


def _facts(text: str) -> tuple[frozenset[str], int]:
    """Return what two texts must share to be one: their values, and how often they say no."""
    return frozenset(text[start:end].casefold() for start, end, _ in values(text)), len(_NEGATION.findall(text))


def _close(vectors: NDArray[np.float32], i: int, cosine: float) -> set[int]:
    return set(np.flatnonzero(vectors[:i] @ vectors[i] >= cosine).tolist())
