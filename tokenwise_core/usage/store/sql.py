"""What the SQL stores share: one transaction a batch, roll-ups kept with it, reading, purging, ageing."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, make_url, select
from sqlalchemy.exc import DataError, SQLAlchemyError

from tokenwise_core.errors import StoreError
from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.store import ageing, histograms, purging
from tokenwise_core.usage.store.groups import call_rows, saving_rows
from tokenwise_core.usage.store.migrations import is_current, migrate
from tokenwise_core.usage.store.protocol import (
    DAY,
    DIMENSIONS,
    EVERYTHING,
    SAVING_GROUPS,
    Query,
    Retention,
    Row,
    SavingRow,
    check_groups,
    purge_query,
)
from tokenwise_core.usage.store.rows import DETAILS, CallRow, cleaned, hour_of, to_event, to_row
from tokenwise_core.usage.store.schema import (
    EVENT,
    SAVING,
    SERIES,
    STATE,
    Upsert,
    insert_sql,
)
from tokenwise_core.usage.store.statements import (
    events_statement,
    largest_statement,
    savings_statement,
    totals_statement,
)
from tokenwise_core.usage.store.totals import COLUMNS
from tokenwise_core.usage.store.writing import Addition, to_batch, to_bookings

_PAGE = 2_000
_TRACKED_CELLS = 10_000
_NAMED_GROUPS = 200  # SQLite takes conditions nested up to 1,000 deep
_KEPT_FROM = "tokenwise.raw_kept_from_hour"


class SQLStore(ABC):
    """A store behind SQLAlchemy. A fork, a pickle or a deep copy drops the handles and opens its own."""

    mark = "?"
    """Stands for a parameter in the driver's SQL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = RLock()
        self._reset()

    def _reset(self) -> None:
        self._engine: Engine | None = None
        self._pid = os.getpid()
        self._grown: dict[tuple[Any, ...], int] = {}

    @property
    def url(self) -> str:
        return make_url(self._url).render_as_string(hide_password=True)

    # --- writing ----------------------------------------------------------------------------------------------------

    def add(self, events: Sequence[UsageEvent]) -> int:
        rows = list({event.id: to_row(event) for event in reversed(events)}.values())[::-1]
        if not rows:
            return 0
        try:
            return self.add_rows(rows)
        except (UnicodeEncodeError, DataError, ValueError):
            return self.add_rows([cleaned(row) for row in rows])

    def add_rows(self, rows: list[CallRow]) -> int:
        """Add calls that are flattened already, no id twice; otherwise as `add`."""
        with self._writing() as connection:
            known = self._known(connection, [row.id for row in rows])
            new = [row for row in rows if row.id not in known] if known else rows
            if new:
                self._insert_calls(connection, new)
                self._insert_savings(connection, [row for row in new if row.savings])
        return len(new)

    def _insert_calls(self, connection: Connection, rows: list[CallRow]) -> None:
        names = {row.series: row.names for row in rows}
        ignore = f"{insert_sql(SERIES, self.mark)} ON CONFLICT (id) DO NOTHING"
        connection.exec_driver_sql(ignore, sorted((series, *values) for series, values in names.items()))
        batch = to_batch(rows)
        self._insert_events(connection, batch.columns, batch.values)
        for addition in batch.additions:
            self._add_cells(connection, addition)

    def _insert_events(self, connection: Connection, columns: Sequence[str], values: list[tuple[Any, ...]]) -> None:
        connection.exec_driver_sql(insert_sql(EVENT, self.mark, columns), values)

    def _insert_savings(self, connection: Connection, rows: list[CallRow]) -> None:
        if not rows:
            return
        batch = to_bookings(rows)
        connection.exec_driver_sql(insert_sql(SAVING, self.mark, batch.columns), batch.values)
        for addition in batch.additions:
            self._add_cells(connection, addition)

    def _add_cells(self, connection: Connection, addition: Addition) -> None:
        """Add to a roll-up, and shorten the measurements that have grown long since we last did."""
        upsert = addition.upsert
        connection.exec_driver_sql(upsert.sql(self.mark, addition.sums), list(addition.values()))
        if not upsert.measured:
            return
        for key, cell in addition.cells.items():
            grown = self._grown.get((upsert.table.name, *key), 0) + len(cell.histograms)
            if grown > histograms.COMPACT_ABOVE:
                self._compact(connection, upsert, key)
                grown = 0
            self._grown[upsert.table.name, *key] = grown
        if len(self._grown) > _TRACKED_CELLS:
            self._grown.clear()

    def _compact(self, connection: Connection, upsert: Upsert, key: tuple[Any, ...]) -> None:
        c = upsert.table.c
        here = [c[name] == value for name, value in zip(upsert.key, key, strict=True)]
        text = connection.execute(select(c.histograms).where(*here)).scalar_one()
        connection.execute(upsert.table.update().where(*here).values(histograms=histograms.compact(text)))

    # --- reading ----------------------------------------------------------------------------------------------------

    def events(self, query: Query = EVERYTHING) -> Iterator[UsageEvent]:
        after: tuple[float, str] | None = None
        while True:
            with self._reading() as connection:
                page = connection.execute(events_statement(query, after=after, limit=_PAGE)).mappings().all()
            yield from (to_event(_call_row(values)) for values in page)
            if len(page) < _PAGE:
                return
            after = (page[-1]["ts"], page[-1]["id"])

    def totals(self, query: Query = EVERYTHING, by: Sequence[str] = (), *, top: int | None = None) -> list[Row]:
        by = check_groups(by)
        plain = [name for name in by if name != "component"]
        found: Sequence[Any] = ()
        only: Sequence[Any] | None = None
        with self._reading() as connection:
            kept_from = self._kept_from(connection)
            if top is not None and top <= _NAMED_GROUPS and plain and "component" not in by:
                only = connection.execute(largest_statement(query, plain, kept_from=kept_from, top=top)).all()
            if only is None or only:
                found = connection.execute(totals_statement(query, plain, kept_from=kept_from, only=only)).all()
        k, n = len(plain), len(plain) + len(COLUMNS)
        groups = ((tuple(row[:k]), [int(value or 0) for value in row[k:n]], row[n] or "") for row in found)
        return call_rows(groups, by, top)

    def savings(self, query: Query = EVERYTHING, by: Sequence[str] = ("lever",)) -> list[SavingRow]:
        by = check_groups(by, SAVING_GROUPS)
        with self._reading() as connection:
            statement = savings_statement(query, by, kept_from=self._kept_from(connection))
            found: Sequence[Any] = connection.execute(statement).all()
        k = len(by)
        return saving_rows(((tuple(row[:k]), [int(value or 0) for value in row[k:]]) for row in found), by)

    def get_state(self, key: str) -> dict[str, Any] | None:
        with self._reading() as connection:
            return _get_state(connection, key)

    def set_state(self, key: str, value: Mapping[str, Any]) -> None:
        with self._writing() as connection:
            self._set_state(connection, key, value)

    def _set_state(self, connection: Connection, key: str, value: Mapping[str, Any]) -> None:
        replace = f"{insert_sql(STATE, self.mark)} ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        connection.exec_driver_sql(replace, (key, json.dumps(dict(value))))

    def _kept_from(self, connection: Connection) -> int | None:
        state = _get_state(connection, _KEPT_FROM)
        return None if state is None else int(state["hour"])

    # --- deleting ---------------------------------------------------------------------------------------------------

    def purge(
        self, *, user: str | None = None, session: str | None = None, application: str | None = None
    ) -> Mapping[str, int]:
        query = purge_query(user, session, application)
        with self._writing() as connection:
            changed = purging.purge(connection, query, self.mark)
        self._give_back()
        return changed

    def retain(self, retention: Retention, *, now: float) -> Mapping[str, int]:
        oldest_raw = hour_of(now - retention.raw_days * DAY)
        oldest_rollup = hour_of(now - retention.rollup_days * DAY) // 24 * 24
        keep_from = self._keep_from
        deleted = ageing.delete_before(self._writing, raw=oldest_raw, rollup=oldest_rollup, keep_from=keep_from)
        if retention.max_bytes is not None:
            max_bytes = retention.max_bytes
            deleted += ageing.shrink(self._writing, size=self._used_bytes, max_bytes=max_bytes, keep_from=keep_from)
        if any(deleted.values()):
            self._give_back()
        return dict(deleted)

    def _keep_from(self, connection: Connection, hour: int) -> None:
        """Note that single calls from before *hour* are going, so that no report counts on them."""
        known = self._kept_from(connection)
        if known is None or known < hour:
            self._set_state(connection, _KEPT_FROM, {"hour": hour})

    # --- handles ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        with self._lock:
            if self._engine is not None and self._pid == os.getpid():
                self._engine.dispose()
            self._reset()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._errors_named(), self._opened().connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Open a transaction that no other writer of this store, in any process, runs beside."""
        with self._errors_named(), self._opened().connect() as connection, self._locked(connection):
            yield connection

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except DataError:
            raise
        except (SQLAlchemyError, OSError) as error:
            reason = getattr(error, "orig", None) or error
            raise StoreError(f"{self.url}: {type(reason).__name__}: {reason}", url=self.url) from error

    def _opened(self) -> Engine:
        if self._pid != os.getpid():
            self._leave_inherited()
        engine = self._engine
        if engine is None:
            with self._lock:
                engine = self._engine or self._open()
                self._engine = engine
        return engine

    def _open(self) -> Engine:
        engine = self._create_engine()
        with engine.connect() as connection:
            current = is_current(connection, url=self.url)
        if not current:
            with engine.connect() as connection, self._locked(connection):
                migrate(connection, url=self.url)
        return engine

    def _leave_inherited(self) -> None:
        """Forget, in a forked child, the parent's handles without closing them: they are still in use there."""
        self._inherited = self._engine
        self._lock = RLock()
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {"_url": self._url}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()
        self._reset()

    # --- what the databases do differently --------------------------------------------------------------------------

    @abstractmethod
    def _create_engine(self) -> Engine:
        """Return an engine; nothing is created in the database yet."""

    @abstractmethod
    @contextmanager
    def _locked(self, connection: Connection) -> Iterator[None]:
        """Run a transaction that holds the store's write lock."""

    @abstractmethod
    def _known(self, connection: Connection, ids: list[str]) -> set[str]:
        """Return those of *ids* that are stored already."""

    @abstractmethod
    def _used_bytes(self) -> int:
        """Return how much space the data takes."""

    @abstractmethod
    def _give_back(self) -> None:
        """Return freed space to the system, as far as that is cheap."""


def _call_row(values: RowMapping) -> CallRow:
    return CallRow(
        id=values["id"],
        ts=values["ts"],
        series=values["series"],
        names=tuple(values[f"series_{name}"] for name in DIMENSIONS),
        session=values["session"],
        user=values["user_name"],
        details=tuple(values[name] for name in DETAILS),
        sums=tuple(values[name] for name in COLUMNS),
        histograms=values["histograms"],
        extra=values["extra"],
        savings=(),
    )


def _get_state(connection: Connection, key: str) -> dict[str, Any] | None:
    text = connection.execute(select(STATE.c.value).where(STATE.c.key == key)).scalar()
    return None if text is None else dict(json.loads(text))
