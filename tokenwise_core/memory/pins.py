"""What a summary may not lose: values of what it replaces that stand nowhere else are carried on, as bare values."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tokenwise_core.messages import Message
from tokenwise_core.protocols import CountText
from tokenwise_core.text.spans import CLAUSES, Kind, Span, spans

SHARE = 0.08
"""Default bound, as a share of the block: reached only where every line is figures (chats need .01, tool runs .026)."""
SOFT_PART = 3 / 16
"""Clauses and names are added while all pins take no more than this part of the bound; single values may fill it."""
_TITLE = "Also said:"
_RANK: dict[Kind, int] = {
    "identifier": 0, "email": 0, "url": 0, "path": 0, "amount": 1, "date": 1, "time": 2, "number": 3,
    "error": 4, "decision": 5, "constraint": 6, "name": 7,
}  # fmt: skip
_PINNED: frozenset[Kind] = frozenset(_RANK)
_LAST_VALUE = 3
_MAX_CLAUSE_WORDS = 14
_PARTS = re.compile(r",\s+|\s+(?:but|because|so that|and then)\s+|\s[-\u2013\u2014]\s")
_JOINS_BEFORE = re.compile(r"\w\Z|\d[.,:/-]\Z")
_JOINS_AFTER = re.compile(r"\w|[-/.,:]\d")
_FACT_END = re.compile(r"(?<=[.!?;])\s")
_CODE = re.compile(r"(?=\S*\d)\S+")
_WORD = re.compile(r"[^\W_]+")
_COMMON_WORDS = (
    "a an the i you we he she it they to of in on at for and or but is are was were be been do does did have has had "
    "my your our that this with not so as if just can will would"
)
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """Values carried on beside a summary; *tokens* of them rendered; *left_out* did not fit."""

    values: tuple[str, ...] = ()
    tokens: int = 0
    left_out: tuple[str, ...] = ()


def pinned(
    messages: Sequence[Message],
    *,
    summary: str = "",
    carried: Sequence[str] = (),
    count: CountText,
    max_tokens: int | None = None,
) -> Pins:
    """Return what user and assistant wrote in *messages* that neither *summary* nor the *carried* pins hold.

    Values come first (identifiers, addresses and paths, amounts and dates, times and numbers), then clauses that
    report an error, decide or constrain, then names, the rare first; these two only up to `SOFT_PART` of the bound.
    Tool results are not read: they stay recallable. *max_tokens* bounds the rendered line; `SHARE` of the block by
    default. *summary* may be any text that stays beside the pins, and empty.
    """
    said = [message.text for message in messages if message.role in ("user", "assistant") and message.text]
    if max_tokens is None:
        max_tokens = int(SHARE * sum(count(message.text) for message in messages))
    return _fitted(_wanted(said, _Stays((summary, *carried))), max_tokens, count)


def render(pins: Pins) -> str:
    """Return the pins as one line, empty where there are none."""
    return _line(pins.values)


def merge(*pins: Pins, summary: str = "", count: CountText, max_tokens: int | None = None) -> Pins:
    """Return one `Pins` for several, oldest first: each value once, without what *summary* (of the merger) holds.

    Without *max_tokens* nothing is left out that was in one of them.
    """
    stays = _Stays((summary,))
    kept: list[_Want] = []
    for value in [value for one in pins for value in one.values]:
        if value not in stays:
            stays.add(value)
            kept.append(_Want(value, _rank(value), len(kept)))
    merged = _fitted(sorted(kept, key=lambda want: want.rank), max_tokens, count)
    lost = dict.fromkeys(lost for one in pins for lost in one.left_out if lost not in stays)
    return Pins(values=merged.values, tokens=merged.tokens, left_out=(*lost, *merged.left_out))


class _Want(NamedTuple):
    """A value to pin: how important (0 most), and where it was said."""

    value: str
    rank: int
    place: int


class _Stays:
    """The text that stays in the context, asked whether a value stands in it as whole words.

    Lines and facts are found by their words: thousands of values are asked for, and each is added.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._lines: list[str] = []
        self._holders: defaultdict[str, list[int]] = defaultdict(list)
        self._facts = 0
        self._in_facts: defaultdict[str, list[int]] = defaultdict(list)
        for text in texts:
            self.add(text)

    def __contains__(self, value: str) -> bool:
        plain = _plain(value)
        if not plain:
            return True
        words = _WORD.findall(plain)
        lines = min((self._holders.get(word, []) for word in words), key=len, default=range(len(self._lines)))
        return any(_stands_in(self._lines[line], plain) for line in lines)

    def covers(self, clause: str) -> bool:
        """Tell whether one fact there has most words that matter in *clause*: a summary orders them otherwise."""
        words = set(_WORD.findall(_plain(clause))) - _COMMON
        shared = Counter(fact for word in words for fact in self._in_facts.get(word, ()))
        return not words or max(shared.values(), default=0) >= 0.6 * len(words)

    def add(self, text: str) -> None:
        for line in filter(None, map(_plain, text.splitlines())):
            for word in set(_WORD.findall(line)):
                self._holders[word].append(len(self._lines))
            self._lines.append(line)
            for fact in _FACT_END.split(line):
                for word in set(_WORD.findall(fact)):
                    self._in_facts[word].append(self._facts)
                self._facts += 1


