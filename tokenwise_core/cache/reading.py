"""What a question says, read once: its words, numbers, names, negations, quotes and identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A question, parsed at insert and stored with its entry.

    *plain* is the text folded to lower-case words; *words* are those words in order, *stems* the stems of the content
    words in order. *english* is False where the word lists do not apply.
    """

    plain: str
    words: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    numbers: frozenset[str] = frozenset()
    entities: frozenset[str] = frozenset()
    quotes: frozenset[str] = frozenset()
    identifiers: frozenset[str] = frozenset()
    negated: bool = False
    question_word: str = ""
    english: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return JSON that `from_json` reads."""
        return {
            name: sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value
            for name, value in ((name, getattr(self, name)) for name in self.__slots__)
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reading:
        """Read what `to_json` wrote."""
        sets, tuples = ("numbers", "entities", "quotes", "identifiers"), ("words", "stems")
        return cls(
            **{
                name: frozenset(value) if name in sets else tuple(value) if name in tuples else value
                for name, value in data.items()
                if name in cls.__slots__
            }
        )
