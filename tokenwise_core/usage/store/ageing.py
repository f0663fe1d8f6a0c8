"""Deleting what is too old or too much, a few thousand rows a transaction, so that writers never wait long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

from sqlalchemy import Connection, Table, delete, func, select, tuple_

from tokenwise_core.usage.store.protocol import HOUR
from tokenwise_core.usage.store.schema import EVENT, EVENT_DAY, EVENT_HOUR, SAVING, SAVING_HOUR, SESSION_HOUR

Writing = Callable[[], AbstractContextManager[Connection]]
"""Opens a writing transaction."""
KeepFrom = Callable[[Connection, int], None]
"""Notes the hour before which single calls are no longer whole."""

_BATCH = 2_000
_SINGLE, _ROLLUPS = (EVENT, SAVING), (EVENT_HOUR, EVENT_DAY, SESSION_HOUR, SAVING_HOUR)


def delete_before(writing: Writing, *, raw: int, rollup: int, keep_from: KeepFrom) -> Counter[str]:
    """Delete single calls before the hour *raw* and roll-ups before the hour *rollup*; return the rows by table.

    *rollup* should begin a day: the roll-up by day goes by whole days.
    """
    deleted: Counter[str] = Counter()
    with writing() as connection:
        if connection.execute(select(EVENT.c.id).where(EVENT.c.ts < raw * HOUR).limit(1)).first():
            keep_from(connection, raw)
    for table in _SINGLE:
        deleted[table.name] = _delete_in_batches(writing, table, raw)
    for table in _ROLLUPS:
        deleted[table.name] = _delete_in_batches(writing, table, rollup)
    return deleted


def shrink(writing: Writing, *, size: Callable[[], int], max_bytes: int, keep_from: KeepFrom) -> Counter[str]:
    """Delete the oldest single calls, then the oldest roll-ups, until at most *max_bytes* are in use."""
    deleted: Counter[str] = Counter()
    while (used := size()) > max_bytes:
        share = min(0.5, max(0.05, 1 - max_bytes / used))
        with writing() as connection:
            raw, rollup = _hour_after(connection, EVENT, share), None
            if raw is None:
                rollup = _hour_after(connection, EVENT_HOUR, share)
                rollup = None if rollup is None else -(-rollup // 24) * 24
        if raw is None and rollup is None:
            break
        deleted += delete_before(writing, raw=raw or 0, rollup=rollup or 0, keep_from=keep_from)
    return deleted


def _hour_after(connection: Connection, table: Table, share: float) -> int | None:
    """Return the hour before which at least *share* of the rows lie, None for an empty table."""
    rows = connection.execute(select(func.count()).select_from(table)).scalar_one()
    ordered = select(table.c.hour).order_by(table.c.ts if "ts" in table.c else table.c.hour)
    hour = connection.execute(ordered.offset(int(rows * share)).limit(1)).scalar()
    return None if hour is None else int(hour) + 1


def _delete_in_batches(writing: Writing, table: Table, hour: int) -> int:
    key = list(table.primary_key.columns)
    if "ts" in table.c:
        old = table.c.ts < hour * HOUR
    else:
        old = table.c.day < hour // 24 if "day" in table.c else table.c.hour < hour
    batch = select(*key).where(old).limit(_BATCH)
    statement = delete(table).where((tuple_(*key) if len(key) > 1 else key[0]).in_(batch))
    total = 0
    while True:
        with writing() as connection:
            deleted = connection.execute(statement).rowcount
        total += deleted
        if deleted < _BATCH:
            return total
