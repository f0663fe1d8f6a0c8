"""What must survive in a text: identifiers, amounts, dates, paths, names, quotations, code, and clauses that bind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from tokenwise_core.text.clauses import code, constraints, decisions, errors, quotations
from tokenwise_core.text.names import names
from tokenwise_core.text.values import ValueKind, values

Kind = ValueKind | Literal["name", "quote", "code", "decision", "constraint", "error"]
VALUES: frozenset[Kind] = frozenset(get_args(ValueKind))
"""Kinds of single values; they never overlap one another: the most specific reading wins."""
CLAUSES: frozenset[Kind] = frozenset(("decision", "constraint", "error"))
"""Kinds of clauses; values and names may lie inside one."""
_FINDERS: Mapping[Kind, Callable[[str], Iterator[tuple[int, int]]]] = {
    "name": names,
    "quote": quotations,
    "code": code,
    "decision": decisions,
    "constraint": constraints,
    "error": errors,
}
KINDS: frozenset[Kind] = VALUES | frozenset(_FINDERS)


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a text and what they are."""

    start: int
    end: int
    kind: Kind
    text: str


def spans(text: str, kinds: Collection[Kind] = KINDS) -> list[Span]:
    """Return what must survive in *text*, in order; spans of one kind never overlap.

    Addresses, paths, numbers and identifiers are found in any language, names and clauses in English. A block of code
    or a JSON object is one span of kind `code`; the values inside it are found as well.
    """
    found: list[Span] = []
    if not VALUES.isdisjoint(kinds):
        found += [Span(start, end, kind, text[start:end]) for start, end, kind in values(text) if kind in kinds]
    for kind, finder in _FINDERS.items():
        if kind in kinds:
            found += [Span(start, end, kind, text[start:end]) for start, end in finder(text)]
    found.sort(key=lambda span: (span.start, -span.end, span.kind))
    return found