def _stands_in(line: str, value: str) -> bool:
    """Tell whether *value* stands in *line* by itself: 20 does in "20 minutes", not in 2022, 20.5, 20:15 or 5-20."""
    at = line.find(value)
    while at >= 0:
        before, after = line[max(at - 2, 0) : at], line[at + len(value) : at + len(value) + 2]
        if not (value[0].isalnum() and _JOINS_BEFORE.search(before)) and not (
            value[-1].isalnum() and _JOINS_AFTER.match(after)
        ):
            return True
        at = line.find(value, at + 1)
    return False


def _plain(text: str) -> str:
    """Return *text* as values are compared: without case and double blanks, with one kind of dash and apostrophe."""
    return " ".join(text.casefold().replace("\u2212", "-").replace("\u2019", "'").split())


def _wanted(said: Sequence[str], stays: _Stays) -> list[_Want]:
    """Return what is to be pinned, the most important first; what a longer value says is not said again."""
    found = list(enumerate(span for text in said for span in spans(text, _PINNED)))
    seen = Counter(_plain(span.text) for _, span in found)
    found.sort(key=lambda entry: _importance(entry[1], seen[_plain(entry[1].text)], entry[0]))
    wanted = []
    for place, span in found:
        value = _shortened(span) if span.kind in CLAUSES else " ".join(span.text.split())
        if value and value not in stays and not (span.kind in CLAUSES and stays.covers(value)):
            stays.add(value)
            wanted.append(_Want(value, _RANK[span.kind], place))
    return wanted


def _importance(span: Span, times: int, place: int) -> tuple[int, int, int]:
    """Order by kind; within it longer values first, since they cover shorter ones, and names that are rare."""
    second = times if span.kind == "name" else 0 if span.kind in CLAUSES else -len(span.text)
    return _RANK[span.kind], second, place


def _rank(value: str) -> int:
    """Return the rank of a value that was pinned before: what is neither a single value nor a clause is a name."""
    whole = [span for span in spans(value, _PINNED) if span.end - span.start == len(value)]
    return min((_RANK[span.kind] for span in whole), default=_RANK["name"])


def _shortened(clause: Span) -> str:
    """Return the part of a clause that makes it one, in a few words; a question settles nothing."""
    if clause.text.endswith("?"):
        return ""
    parts = _PARTS.split(clause.text.replace("**", ""))
    telling = next((part for part in parts if spans(part, {clause.kind})), clause.text)
    words = telling.split()
    return " ".join(words[:_MAX_CLAUSE_WORDS]).rstrip(".;, ") + ("\u2026" if len(words) > _MAX_CLAUSE_WORDS else "")


def _fitted(wanted: Sequence[_Want], max_tokens: int | None, count: CountText) -> Pins:
    """Take the most important that fit; they are rendered in the order in which they were said."""
    taken: list[_Want] = []
    left_out: list[str] = []
    used, is_exact = count(_TITLE), True
    for want in wanted:
        cost = count(f"x; {want.value}") - count("x")
        bound = max_tokens if max_tokens is None or want.rank <= _LAST_VALUE else int(SOFT_PART * max_tokens)
        if bound is not None and used + cost > bound and not is_exact:
            used, is_exact = count(_line(_said(taken))), True  # the marks between codes cost less than assumed
        if bound is None or used + cost <= bound:
            taken.append(want)
            used, is_exact = used + cost, False
        else:
            left_out.append(want.value)
    while taken and max_tokens is not None and count(_line(_said(taken))) > max_tokens:
        left_out.insert(0, taken.pop().value)  # counts of parts need not add up to the count of the whole
    values = _said(taken)
    return Pins(values=values, tokens=count(_line(values)) if values else 0, left_out=tuple(left_out))


def _said(taken: Iterable[_Want]) -> tuple[str, ...]:
    return tuple(want.value for want in sorted(taken, key=lambda want: want.place))


def _line(values: Sequence[str]) -> str:
    return f"{_TITLE} {_joined(values)}" if values else ""


def _joined(values: Sequence[str]) -> str:
    return "".join(_mark(before, value) + value for before, value in pairwise(("", *values)))


def _mark(before: str, value: str) -> str:
    """Return what parts two values, in as few tokens as tell them apart.

    A blank is a token of its own before a digit or a sign and none before a letter; codes in a row need no semicolon.
    """
    if not before:
        return ""
    if not value[0].isalpha():
        return ";"
    return " " if _CODE.fullmatch(before) and _CODE.fullmatch(value) else "; "
