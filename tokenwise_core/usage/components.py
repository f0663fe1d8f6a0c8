"""The parts that a call's tokens are spent on, and the breakdown that always sums to the reported total."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


class CountSource(StrEnum):
    """How a count came to be, from best to worst."""

    REPORTED = "reported"
    EXACT = "exact"
    CALIBRATED = "calibrated"
    ESTIMATED = "estimated"


class Component(StrEnum):
    """What a token was spent on; the last three are output, all others input."""

    SYSTEM_PROMPT = "system_prompt"
    TOOL_DEFINITIONS = "tool_definitions"
    OUTPUT_SCHEMA = "output_schema"
    FEW_SHOT = "few_shot"
    RETRIEVED_CONTEXT = "retrieved_context"
    HISTORY = "history"
    SUMMARY = "summary"
    MEMORY = "memory"
    AGENT_MESSAGES = "agent_messages"
    TOOL_RESULTS = "tool_results"
    USER_INPUT = "user_input"
    MEDIA = "media"
    OVERHEAD = "overhead"

    RESPONSE = "response"
    TOOL_CALLS = "tool_calls"
    REASONING = "reasoning"

    @property
    def is_output(self) -> bool:
        return self in OUTPUTS

    @property
    def label(self) -> str:
        """The name as people read it: "system prompt"."""
        return self.value.replace("_", " ")


OUTPUTS = (Component.RESPONSE, Component.TOOL_CALLS, Component.REASONING)
INPUTS = tuple(component for component in Component if component not in OUTPUTS)
COLUMNS = ("component", "tokens", "share", "cached")
"""What the renderings of a breakdown show."""
_WORST = {source: rank for rank, source in enumerate(CountSource)}


def worst_source(sources: Iterable[CountSource]) -> CountSource:
    """Return the least certain of *sources* (`reported` for none at all)."""
    return max(sources, key=_WORST.__getitem__, default=CountSource.REPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Tokens by component. Values sum to the totals that the provider reported, residual in `overhead`.

    *tokens* holds components with a count other than zero; *cached* is the part of each input component that the
    provider read from its prompt cache, in wire order, so sum(cached) = cache reads. *source* says how the totals are
    known; *split* how the parts are (never better than `exact`).
    """

    tokens: Mapping[Component, int] = field(default_factory=dict)
    cached: Mapping[Component, int] = field(default_factory=dict)
    calls: int = 0
    source: CountSource = CountSource.REPORTED
    split: CountSource = CountSource.EXACT

    def __getitem__(self, component: Component | str) -> int:
        return self.tokens.get(Component(component), 0)

    @property
    def input_tokens(self) -> int:
        return sum(n for component, n in self.tokens.items() if component not in OUTPUTS)

    @property
    def output_tokens(self) -> int:
        return sum(self.tokens.get(component, 0) for component in OUTPUTS)

    @property
    def total_tokens(self) -> int:
        return sum(self.tokens.values())

    @property
    def cached_tokens(self) -> int:
        return sum(self.cached.values())

    def percentages(self) -> dict[Component, float]:
        """Return each component's share of all tokens, in percent (empty when there are none)."""
        total = self.total_tokens
        return {c: 100 * self.tokens[c] / total for c in Component if self.tokens.get(c)} if total else {}

    def __add__(self, other: Breakdown) -> Breakdown:
        return self._combine(other, 1)

    def __radd__(self, other: object) -> Breakdown:
        if other == 0:  # so that sum() works
            return self
        return NotImplemented

    def __sub__(self, other: Breakdown) -> Breakdown:
        """Return the difference, component by component; a part that grew is negative."""
        return self._combine(other, -1)

    def _combine(self, other: Breakdown, sign: int) -> Breakdown:
        if not isinstance(other, Breakdown):
            return NotImplemented
        return Breakdown(
            tokens=_merged(self.tokens, other.tokens, sign),
            cached=_merged(self.cached, other.cached, sign),
            calls=self.calls + sign * other.calls,
            source=worst_source((self.source, other.source)),
            split=worst_source((self.split, other.split)),
        )

    def cells(self) -> list[tuple[str, str, str, str]]:
        """Return the rows that every rendering shows: name, tokens, share, cached. `≈` marks what is estimated."""
        parts, whole = _mark(self.split), _mark(self.source)
        shares = self.percentages()
        rows = [
            (component.label, f"{parts}{n:,}", f"{shares.get(component, 0):.1f} %", _count(self.cached.get(component)))
            for component in Component
            if (n := self.tokens.get(component))
        ]
        total = self.total_tokens
        for name, n, cached in (
            ("input", self.input_tokens, self.cached_tokens),
            ("output", self.output_tokens, None),
            ("total", total, None),
        ):
            rows.append((name, f"{whole}{n:,}", f"{100 * n / total:.1f} %" if total else "", _count(cached)))
        return rows

    def __str__(self) -> str:
        """Return a plain-text table."""
        rows = [COLUMNS, *self.cells()]
        first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
        lines = []
        for name, *cells in rows:
            right = (cell.rjust(width) for cell, width in zip(cells, others, strict=True))
            lines.append("  ".join([name.ljust(first), *right]).rstrip())
        return "\n".join([*lines, self._known_how()])

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(caption=self._known_how(), caption_justify="left")
        table.add_column(COLUMNS[0])
        for name in COLUMNS[1:]:
            table.add_column(name, justify="right")
        *parts, inputs, outputs, total = self.cells()
        for row in parts:
            table.add_row(*row)
        table.add_section()
        for row in (inputs, outputs, total):
            table.add_row(*row, style="bold")
        return table

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        body = "".join(f"<tr>{_html_cells(row)}</tr>" for row in self.cells())
        caption = escape(self._known_how())
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _known_how(self) -> str:
        if not self.calls:
            return "no calls"
        calls = "1 call" if self.calls == 1 else f"{self.calls:,} calls"
        return f"{calls}; totals {self.source}, parts {self.split}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "tokens": {str(c): n for c, n in self.tokens.items()},
            "cached": {str(c): n for c, n in self.cached.items()},
            "calls": self.calls,
            "source": str(self.source),
            "split": str(self.split),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Breakdown:
        return cls(
            tokens={Component(c): n for c, n in data.get("tokens", {}).items()},
            cached={Component(c): n for c, n in data.get("cached", {}).items()},
            calls=data.get("calls", 0),
            source=CountSource(data.get("source", "reported")),
            split=CountSource(data.get("split", "exact")),
        )


def is_estimate(source: CountSource) -> bool:
    """Say whether a count of this source must be marked as an estimate."""
    return source in (CountSource.CALIBRATED, CountSource.ESTIMATED)


def _mark(source: CountSource) -> str:
    return "≈" if is_estimate(source) else ""


def _html_cells(row: tuple[str, ...]) -> str:
    name, *numbers = map(escape, row)
    return f"<td>{name}</td>" + "".join(f'<td style="text-align:right">{number}</td>' for number in numbers)


def _count(n: int | None) -> str:
    return f"{n:,}" if n else ""


def _merged(left: Mapping[Component, int], right: Mapping[Component, int], sign: int) -> dict[Component, int]:
    merged = {c: left.get(c, 0) + sign * right.get(c, 0) for c in Component if c in left or c in right}
    return {c: n for c, n in merged.items() if n}
