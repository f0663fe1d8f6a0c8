"""What a usage store does, and the values that go in and come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tokenwise_core.errors import BadInput
from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.store.totals import SavingTotals, Totals

HOUR = 3600
DAY = 24 * HOUR

DIMENSIONS = ("application", "agent", "task", "provider", "model", "variant", "node", "status", "operation")
"""What the hourly roll-ups keep apart; none of them names a person or a conversation."""
PERSONAL = ("session", "user")
"""What a purge can ask for; the roll-ups by session keep these, the application and the operation apart."""
PERIODS = ("hour", "day")
GROUPS = (*DIMENSIONS, *PERSONAL, *PERIODS, "component")
SAVING_GROUPS = (*DIMENSIONS, *PERSONAL, *PERIODS, "lever")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which calls: those that started in [since, until), seconds since the epoch, with these names (None: any)."""

    since: float | None = None
    until: float | None = None
    application: str | None = None
    agent: str | None = None
    task: str | None = None
    session: str | None = None
    user: str | None = None
    provider: str | None = None
    model: str | None = None
    variant: str | None = None
    node: str | None = None
    status: str | None = None
    operation: str | None = None

    def names(self) -> dict[str, str]:
        """Return the names that are asked for."""
        asked = {name: getattr(self, name) for name in (*DIMENSIONS, *PERSONAL)}
        return {name: str(value) for name, value in asked.items() if value is not None}


EVERYTHING = Query()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group of calls: *key* holds the value of each name asked for, None where the calls had none.

    `hour` and `day` are the start of the period in seconds since the epoch (UTC). Grouped by `component`, `totals`
    holds the tokens and the cost of that component alone.
    """

    key: Mapping[str, str | int | None]
    totals: Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingRow:
    """One group of bookings of savings."""

    key: Mapping[str, str | int | None]
    totals: SavingTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long to keep: single calls, hourly roll-ups, and how large the store may grow (None: no limit)."""

    raw_days: float = 30
    rollup_days: float = 400
    max_bytes: int | None = None


@runtime_checkable
class Store(Protocol):
    """Where usage is kept. Safe to share between threads; all but `MemoryStore` between processes too."""

    @property
    def url(self) -> str:
        """Where it is, without password."""
        ...

    def add(self, events: Sequence[UsageEvent]) -> int:
        """Add *events* in one transaction and return how many were new; an id that is known already is left alone."""
        ...

    def events(self, query: Query = EVERYTHING) -> Iterator[UsageEvent]:
        """Yield single calls in order of their start."""
        ...

    def totals(self, query: Query = EVERYTHING, by: Sequence[str] = (), *, top: int | None = None) -> list[Row]:
        """Return totals grouped by any of `GROUPS`: periods in order, then the most tokens first.

        *top* keeps the groups with the most tokens only.
        """
        ...

    def savings(self, query: Query = EVERYTHING, by: Sequence[str] = ("lever",)) -> list[SavingRow]:
        """Return what the levers saved, grouped by any of `SAVING_GROUPS`."""
        ...

    def get_state(self, key: str) -> dict[str, Any] | None:
        """Return the JSON object kept under *key* (calibration, say), None when there is none."""
        ...

    def set_state(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a JSON object under *key*, replacing the one there. Nothing about users or sessions belongs here."""
        ...

    def purge(
        self, *, user: str | None = None, session: str | None = None, application: str | None = None
    ) -> Mapping[str, int]:
        """Delete all that matches every name given, roll-ups included, and return the rows changed by table."""
        ...

    def retain(self, retention: Retention, *, now: float) -> Mapping[str, int]:
        """Delete what is older than *retention* allows, in small transactions, and return the rows deleted by table."""
        ...

    def close(self) -> None:
        """Release all handles; the next use opens them again."""
        ...


def check_groups(by: Sequence[str], allowed: Sequence[str] = GROUPS) -> tuple[str, ...]:
    """Return *by* as a tuple, or raise `BadInput` naming what can be asked for."""
    for name in by:
        if name not in allowed:
            raise BadInput(f"cannot group by {name!r}: choose from {', '.join(allowed)}")
    return tuple(dict.fromkeys(by))


def purge_query(user: str | None, session: str | None, application: str | None) -> Query:
    """Return what a purge is to match, or raise `BadInput` when no name is given: that would be everything."""
    if user is None and session is None and application is None:
        raise BadInput("purge needs a user, a session or an application")
    return Query(user=user, session=session, application=application)
