"""Connections to PostgreSQL: a pool that is dropped over a fork, over tables that are made once (extra `postgres`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokenwise_core._optional import require
from tokenwise_core.errors import StoreError
from tokenwise_core.storage.migrations import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg
    from psycopg_pool import ConnectionPool

TIMEOUT_S = 5
"""How long a connection may take to be made, and a thread waits for one that is free."""
LOCK_TIMEOUT = "SET lock_timeout = '10s'"
"""How long a writer waits for its turn."""
_inherited: list[object] = []  # pools of a parent process: closing their connections here would be felt there


class Pool:
    """Lends connections to *url*, in autocommit mode, at most *size* at once.

    *shown* is the URL without password, which errors carry;
    *lock* is the advisory lock under which the tables of *schema* are made; *configure* sets up a new connection.
    """

    def __init__(
        self, url: str, *, shown: str, size: int, schema: Schema, lock: int, name: str,
        configure: Callable[[psycopg.Connection[Any]], None],
    ) -> None:  # fmt: skip
        self.url, self.shown, self._size, self._schema, self._lock_key = url, shown, size, schema, lock
        self._name = name
        self._configure = configure
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = Lock()
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None

    def take(self) -> psycopg.Connection[Any]:
        """Return a connection that nobody else uses; give it back with `give`."""
        if self._pid != os.getpid():
            _inherited.append(self._pool)
            self._reset()
        pool = self._pool
        if pool is None:
            with self._lock:
                pool = self._pool = self._pool or self._open()
        return pool.getconn()

    def give(self, connection: psycopg.Connection[Any]) -> None:
        """Take back a connection; one that broke is closed, and its fellows are looked at too."""
        pool = self._pool
        broken = connection.broken
        if pool is None or pool.closed:
            connection.close()
            return
        pool.putconn(connection)
        if broken:
            pool.check()

    @contextmanager
    def reading(self) -> Iterator[PostgresStatements]:
        """Lend statements, each a transaction of its own."""
        driver = require("psycopg", extra="postgres")
        connection = None
        try:
            connection = self.take()
            yield PostgresStatements(connection)
        except (driver.Error, OSError, OverflowError) as error:
            raise StoreError(f"{self.shown}: {type(error).__name__}: {error}", url=self.shown) from error
        finally:
            if connection is not None:
                self.give(connection)

    def close(self) -> None:
        """Close all connections."""
        if self._pid != os.getpid():
            _inherited.append(self._pool)
        elif self._pool is not None:
            self._pool.close()
        self._reset()

    def _open(self) -> ConnectionPool[psycopg.Connection[Any]]:
        driver = require("psycopg", extra="postgres")
        with driver.connect(self.url, autocommit=True, connect_timeout=TIMEOUT_S) as connection:
            make_tables(connection, schema=self._schema, lock=self._lock_key, url=self.shown)
        pool: ConnectionPool[psycopg.Connection[Any]] = require("psycopg_pool", extra="postgres").ConnectionPool(
            self.url, min_size=1, max_size=self._size, open=False, timeout=TIMEOUT_S, configure=self._configure,
            kwargs={"autocommit": True, "connect_timeout": TIMEOUT_S}, name=self._name,
        )  # fmt: skip
        pool.open()
        return pool


class PostgresStatements:
    """Statements on one connection; results come in binary form."""

    __slots__ = ("connection",)

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(_marked(sql), values or None, binary=True).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self.connection.execute(_marked(sql), values or None).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        found = list(rows)
        if found:
            with self.connection.cursor() as cursor:
                cursor.executemany(_marked(sql), found)


def make_tables(connection: psycopg.Connection[Any], *, schema: Schema, lock: int, url: str) -> None:
    """Make the tables that are missing; raise `StoreTooNew` where a newer release made others."""
    db = PostgresStatements(connection)
    has_versions = db.all("SELECT to_regclass(?)::text", (schema.versions,))[0][0]
    if has_versions and schema.is_current(db, url=url):
        return
    with connection.transaction():
        db.all("SELECT pg_advisory_xact_lock(?)::text", (lock,))
        schema.migrate(db, url=url)


def _marked(sql: str) -> Any:
    return sql.replace("?", "%s")
