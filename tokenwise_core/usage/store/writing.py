"""Adding calls to the SQL stores: each batch binds only the columns that it uses, of more than a hundred."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from tokenwise_core.usage.store.groups import Cell, fold
from tokenwise_core.usage.store.protocol import DIMENSIONS
from tokenwise_core.usage.store.rows import DETAILS, CallRow
from tokenwise_core.usage.store.schema import (
    ADD_TO_EVENT_DAY,
    ADD_TO_EVENT_HOUR,
    ADD_TO_SAVING_HOUR,
    ADD_TO_SESSION_HOUR,
    Upsert,
)
from tokenwise_core.usage.store.totals import COLUMNS, SAVING_COLUMNS

HEAD = ("id", "ts", "hour", "series", "session", "user_name", "histograms", "extra")
"""The columns of a call that are always bound."""
_APPLICATION, _OPERATION = DIMENSIONS.index("application"), DIMENSIONS.index("operation")
_NO_TEXT = ""


class Addition(NamedTuple):
    """What a batch adds to one roll-up: cells by key, their sums in the order of *sums*."""

    upsert: Upsert
    sums: tuple[str, ...]
    cells: dict[tuple[Any, ...], Cell]

    def values(self) -> Iterator[tuple[Any, ...]]:
        """Yield what `Upsert.sql` binds, row by row."""
        if self.upsert.measured:
            return ((*key, *cell.sums, cell.histograms) for key, cell in self.cells.items())
        return ((*key, *cell.sums) for key, cell in self.cells.items())


class Batch(NamedTuple):
    """Calls ready to be inserted: *values* in the order of *columns*, and what they add to the roll-ups."""

    columns: tuple[str, ...]
    values: list[tuple[Any, ...]]
    additions: tuple[Addition, ...]


def to_batch(rows: Sequence[CallRow]) -> Batch:
    """Lay out *rows*. Sums that are zero and details that are unknown in all of them are left to their defaults."""
    hours = [row.hour for row in rows]
    names, sums = _used(COLUMNS, [row.sums for row in rows], unused=0)
    known, details = _used(DETAILS, [row.details for row in rows], unused=None)
    values = [
        (row.id, row.ts, hour, row.series, row.session, row.user, row.histograms, row.extra, *numbers, *others)
        for row, hour, numbers, others in zip(rows, hours, sums, details, strict=True)
    ]
    by_hour = fold(
        ((hour, row.series), numbers, row.histograms) for row, hour, numbers in zip(rows, hours, sums, strict=True)
    )
    by_day = fold(((hour // 24, series), c.sums, c.histograms) for (hour, series), c in by_hour.items())
    people = fold(
        ((hour, row.names[_APPLICATION], row.names[_OPERATION], row.session, row.user), numbers, _NO_TEXT)
        for row, hour, numbers in zip(rows, hours, sums, strict=True)
    )
    by_session = {(hour, _who(*who), *who): cell for (hour, *who), cell in people.items()}
    return Batch(
        (*HEAD, *names, *known),
        values,
        (
            Addition(ADD_TO_EVENT_HOUR, names, by_hour),
            Addition(ADD_TO_EVENT_DAY, names, by_day),
            Addition(ADD_TO_SESSION_HOUR, names, by_session),
        ),
    )


def to_bookings(rows: Sequence[CallRow]) -> Batch:
    """Lay out what was saved on *rows*."""
    bookings = [(row, row.hour, i, saving) for row in rows for i, saving in enumerate(row.savings)]
    columns = ("event_id", "position", "ts", "hour", "series", "session", "user_name", "lever", *SAVING_COLUMNS)
    values = [
        (row.id, i, row.ts, hour, row.series, row.session, row.user, saving.lever, *saving.sums)
        for row, hour, i, saving in bookings
    ]
    by_hour = fold(((hour, row.series, saving.lever), saving.sums, _NO_TEXT) for row, hour, _, saving in bookings)
    return Batch(columns, values, (Addition(ADD_TO_SAVING_HOUR, SAVING_COLUMNS, by_hour),))


def _used(
    names: Sequence[str], rows: Sequence[Sequence[Any]], *, unused: int | None
) -> tuple[tuple[str, ...], Iterable[tuple[Any, ...]]]:
    """Return the columns in which any of *rows* has another value than *unused*, and the rows cut to these."""
    n = len(rows)
    columns = zip(*rows, strict=True)
    used = [
        (name, column)
        for name, column in zip(names, columns, strict=True)
        if column[0] != unused or column.count(unused) < n
    ]
    return tuple(name for name, _ in used), list(zip(*(column for _, column in used), strict=True))


def _who(*names: str | None) -> int:
    digest = blake2b(json.dumps(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
