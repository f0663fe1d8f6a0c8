"""The tables of the SQL stores, as SQLAlchemy sees them; `migrations/` creates them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Double, MetaData, PrimaryKeyConstraint, Table, Text

from tokenwise_core.usage.store.protocol import DIMENSIONS
from tokenwise_core.usage.store.rows import DETAILS
from tokenwise_core.usage.store.totals import COLUMNS, SAVING_COLUMNS

METADATA = MetaData()
_WHO = ("session", "user_name")  # "user" is a reserved word
_INTEGERS = {
    "streamed", "messages", "tools_offered", "estimate_before", "stable_prefix_tokens",
    *(name for name in DETAILS if name.startswith("usage_") and name != "usage_service_tier"),
}  # fmt: skip
_FLOATS = {"ts", "latency_ms", "ttft_ms", "scale"}


def _texts(*names: str) -> Iterable[Column[str]]:
    return (Column(name, Text) for name in names)


def _numbers(*names: str) -> Iterable[Column[int]]:
    return (Column(name, BigInteger) for name in names)


def _detail(name: str) -> Column[int] | Column[float] | Column[str]:
    if name in _INTEGERS:
        return Column(name, BigInteger)
    return Column(name, Double) if name in _FLOATS else Column(name, Text)


def _table(name: str, key: tuple[str, ...], *columns: Iterable[Column[Any]]) -> Table:
    return Table(name, METADATA, *(column for group in columns for column in group), PrimaryKeyConstraint(*key))


SERIES = _table("series", ("id",), _numbers("id"), _texts(*DIMENSIONS))
EVENT = _table(
    "event", ("id",), _texts("id"), [Column("ts", Double)], _numbers("hour", "series"), _texts(*_WHO),
    _numbers(*COLUMNS), map(_detail, DETAILS), _texts("histograms", "extra"),
)  # fmt: skip
EVENT_HOUR = _table("event_hour", ("hour", "series"), _numbers("hour", "series", *COLUMNS), _texts("histograms"))
EVENT_DAY = _table("event_day", ("day", "series"), _numbers("day", "series", *COLUMNS), _texts("histograms"))
SESSION_HOUR = _table(
    "session_hour",
    ("hour", "who"),
    _numbers("hour", "who"),
    _texts("application", "operation", *_WHO),
    _numbers(*COLUMNS),
)
SAVING = _table(
    "saving", ("event_id", "position"), _texts("event_id"), _numbers("position"), [Column("ts", Double)],
    _numbers("hour", "series"), _texts(*_WHO, "lever"), _numbers(*SAVING_COLUMNS),
)  # fmt: skip
SAVING_HOUR = _table(
    "saving_hour", ("hour", "series", "lever"), _numbers("hour", "series"), _texts("lever"), _numbers(*SAVING_COLUMNS)
)
STATE = _table("state", ("key",), _texts("key", "value"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """How rows are added to a roll-up: new keys are inserted, known ones get the sums added."""

    table: Table
    key: tuple[str, ...]
    names: tuple[str, ...] = ()
    sums: tuple[str, ...]

    @property
    def measured(self) -> bool:
        return "histograms" in self.table.c

    def sql(self, mark: str, sums: Sequence[str] | None = None) -> str:
        """Return the statement for rows of the key, the names, *sums* (default: all) and the measurements.

        *mark* stands for a parameter.
        """
        table, sums = self.table.name, self.sums if sums is None else sums
        columns = (*self.key, *self.names, *sums, *(("histograms",) if self.measured else ()))
        changes = [f"{column} = {table}.{column} + excluded.{column}" for column in sums]
        if self.measured:
            changes.append(f"histograms = {table}.histograms || excluded.histograms")
        insert = insert_sql(self.table, mark, columns)
        return f"{insert} ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {', '.join(changes)}"


def insert_sql(table: Table, mark: str, columns: Sequence[str] | None = None) -> str:
    """Return the plain insert of *columns* (default: all) of *table*."""
    names = table.columns.keys() if columns is None else columns
    marks = ", ".join([mark] * len(names))
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608  our own names


ADD_TO_EVENT_HOUR = Upsert(table=EVENT_HOUR, key=("hour", "series"), sums=COLUMNS)
ADD_TO_EVENT_DAY = Upsert(table=EVENT_DAY, key=("day", "series"), sums=COLUMNS)
ADD_TO_SESSION_HOUR = Upsert(
    table=SESSION_HOUR, key=("hour", "who"), names=("application", "operation", *_WHO), sums=COLUMNS
)
ADD_TO_SAVING_HOUR = Upsert(table=SAVING_HOUR, key=("hour", "series", "lever"), sums=SAVING_COLUMNS)
