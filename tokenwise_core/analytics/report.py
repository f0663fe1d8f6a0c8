"""What a report says about a store's calls: one value, made by a few queries, rendered by `formats` and `html`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from tokenwise_core.errors import BadInput
from tokenwise_core.protocols import Clock
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.store.protocol import EVERYTHING, GROUPS, Query, Row, SavingRow, Store
from tokenwise_core.usage.store.totals import Totals

EMBEDDING = "embedding"
"""The operation of calls that are counted apart from the models' answers."""
DEFAULT_GROUPS = ("model", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Sums over the calls that *query* asks for.

    *totals* and *groups* hold model calls; *embeddings* are counted apart. *groups* maps a name that was asked for
    (agent, model, session, …) to its rows, the most tokens first. *hours* are all hours with calls, in order.
    *unpriced* maps a model to its calls without a price (None: the model's name is unknown).
    """

    store: str
    made_at: float
    query: Query = EVERYTHING
    totals: Totals = field(default_factory=Totals)
    embeddings: Totals = field(default_factory=Totals)
    groups: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    hours: Sequence[Row] = ()
    savings: Sequence[SavingRow] = ()
    unpriced: Mapping[str | None, int] = field(default_factory=dict)
    unseen: int = 0

    @property
    def requests_per_minute(self) -> float | None:
        """Calls a minute, averaged over the hours in which there were any."""
        return self.totals.calls / (60 * len(self.hours)) if self.hours else None

    @property
    def busiest_requests_per_minute(self) -> float | None:
        """Calls a minute in the hour with the most of them."""
        return max((row.totals.calls for row in self.hours), default=0) / 60 if self.hours else None

    def only_components(self) -> Report:
        """Return the report without its groups."""
        return replace(self, groups={})

    def cost_share(self, component: Component) -> float | None:
        """Return the share of the known cost that *component* has; None where nothing has a price."""
        return self.totals.nano.get(component, 0) / self.totals.cost_nano if self.totals.cost_nano else None


def make_report(
    store: Store,
    query: Query = EVERYTHING,
    *,
    by: Sequence[str] = DEFAULT_GROUPS,
    top: int | None = None,
    clock: Clock = time.time,
) -> Report:
    """Ask *store* for all that a report says; *top* keeps the groups with the most tokens only.

    Any of `GROUPS` can stand in *by*; the components are always there.
    """
    wrong = [name for name in by if name not in GROUPS]
    if wrong:
        raise BadInput(f"cannot report by {wrong[0]!r}: choose from {', '.join(GROUPS)}")
    answers = _Answers(store, query)
    return Report(
        store=store.url,
        made_at=clock(),
        query=query,
        totals=total_of(row.totals for row in answers.calls),
        embeddings=total_of(row.totals for row in answers.embeddings),
        groups={name: answers.rows(name, top) for name in by if name != "component"},
        hours=answers.rows("hour"),
        savings=store.savings(query),
        unpriced={
            _text(row.key["model"]): row.totals.unpriced_calls
            for row in answers.rows("model")
            if row.totals.unpriced_calls and row.totals.total_tokens
        },
    )


def total_of(parts: Iterable[Totals]) -> Totals:
    """Return the sum of *parts*."""
    total: Totals | None = None
    for part in parts:
        total = part if total is None else _sum(total, part)
    return total or Totals()


class _Answers:
    """A store's answers about model calls alone: among them, embeddings would drown the components."""

    def __init__(self, store: Store, query: Query) -> None:
        rows = store.totals(query, ("model", "operation"))
        self._store = store
        self.calls = [row for row in rows if row.key["operation"] != EMBEDDING]
        self.embeddings = [row for row in rows if row.key["operation"] == EMBEDDING]
        operations = {_text(row.key["operation"]) for row in self.calls}
        self._queries = [replace(query, operation=name) for name in sorted(operations, key=str)]

    def rows(self, by: str, top: int | None = None) -> list[Row]:
        """Return one row a group: periods in order, otherwise the most tokens first."""
        rows: Iterable[Row] = self.calls
        if by not in ("model", "operation"):
            rows = (row for query in self._queries for row in self._store.totals(query, (by,), top=top))
        merged: dict[str | int | None, list[Totals]] = {}
        for row in rows:
            merged.setdefault(row.key[by], []).append(row.totals)
        groups = [Row(key={by: value}, totals=total_of(parts)) for value, parts in merged.items()]
        return sorted(groups, key=lambda row: _order(row.key[by], row.totals))[:top]


def _order(value: str | int | None, totals: Totals) -> tuple[int, int, str]:
    return (value, 0, "") if isinstance(value, int) else (0, -totals.total_tokens, str(value))


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _sum(left: Totals, right: Totals) -> Totals:
    """Add two sums field by field; histograms and counts by name alike."""
    summed = {f.name: _plus(getattr(left, f.name), getattr(right, f.name)) for f in fields(Totals)}
    return Totals(**summed)


def _plus(left: Any, right: Any) -> Any:
    if not isinstance(left, Mapping):
        return left + right
    return {
        key: _plus(left[key], right[key]) if key in left and key in right else left.get(key, right.get(key))
        for key in {**left, **right}
    }
