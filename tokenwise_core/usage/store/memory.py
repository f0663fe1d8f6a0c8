"""The store that lives in this process and is gone with it: for tests, notebooks and short scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import RLock
from typing import Any

from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.store.groups import call_rows, fold, matches, saving_rows, value_of
from tokenwise_core.usage.store.protocol import (
    DAY,
    EVERYTHING,
    SAVING_GROUPS,
    Query,
    Retention,
    Row,
    SavingRow,
    check_groups,
    purge_query,
)
from tokenwise_core.usage.store.rows import CallRow, to_row


class MemoryStore:
    """Keeps every call in a dictionary. A deep copy is the same store; a pickle carries the calls along."""

    url = "memory://"

    def __init__(self) -> None:
        self._calls: dict[str, tuple[UsageEvent, CallRow]] = {}
        self._state: dict[str, str] = {}
        self._lock = RLock()

    def add(self, events: Sequence[UsageEvent]) -> int:
        flattened = [(event, to_row(event)) for event in events]
        with self._lock:
            before = len(self._calls)
            for event, row in flattened:
                self._calls.setdefault(event.id, (event, row))
            return len(self._calls) - before

    def events(self, query: Query = EVERYTHING) -> Iterator[UsageEvent]:
        match = matches(query)
        found = [(event, row) for event, row in self._snapshot() if match(row)]
        yield from (event for event, row in sorted(found, key=lambda pair: (pair[1].ts, pair[1].id)))

    def totals(self, query: Query = EVERYTHING, by: Sequence[str] = (), *, top: int | None = None) -> list[Row]:
        by = check_groups(by)
        plain = [name for name in by if name != "component"]
        cells = fold(
            (tuple(value_of(row, name) for name in plain), row.sums, row.histograms) for row in self._rows(query)
        )
        return call_rows(((key, cell.sums, cell.histograms) for key, cell in cells.items()), by, top)

    def savings(self, query: Query = EVERYTHING, by: Sequence[str] = ("lever",)) -> list[SavingRow]:
        by = check_groups(by, SAVING_GROUPS)
        cells = fold(
            (tuple(saving.lever if name == "lever" else value_of(row, name) for name in by), saving.sums, "")
            for row in self._rows(query)
            for saving in row.savings
        )
        return saving_rows(((key, cell.sums) for key, cell in cells.items()), by)

    def get_state(self, key: str) -> dict[str, Any] | None:
        with self._lock:
            text = self._state.get(key)
        return None if text is None else dict(json.loads(text))

    def set_state(self, key: str, value: Mapping[str, Any]) -> None:
        text = json.dumps(dict(value))
        with self._lock:
            self._state[key] = text

    def purge(
        self, *, user: str | None = None, session: str | None = None, application: str | None = None
    ) -> Mapping[str, int]:
        match = matches(purge_query(user, session, application))
        return self._delete(row for row in self._rows(EVERYTHING) if match(row))

    def retain(self, retention: Retention, *, now: float) -> Mapping[str, int]:
        """Delete single calls older than `raw_days`; there are no roll-ups here, nor a size in bytes to keep to."""
        return self._delete(self._rows(Query(until=now - retention.raw_days * DAY)))

    def close(self) -> None:
        """Do nothing: there are no handles."""

    def _delete(self, rows: Iterable[CallRow]) -> Mapping[str, int]:
        with self._lock:
            gone = [self._calls.pop(row.id) for row in list(rows) if row.id in self._calls]
        return {"event": len(gone), "saving": sum(len(row.savings) for _, row in gone)}

    def _rows(self, query: Query) -> Iterator[CallRow]:
        match = matches(query)
        return (row for _, row in self._snapshot() if match(row))

    def _snapshot(self) -> list[tuple[UsageEvent, CallRow]]:
        with self._lock:
            return list(self._calls.values())

    def __deepcopy__(self, memo: dict[int, Any]) -> MemoryStore:
        return self

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"_calls": dict(self._calls), "_state": dict(self._state)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()
