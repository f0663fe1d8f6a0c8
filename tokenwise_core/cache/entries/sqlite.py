"""The default store of entries: one SQLite file in WAL mode, which several processes may read and write."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tokenwise_core.cache.entries import deleting
from tokenwise_core.cache.entries.codec import Codec
from tokenwise_core.cache.entries.handles import BUSY_TIMEOUT_MS, Handle, Handles
from tokenwise_core.cache.entries.migrations import is_current, migrate, migrations
from tokenwise_core.cache.entries.rows import from_half, to_half
from tokenwise_core.cache.entries.session import Session, VectorFormat
from tokenwise_core.cache.entries.sql import SQLEntries
from tokenwise_core.errors import StoreError
from tokenwise_core.protocols import Clock

_VACUUM_PAGES = 2_000


class SQLiteEntries(SQLEntries):
    """Entries in the file at *path*; vectors are kept as half floats.

    With `synchronous=NORMAL` a power cut may lose the last transactions; neither it nor a killed process damages the
    file. A file that is deleted, replaced or found malformed while in use is noticed, and a new one begun: entries
    are a cache, and a lost one is a miss.
    """

    vectors_as = VectorFormat(pack=to_half, unpack=from_half)

    def __init__(self, path: str | Path, *, codec: Codec | None = None, clock: Clock = time.time) -> None:
        super().__init__(codec=codec)
        self._path = str(Path(path).expanduser().absolute())
        self._clock = clock
        self._handles = Handles(self._path, begin=self._begin, clock=clock)

    @property
    def url(self) -> str:
        return f"sqlite:///{self._path}"

    def close(self) -> None:
        self._handles.close()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Make the tables that are missing."""
        session, known = _SQLiteSession(connection), migrations("sqlite")
        with suppress(sqlite3.OperationalError):  # a new file has no table of versions
            if is_current(session, known, url=self.url):
                return
        with _transaction(connection):
            migrate(session, known, url=self.url)

    def _reading(self) -> AbstractContextManager[Session]:
        return _Use(self._handles, self.url)

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        writer = self._handles.writer
        if not writer.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise StoreError(f"{self.url}: another thread has been writing for long", url=self.url)
        try:
            with _Use(self._handles, self.url) as session, _transaction(session.connection):
                yield session
        finally:
            writer.release()

    def _clear_all(self) -> int:
        with self._writing() as session:
            session.run("PRAGMA secure_delete = OFF")  # all these pages leave the file: no need to write zeros first
            try:
                return deleting.clear_all(session)
            finally:
                session.run("PRAGMA secure_delete = ON")

    def _give_back(self) -> None:
        with _Use(self._handles, self.url) as session:
            while session.all("PRAGMA freelist_count")[0][0]:
                session.connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # execute(): one page
            session.all("PRAGMA wal_checkpoint(TRUNCATE)")  # the log holds pages as they were

    def __deepcopy__(self, memo: dict[int, Any]) -> SQLiteEntries:
        return SQLiteEntries(self._path, codec=self._codec, clock=self._clock)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path, "codec": self._codec, "clock": self._clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        SQLiteEntries.__init__(self, state["path"], codec=state["codec"], clock=state["clock"])


class _SQLiteSession:
    """Statements on one connection."""

    __slots__ = ("connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self.connection.execute(sql, values).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self.connection.executemany(sql, rows)


class _Use:
    """Borrows a handle, gives it back, and names errors; a class, because a lookup has no microseconds to spare."""

    __slots__ = ("_handle", "_handles", "_url")

    def __init__(self, handles: Handles, url: str) -> None:
        self._handles, self._url = handles, url

    def __enter__(self) -> _SQLiteSession:
        try:
            self._handle: Handle = self._handles.take()
        except (sqlite3.Error, OSError) as error:
            raise self._named(error, None) from error
        return _SQLiteSession(self._handle.connection)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self._handles.give(self._handle)
        except sqlite3.Error as closing:
            error = error or closing
        if isinstance(error, sqlite3.Error | OSError | OverflowError):
            raise self._named(error, self._handle) from error

    def _named(self, error: Exception, handle: Handle | None) -> StoreError:
        if isinstance(error, sqlite3.Error):
            self._handles.failed(error, handle)
        return StoreError(f"{self._url}: {type(error).__name__}: {error}", url=self._url)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # the first error is the one to tell
                connection.execute("ROLLBACK")
        raise
