"""What a report says about a store's calls: one value, made by a few queries, rendered by `formats` and `html`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tokenwise_core.analytics.queries import requests_per_minute
from tokenwise_core.errors import BadInput
from tokenwise_core.protocols import Clock
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import Status
from tokenwise_core.usage.store.protocol import EVERYTHING, GROUPS, HOUR, Query, Row, SavingRow, Store
from tokenwise_core.usage.store.totals import Totals, merged

EMBEDDING = "embedding"
"""The operation of calls that are counted apart from the models' answers."""
MINUTE = 60
DEFAULT_GROUPS = ("model", "agent")
_BASE = ("model", "operation", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Sums over the calls that *query* asks for.

    *totals* and *groups* hold model calls; *embeddings* are counted apart. *groups* maps a name that was asked for
    (agent, model, session, …) to its rows, the most tokens first. *hours* are all hours with calls, in order.
    *answered* calls were served from a cache of the application's; *failed* and *aborted* ones gave no whole answer.
    *own_embeddings*: no provider sells the embedding models, they run here. *cut* names the groups of which *top* left
    some out.
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
    answered: int = 0
    failed: int = 0
    aborted: int = 0
    own_embeddings: bool = False
    cut: frozenset[str] = frozenset()
    unseen: int = 0

    @property
    def since(self) -> float | None:
        """When the report's time begins: as asked, else with the hour of the first call."""
        if self.query.since is not None:
            return self.query.since
        return float(self.hours[0].key["hour"] or 0) if self.hours else None

    @property
    def until(self) -> float:
        """When the report's time ends: as asked, else when it was made."""
        return self.made_at if self.query.until is None else min(self.query.until, self.made_at)

    @property
    def empty(self) -> bool:
        """Whether no call is in the report."""
        return not (self.totals.calls or self.embeddings.calls)

    @property
    def seconds(self) -> float:
        """How long the report's time is; 0 without calls."""
        return 0.0 if self.since is None else max(0.0, self.until - self.since)

    @property
    def requests_per_minute(self) -> float | None:
        """Calls a minute, averaged over the report's time (one shorter than a minute counts as a minute)."""
        if self.since is None:
            return None
        query = replace(self.query, since=min(self.since, self.until - MINUTE))
        return requests_per_minute(self.totals, query, now=self.made_at)

    @property
    def busiest_requests_per_minute(self) -> float | None:
        """Calls a minute in the hour with the most of them; of an hour that the report cuts, its part counts."""
        return max((self._rate(row) for row in self.hours), default=None)

    def _rate(self, row: Row) -> float:
        hour = float(row.key["hour"] or 0)
        begin = hour if self.since is None else max(hour, self.since)
        seconds = max(min(hour + HOUR, self.until) - begin, MINUTE)
        return row.totals.calls / (seconds / MINUTE)

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
    ended = {row.key["status"]: row.totals.calls for row in answers.rows("status")}
    groups = {name: answers.rows(name, None if top is None else top + 1) for name in by if name != "component"}
    return Report(
        store=store.url,
        made_at=clock(),
        query=query,
        totals=merged(row.totals for row in answers.calls),
        embeddings=merged(row.totals for row in answers.embeddings),
        groups={name: rows[:top] for name, rows in groups.items()},
        cut=frozenset(name for name, rows in groups.items() if top is not None and len(rows) > top),
        hours=answers.rows("hour"),
        savings=store.savings(query),
        answered=ended.get(Status.CACHE_HIT, 0),
        failed=ended.get(Status.ERROR, 0),
        aborted=ended.get(Status.ABORTED, 0),
        own_embeddings=answers.own_embeddings(),
        unpriced={
            _text(row.key["model"]): row.totals.unpriced_calls
            for row in answers.rows("model")
            if row.totals.unpriced_calls and row.totals.total_tokens
        },
    )


class _Answers:
    """A store's answers about model calls alone: among them, embeddings would drown the components."""

    def __init__(self, store: Store, query: Query) -> None:
        rows = store.totals(query, _BASE)  # one query: these names have few values
        self._store, self._query = store, query
        self.calls = [row for row in rows if row.key["operation"] != EMBEDDING]
        self.embeddings = [row for row in rows if row.key["operation"] == EMBEDDING]
        operations = {_text(row.key["operation"]) for row in self.calls}
        self._queries = [replace(query, operation=name) for name in sorted(operations, key=str)]

    def own_embeddings(self) -> bool:
        """Say whether all embedding models are without provider and without price."""
        if not self.embeddings or any(row.totals.priced_calls for row in self.embeddings):
            return False
        rows = self._store.totals(replace(self._query, operation=EMBEDDING), ("provider",))
        return all(row.key["provider"] is None for row in rows)

    def rows(self, by: str, top: int | None = None) -> list[Row]:
        """Return one row a group: periods in order, otherwise the most tokens first."""
        rows: Iterable[Row] = self.calls
        if by not in _BASE:
            rows = (row for query in self._queries for row in self._store.totals(query, (by,), top=top))
        parts_of: dict[str | int | None, list[Totals]] = {}
        for row in rows:
            parts_of.setdefault(row.key[by], []).append(row.totals)
        groups = [Row(key={by: value}, totals=merged(parts)) for value, parts in parts_of.items()]
        return sorted(groups, key=lambda row: _order(row.key[by], row.totals))[:top]


def _order(value: str | int | None, totals: Totals) -> tuple[int, int, str]:
    return (value, 0, "") if isinstance(value, int) else (0, -totals.total_tokens, str(value))


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)
