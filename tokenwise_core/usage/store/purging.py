"""Deleting a user, a session or an application from every table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Select, Table, delete, func, select

from tokenwise_core.usage.store import histograms
from tokenwise_core.usage.store.protocol import Query
from tokenwise_core.usage.store.schema import (
    ADD_TO_EVENT_DAY,
    ADD_TO_EVENT_HOUR,
    ADD_TO_SAVING_HOUR,
    EVENT,
    EVENT_DAY,
    EVENT_HOUR,
    SAVING,
    SAVING_HOUR,
    SERIES,
    SESSION_HOUR,
    Upsert,
)
from tokenwise_core.usage.store.statements import group_column


def purge(connection: Connection, query: Query, mark: str) -> dict[str, int]:
    """Delete what carries the names in *query* and return the rows changed by table.

    The hourly roll-ups hold no user and no session: the calls that are still there one by one are subtracted from
    them. What has aged into roll-ups alone stays there as sums that belong to nobody.
    """
    if query.user is None and query.session is None:
        return _purge_application(connection, str(query.application))
    return {
        "event_hour": _subtract(connection, EVENT, ADD_TO_EVENT_HOUR, query, mark),
        "event_day": _subtract(connection, EVENT, ADD_TO_EVENT_DAY, query, mark),
        "saving_hour": _subtract(connection, SAVING, ADD_TO_SAVING_HOUR, query, mark),
        "event": _run(connection, delete(EVENT).where(*_named(EVENT, query))),
        "saving": _run(connection, delete(SAVING).where(*_named(SAVING, query))),
        "session_hour": _run(connection, delete(SESSION_HOUR).where(*_named(SESSION_HOUR, query))),
    }


def _purge_application(connection: Connection, application: str) -> dict[str, int]:
    series = _series_of(application)
    deletions = {
        table.name: _run(connection, delete(table).where(table.c.series.in_(series)))
        for table in (EVENT, EVENT_HOUR, EVENT_DAY, SAVING, SAVING_HOUR)
    }
    sessions = delete(SESSION_HOUR).where(SESSION_HOUR.c.application == application)
    names = delete(SERIES).where(SERIES.c.application == application)
    return {**deletions, "session_hour": _run(connection, sessions), "series": _run(connection, names)}


def _subtract(connection: Connection, table: Table, upsert: Upsert, query: Query, mark: str) -> int:
    """Take the calls that *query* names out of a roll-up, and return how many of its rows that changed."""
    keys = [group_column(table, name) for name in upsert.key]
    columns: list[ColumnElement[Any]] = [*keys, *(func.sum(table.c[name]) for name in upsert.sums)]
    measured = "histograms" in upsert.table.c
    if measured:
        columns.append(func.aggregate_strings(table.c.histograms, ""))
    found = connection.execute(select(*columns).where(*_named(table, query)).group_by(*keys)).all()
    if not found:
        return 0
    negative = [_negative(row, len(keys), measured=measured) for row in found]
    connection.exec_driver_sql(upsert.sql(mark), negative)
    count = upsert.table.c[upsert.sums[0]]
    connection.execute(delete(upsert.table).where(count <= 0))
    return len(found)


def _negative(row: Sequence[Any], keys: int, *, measured: bool) -> tuple[Any, ...]:
    end = len(row) - measured
    return (*row[:keys], *(-int(value) for value in row[keys:end]), *map(histograms.negate, row[end:]))


def _named(table: Table, query: Query) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.user is not None:
        conditions.append(table.c.user_name == query.user)
    if query.session is not None:
        conditions.append(table.c.session == query.session)
    if query.application is not None and "application" in table.c:
        conditions.append(table.c.application == query.application)
    elif query.application is not None:
        conditions.append(table.c.series.in_(_series_of(query.application)))
    return conditions


def _series_of(application: str) -> Select[Any]:
    return select(SERIES.c.id).where(SERIES.c.application == application)


def _run(connection: Connection, statement: Delete) -> int:
    return connection.execute(statement).rowcount
