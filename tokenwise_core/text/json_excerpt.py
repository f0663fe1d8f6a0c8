"""Shorten JSON so that it stays JSON: long arrays keep head and tail, long strings both ends, each gap named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenwise_core.protocols import CountText
from tokenwise_core.text.excerpt import ERRORS, overlap, terms

_LEVELS = (
    (64, 2000), (40, 800), (28, 800), (20, 400), (14, 400), (10, 200), (8, 200), (6, 120), (4, 120), (3, 80), (2, 60),
    (1, 40),
)  # fmt: skip
"""Items of an array (and keys of an object) and characters of a string that are kept, most generous first."""

Note = Callable[[str], str]
"""From what is left out ("94 of 100 items") to the text that stands there."""


class _Raw(str):
    """A number as it was written: 1.10 stays 1.10."""

    __slots__ = ()


def json_excerpt(
    text: str,
    *,
    max_tokens: int,
    count: CountText,
    note: Note,
    query: str | None = None,
    keep: re.Pattern[str] = ERRORS,
) -> str | None:
    """Return JSON of at most *max_tokens* with the most of *text* kept, None where it is not JSON or does not fit.

    Items that match *keep* or share words with *query* are kept beside head and tail. A gap in an array is a string
    made by *note*, in an object a last key "…".
    """
    try:
        value = json.loads(text, parse_float=_Raw, parse_int=_Raw, parse_constant=_Raw)
    except (ValueError, RecursionError):
        return None
    wanted = terms(query)

    def telling(item: Any) -> int:
        shown = _dumped(_filled(item))
        return overlap(shown, wanted) + (1 if keep.search(shown) else 0)

    scores: dict[int, list[int]] = {}
    for items, characters in _LEVELS:
        shown = _dumped(_Cut(items, characters, note, telling, scores).cut(value))
        if count(shown) <= max_tokens:
            return shown
    return None


class _Cut:
    """One level of shortening; the first note says how to get the whole, the others only what is missing."""

    def __init__(
        self, items: int, characters: int, note: Note, telling: Callable[[Any], int], scores: dict[int, list[int]]
    ) -> None:
        self._items = items
        self._characters = characters
        self._note = note
        self._telling = telling
        self._scores = scores
        self._noted = False

    def cut(self, value: Any) -> Any:
        if isinstance(value, _Raw):
            return value
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, list):
            return self._array(value)
        if isinstance(value, dict):
            return self._object(value)
        return value

    def _said(self, missing: str) -> str:
        if self._noted:
            return f"[… {missing} left out]"
        self._noted = True
        return self._note(missing)

    def _string(self, text: str) -> str:
        if len(text) <= self._characters + 40:
            return text
        tail = self._characters // 3
        said = self._said(f"{len(text) - self._characters:,} characters")
        return f"{text[: self._characters - tail]} {said} {text[len(text) - tail :]}"

    def _array(self, items: list[Any]) -> list[Any]:
        if len(items) <= self._items + 1:
            return [self.cut(item) for item in items]
        found: list[Any] = []
        before = -1
        for i in (*self._chosen(items), len(items)):
            if i > before + 1:
                found.append(self._said(f"{i - before - 1:,} of {len(items):,} items"))
            if i < len(items):
                found.append(self.cut(items[i]))
            before = i
        return found

    def _chosen(self, items: list[Any]) -> list[int]:
        """Return head (two thirds) and tail, a third of which gives way to items that tell more."""
        scores = self._scores.get(id(items))
        if scores is None:
            scores = self._scores[id(items)] = [self._telling(item) for item in items]
        usual = min(scores) if 2 * sum(map(bool, scores)) > len(scores) else 0  # what most items have tells nothing
        best = sorted((i for i, score in enumerate(scores) if score > usual), key=lambda i: (-scores[i], i))
        special = best[: max(self._items // 3, 1)]
        room = max(self._items - len(special), 1 if not special else 0)
        tail = room // 3
        ends = [*range(room - tail), *range(len(items) - tail, len(items))]
        return sorted({*ends, *special})

    def _object(self, fields: dict[str, Any]) -> dict[str, Any]:
        keys = list(fields)
        if len(keys) <= 4 * self._items + 1:  # the keys of one record say what it is: fewer of them go than of items
            return {key: self.cut(fields[key]) for key in keys}
        kept = {key: self.cut(fields[key]) for key in keys[: 4 * self._items]}
        return {**kept, "…": self._said(f"{len(keys) - len(kept):,} of {len(keys):,} keys")}


def _filled(item: Any) -> Any:
    """Return a record without its empty fields: `"error": null` is no error."""
    if not isinstance(item, dict):
        return item
    return {key: value for key, value in item.items() if value not in (None, "", False, [], {})}


def _dumped(value: Any) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_dumped(str(key))}:{_dumped(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(_dumped, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
