"""A SQLite file in WAL mode that several threads and processes read and write."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tokenwise_core.errors import StoreError
from tokenwise_core.storage import handles as _handles
from tokenwise_core.storage.handles import Handle, Handles
from tokenwise_core.storage.migrations import Schema
from tokenwise_core.storage.statements import Statements

_VACUUM_PAGES = 2_000


class SQLiteFile:
    """The file at *path*, with the tables of *schema*.

    With `synchronous=NORMAL` a power cut may lose the last transactions; neither it nor a killed process damages the
    file. What is raised is `StoreError`.
    """

    def __init__(self, path: str | Path, *, schema: Schema, clock: Callable[[], float], log: logging.Logger) -> None:
        self.path = str(Path(path).expanduser().absolute())
        self.url = f"sqlite:///{self.path}"
        self._schema = schema
        self.handles = Handles(self.path, begin=self._begin, clock=clock, log=log)

    def reading(self) -> AbstractContextManager[SQLiteStatements]:
        """Borrow a handle; each statement is a transaction of its own."""
        return _Use(self.handles, self.url, to_write=False)

    @contextmanager
    def writing(self) -> Iterator[Statements]:
        """Borrow a handle in a transaction that holds the file's write lock."""
        writer = self.handles.writer
        if not writer.acquire(timeout=_handles.BUSY_TIMEOUT_MS / 1000):
            raise StoreError(f"{self.url}: another thread has been writing for long", url=self.url)
        try:
            with _Use(self.handles, self.url) as db, _transaction(db.connection):
                yield db
        finally:
            writer.release()

    def give_back(self) -> None:
        """Give freed pages back to the file system, and empty the log, which holds pages as they were."""
        with _Use(self.handles, self.url) as db:
            while db.all("PRAGMA freelist_count")[0][0]:
                db.connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # execute(): one page
            db.all("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the handles; the next use opens others."""
        self.handles.close()

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Make the tables that are missing."""
        db = SQLiteStatements(connection)
        with suppress(sqlite3.OperationalError):  # a new file has no table of versions
            if self._schema.is_current(db, url=self.url):
                return
        with _transaction(connection):
            self._schema.migrate(db, url=self.url)


class SQLiteStatements:
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

    __slots__ = ("_handle", "_handles", "_to_write", "_url")

    def __init__(self, handles: Handles, url: str, *, to_write: bool = True) -> None:
        self._handles, self._url, self._to_write = handles, url, to_write

    def __enter__(self) -> SQLiteStatements:
        try:
            self._handle: Handle = self._handles.take(to_write=self._to_write)
        except (sqlite3.Error, OSError) as error:
            raise self._named(error, None) from error
        return SQLiteStatements(self._handle.connection)

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
