"""Tool results: shortened when they arrive, a reference where they repeat, a line where they were cleared.

All pure: the originals are kept by the session store, under the id that each of these texts names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from tokenwise_core.errors import BadInput
from tokenwise_core.outcome import Outcome
from tokenwise_core.protocols import CountText
from tokenwise_core.text.excerpt import ERRORS, excerpt
from tokenwise_core.text.json_excerpt import json_excerpt
from tokenwise_core.text.lossless import is_json, tidied

RECALL = "recall"
"""The name of the tool that returns originals, where an adapter offers it."""
MIN_REPEAT_TOKENS = 100
"""A repeated result below this is sent again: the reference would cost as much as it saves."""
_MIN_TOKENS = 64
_FOOTER_TOKENS = 48
_IN_JSON = "'"
"""The quote that needs no escape inside of a JSON string."""
_FOOTER = re.compile(r"\[[\d,]+ of [\d,]+ lines left out; (?:kept as |recall\()\"[^\"\n]*\"(?:\) returns the whole)?\]")


def digest(text: str) -> str:
    """Return the id under which an original is kept: equal texts have equal ids."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class _Where:
    """Under which id an original is kept, and whether the model can ask for it."""

    id: str
    offers_recall: bool

    def said(self, what: str = "the whole", *, quote: str = '"') -> str:
        return kept_at(self.id, self.offers_recall, what, quote=quote)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResults:
    """How tool results are kept short: at most *max_tokens* each; lines that match *keep* stay before others."""

    max_tokens: int = 2_000
    keep: re.Pattern[str] = ERRORS

    def __post_init__(self) -> None:
        if self.max_tokens < _MIN_TOKENS:
            raise BadInput(f"max_tokens={self.max_tokens} leaves no room for a result: at least {_MIN_TOKENS}")

    def trim(
        self,
        text: str,
        *,
        count: CountText,
        query: str | None = None,
        id: str | None = None,
        offers_recall: bool = False,
    ) -> Outcome[str]:
        """Return *text* without what says nothing, then, where it is still too long, its telling parts.

        First without loss: terminal codes, blanks, repeated lines, the white space of JSON; base64 gives way to its
        size. Then JSON keeps its form with its arrays, strings and objects cut and each gap named; other text keeps
        head, tail, errors, and lines that share words with *query*. *id* is where the original is kept (`digest` by
        default); *offers_recall* says that the model has a tool `recall` that takes it. What is returned is returned
        unchanged when trimmed again.
        """
        before = count(text)
        where = _Where(id or digest(text), offers_recall)
        tidy = _tidied(text, where)
        after = count(tidy)
        if after <= self.max_tokens or _FOOTER.fullmatch(tidy):
            return Outcome(result=tidy, before=before, after=after, reason="" if tidy == text else "tidied")
        short = self._as_json(tidy, count, query, where) or self._as_lines(tidy, count, query, where)
        after = count(short)
        note = f"{before - after:,} tokens of a tool result are left out; {where.said()}"
        return Outcome(result=short, before=before, after=after, reason="shortened", notes=(note,))

    def _as_json(self, text: str, count: CountText, query: str | None, where: _Where) -> str | None:
        def note(missing: str) -> str:
            return f"[… {missing} left out; {where.said(quote=_IN_JSON)}]"

        if not is_json(text):
            return None
        short = json_excerpt(text, max_tokens=self.max_tokens, count=count, note=note, query=query, keep=self.keep)
        short = None if short is None else _tidied(short, where)
        return short if short is not None and count(short) <= self.max_tokens else None

    def _as_lines(self, text: str, count: CountText, query: str | None, where: _Where) -> str:
        room = self.max_tokens - _FOOTER_TOKENS
        while room > 0:
            part = excerpt(text, max_tokens=room, count=count, query=query, keep=self.keep)
            short = _tidied(f"{part.text}\n{_footer(part.left_out, part.lines, where)}", where)
            if count(short) <= self.max_tokens:
                return short
            room = room * 9 // 10 - 1
        lines = text.count("\n") + 1
        return _footer(lines, lines, where)


def reference(id: str, *, tokens: int, turn: int | None = None) -> str:
    """Return what stands for a result that was given before, word for word, and still stands above."""
    where = "above" if turn is None else f"in turn {turn}"
    return f'[The same result as {where} ({tokens:,} tokens, id "{id}")]'


def cleared(name: str | None, id: str, *, tokens: int, offers_recall: bool = False) -> str:
    """Return what stands for an old result that was taken out of the context."""
    return f"[Result of {name or 'a tool'} cleared ({tokens:,} tokens); {kept_at(id, offers_recall, 'it')}]"


def kept_at(id: str, offers_recall: bool, what: str = "the whole", *, quote: str = '"') -> str:
    """Return the words for where an original is: a tool is named only to a model that has it."""
    return f"{RECALL}({quote}{id}{quote}) returns {what}" if offers_recall else f"kept as {quote}{id}{quote}"


def repeats(seen: Mapping[str, int], text: str, *, count: CountText, min_tokens: int = MIN_REPEAT_TOKENS) -> int | None:
    """Return what *seen* holds for a text that was given before and is worth a reference, else None."""
    known = seen.get(digest(text))
    return known if known is not None and count(text) > min_tokens else None


def _tidied(text: str, where: _Where) -> str:
    def name_bytes(size: int, kind: str) -> str:
        return f"[{kind or 'data'} in base64, {size:,} bytes, left out; {where.said('it', quote=_IN_JSON)}]"

    return tidied(text, name_bytes=name_bytes)


def _footer(left_out: int, lines: int, where: _Where) -> str:
    missing = f"{left_out:,} of {lines:,} lines left out" if left_out else "long lines shortened"
    return f"[{missing}; {where.said()}]"
