"""The telling lines of a long text: head, tail, errors, what a query asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokenwise_core.protocols import CountText

ERRORS = re.compile(
    r"\b(?:\w*error|\w*exception|traceback|fail(?:ed|ure|s)?|fatal|panic|critical|denied|refused|timed? ?out|not found"
    r"|unable|cannot|abort(?:ed)?|crash(?:ed)?|warn(?:ing)?|exit code [1-9]\d*|assert\w*)\b|\bE\d{3,}\b",
    re.IGNORECASE,
)
_VARYING = re.compile(r"\d+|\b[0-9a-f]{8,}\b")
_WORD = re.compile(r"[^\W_]{3,}")
_GAP_TOKENS = 8
_NOISE_WORDS = (
    "the and for what which who was were are is does did has have had with from that this can could please show get "
    "find tell about all any you your"
)
_NOISE = frozenset(_NOISE_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """Lines kept of a text, gaps marked; *left_out* of its *lines*."""

    text: str
    lines: int
    left_out: int


def excerpt(
    text: str, *, max_tokens: int, count: CountText, query: str | None = None, keep: re.Pattern[str] = ERRORS
) -> Excerpt:
    """Return head and tail of *text*, lines that match *keep* and lines that share words with *query*.

    Where lines are too long for their part they are cut in the middle. Lines in a row that differ in numbers only are
    shown as the first and the last of them.
    """
    lines = text.split("\n")
    budget, longest = max_tokens, max(2 * max_tokens, 80)
    while True:
        cut = [_middle_out(line, longest) for line in lines]
        chosen = _choose(cut, budget, count, query, keep)
        shown = "\n".join(_with_gaps(cut, chosen))
        if count(shown) <= max_tokens or budget < 1:
            return Excerpt(text=shown, lines=len(lines), left_out=len(lines) - len(chosen))
        budget, longest = budget * 9 // 10 - 1, max(longest * 3 // 4, 40)


def terms(query: str | None) -> frozenset[str]:
    """Return the words of *query* that tell lines apart."""
    return frozenset(word for word in _WORD.findall((query or "").casefold()) if word not in _NOISE)


def overlap(text: str, wanted: frozenset[str]) -> int:
    """Return how many of the *wanted* words stand in *text*."""
    return len(wanted.intersection(_WORD.findall(text.casefold()))) if wanted else 0


def _choose(lines: Sequence[str], budget: int, count: CountText, query: str | None, keep: re.Pattern[str]) -> list[int]:
    """Take lines part by part; what one part leaves, the next may use, and at last the head takes what is left."""
    varied = _first_and_last(lines)
    wanted = terms(query)
    asked = _asked_for(lines, varied, wanted)
    failing = [near for i in varied if keep.search(lines[i]) for near in (i, i + 1) if near < len(lines)]
    taken: set[int] = set()
    used = 0
    for share, candidates in ((0.3, varied), (0.5, varied[::-1]), (0.8, failing), (1.0, asked), (1.0, varied)):
        used = _take(candidates, int(share * budget), used, taken, lambda i: count(lines[i]))
    return sorted(taken)


def _take(candidates: Iterable[int], limit: int, used: int, taken: set[int], cost: Callable[[int], int]) -> int:
    misses = 0
    for i in candidates:
        if i in taken:
            continue
        price = cost(i) + 1 + (0 if i - 1 in taken or i + 1 in taken else _GAP_TOKENS)
        if used + price <= limit:
            taken.add(i)
            used += price
        else:
            misses += 1
            if misses > 3:  # a part that is full is full: the rest need not be counted
                break
    return used


def _asked_for(lines: Sequence[str], varied: Sequence[int], wanted: frozenset[str]) -> list[int]:
    """Return the lines that share words with a query, the most first.

    Of lines that differ in numbers only the best count too: the number may be what is asked for.
    """
    if not wanted:
        return []
    scores = {i: score for i, line in enumerate(lines) if (score := overlap(line, wanted))}
    best, shown = max(scores.values(), default=0), set(varied)
    return sorted((i for i, score in scores.items() if score == best or i in shown), key=lambda i: (-scores[i], i))


def _first_and_last(lines: Sequence[str]) -> list[int]:
    """Return the lines without the inner ones of runs that differ in numbers only."""
    shapes = [_VARYING.sub("0", line) for line in lines]
    last = len(lines) - 1
    return [i for i in range(len(lines)) if not 0 < i < last or not shapes[i - 1] == shapes[i] == shapes[i + 1]]


def _with_gaps(lines: Sequence[str], chosen: Sequence[int]) -> Iterator[str]:
    before = -1
    for i in (*chosen, len(lines)):
        if i > before + 1:
            yield f"[… {i - before - 1:,} lines]"
        if i < len(lines):
            yield lines[i]
        before = i


def _middle_out(line: str, characters: int) -> str:
    if len(line) <= characters:
        return line
    tail = characters // 3
    return f"{line[: characters - tail]} [… {len(line) - characters:,} characters] {line[len(line) - tail :]}"
