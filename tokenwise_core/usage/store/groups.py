"""Sums by group: how calls are added up in memory, and how sums become the rows of a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tokenwise_core.usage.components import Component
from tokenwise_core.usage.store import histograms
from tokenwise_core.usage.store.protocol import DAY, DIMENSIONS, HOUR, PERIODS, Query, Row, SavingRow
from tokenwise_core.usage.store.rows import CallRow
from tokenwise_core.usage.store.totals import Totals, to_saving_totals, to_totals

Key = TypeVar("Key", bound=Hashable)
Group = tuple[str | int | None, ...]
_DIMENSION_AT = {name: position for position, name in enumerate(DIMENSIONS)}


@dataclass(frozen=True, slots=True)
class Cell:
    """Sums over some calls, with their measurements."""

    sums: Sequence[int]
    histograms: str


def fold(parts: Iterable[tuple[Key, Sequence[int], str]]) -> dict[Key, Cell]:
    """Add up *parts* (key, sums, measurements) by key."""
    rows: defaultdict[Key, list[Sequence[int]]] = defaultdict(list)
    measurements: defaultdict[Key, list[str]] = defaultdict(list)
    for key, sums, measured in parts:
        rows[key].append(sums)
        measurements[key].append(measured)
    return {
        key: Cell(list(map(sum, zip(*group, strict=True))) if len(group) > 1 else group[0], "".join(measurements[key]))
        for key, group in rows.items()
    }


def value_of(row: CallRow, name: str) -> str | int | None:
    """Return what *row* is grouped by under *name* (a dimension, a person or a period)."""
    if name in _DIMENSION_AT:
        return row.names[_DIMENSION_AT[name]]
    if name == "session":
        return row.session
    if name == "user":
        return row.user
    return row.hour if name == "hour" else row.hour // 24


def matches(query: Query) -> Callable[[CallRow], bool]:
    """Return the test whether a row is among the calls that *query* asks for."""
    since, until, names = query.since, query.until, query.names()

    def match(row: CallRow) -> bool:
        if (since is not None and row.ts < since) or (until is not None and row.ts >= until):
            return False
        return all(value_of(row, name) == value for name, value in names.items())

    return match


def call_rows(
    groups: Iterable[tuple[Group, Sequence[int], str]], by: tuple[str, ...], top: int | None = None
) -> list[Row]:
    """Return the report's rows: *groups* hold the values of *by* without `component`, sums and measurements."""
    plain = tuple(name for name in by if name != "component")
    rows = [
        Row(key=_key(plain, values), totals=to_totals(sums, histograms.Measurements(measurements)))
        for values, sums, measurements in groups
        if sums[0]  # a sum over no calls at all is no row
    ]
    if "component" in by:
        rows = [part for row in rows for part in _by_component(row, by)]
    rows.sort(key=lambda row: (_period(row.key), -row.totals.total_tokens, _printed(row.key)))
    if top is None or len(rows) <= top:
        return rows
    largest = {id(row) for row in sorted(rows, key=lambda row: -row.totals.total_tokens)[:top]}
    return [row for row in rows if id(row) in largest]


def saving_rows(groups: Iterable[tuple[Group, Sequence[int]]], by: tuple[str, ...]) -> list[SavingRow]:
    """Return the rows of a report on savings, the largest first."""
    rows = [SavingRow(key=_key(by, values), totals=to_saving_totals(sums)) for values, sums in groups if sums[0]]
    return sorted(rows, key=lambda row: (_period(row.key), -row.totals.saved.tokens, _printed(row.key)))


def _by_component(row: Row, by: tuple[str, ...]) -> Iterable[Row]:
    totals: Totals = row.totals
    for component in Component:
        if totals.tokens.get(component) or totals.nano.get(component):
            key = {**row.key, "component": str(component)}
            yield Row(key={name: key[name] for name in by}, totals=totals.component(component))


def _key(by: tuple[str, ...], values: Group) -> dict[str, str | int | None]:
    return {name: _seconds(name, value) for name, value in zip(by, values, strict=True)}


def _seconds(name: str, value: str | int | None) -> str | int | None:
    if name not in PERIODS or value is None:
        return value
    return int(value) * (HOUR if name == "hour" else DAY)


def _period(key: Mapping[str, str | int | None]) -> tuple[int, ...]:
    return tuple(int(key[name] or 0) for name in PERIODS if name in key)


def _printed(key: Mapping[str, str | int | None]) -> tuple[str, ...]:
    return tuple(str(value) for value in key.values())
