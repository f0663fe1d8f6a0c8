"""The default store: one SQLite file in WAL mode, which several processes may read and write."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event

from tokenwise_core.usage.store.sql import SQLStore

log = logging.getLogger("tokenwise.store")

BUSY_TIMEOUT_MS = 10_000
WAL_PAGES = 4_000
"""Pages (16 MB) in the log before they are copied into the file: pages written often are copied once."""
CACHE_KIB = 32_768
"""Memory for pages a handle takes at most: a batch that does not fit is written to the log in pieces, some twice."""
_VACUUM_PAGES = 2_000
_Identity = tuple[int, int]  # device and file number


class SQLiteStore(SQLStore):
    """A store in the file at *path*.

    With `synchronous=NORMAL` a power cut may lose the last transactions; neither it nor a killed process damages the
    file. A file that is deleted or replaced while in use is noticed before the next use, and a new one begun.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = str(Path(path).expanduser().absolute())
        super().__init__(URL.create("sqlite", database=self._path).render_as_string())

    def _reset(self) -> None:
        super()._reset()
        self._file: _Identity | None = None
        self._logs: dict[str, _Identity | None] = {}

    def _opened(self) -> Engine:
        if self._engine is not None and self._pid == os.getpid() and self._has_lost_its_file():
            with self._lock:
                if self._has_lost_its_file():  # else another thread has been here
                    log.warning("%s was deleted or replaced while in use: going on with a new file", self.url)
                    self._delete_logs()
                    self.close()
        return super()._opened()

    def _open(self) -> Engine:
        engine = super()._open()
        self._file = _identity(self._path)
        self._logs = {name: _identity(name) for name in (f"{self._path}-wal", f"{self._path}-shm")}
        return engine

    def _delete_logs(self) -> None:
        """Delete what is left of the lost file: SQLite would write its pages into the file that took its place."""
        for name, known in self._logs.items():
            if known is not None and _identity(name) == known:
                Path(name).unlink(missing_ok=True)

    def _has_lost_its_file(self) -> bool:
        """Say whether the handles lead to another file than the path; the number of one held open is not reused."""
        return self._file is not None and _identity(self._path) != self._file

    def _create_engine(self) -> Engine:
        Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self._url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
        event.listen(engine, "connect", _prepare)
        return engine

    @contextmanager
    def _locked(self, connection: Connection) -> Iterator[None]:
        with connection.begin():
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield

    def _known(self, connection: Connection, ids: list[str]) -> set[str]:
        found = connection.exec_driver_sql(
            "SELECT id FROM event WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
        )
        return set(found.scalars())

    def _used_bytes(self) -> int:
        with self._reading() as connection:
            pages, free, size = (
                int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
                for name in ("page_count", "freelist_count", "page_size")
            )
        return (pages - free) * size

    def _give_back(self) -> None:
        with self._errors_named(), self._opened().connect() as connection:
            driver = cast("sqlite3.Connection", connection.connection.driver_connection)
            while driver.execute("PRAGMA freelist_count").fetchone()[0]:
                driver.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # execute() frees a single page

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_path": self._path}


def _identity(path: str) -> _Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - once a batch, and `Path` takes four times as long
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    """Set up a new handle: transactions are ours to begin; vacuuming must be chosen before the first table is made."""
    connection.isolation_level = None
    for pragma in (
        "auto_vacuum = INCREMENTAL",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        f"wal_autocheckpoint = {WAL_PAGES}",
        f"cache_size = -{CACHE_KIB}",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
    ):
        connection.execute(f"PRAGMA {pragma}")
