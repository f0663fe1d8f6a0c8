"""Connections to PostgreSQL: a pool that is dropped over a fork, over tables that are made once."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from tokenwise_core._optional import require
from tokenwise_core.cache.entries.migrations import is_current, migrate, migrations
from tokenwise_core.cache.entries.session import Session
from tokenwise_core.cache.entries.wire import register

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import psycopg
    from psycopg_pool import ConnectionPool

WRITE_LOCK = 0x746F6B656E63  # "tokenc"
TIMEOUT_S = 5
"""How long a connection may take to be made, and a thread waits for one that is free."""
LOCK_TIMEOUT = "SET lock_timeout = '10s'"
"""How long a writer waits for its turn."""
_AT_OPENING = (
    LOCK_TIMEOUT,
    "SET jit = off",  # compiling takes longer than any of our statements
    "SET hnsw.ef_search = 100",
    "SET hnsw.iterative_scan = strict_order",
)
_inherited: list[object] = []  # pools of a parent process: closing their connections here would be felt there


class Pool:
    """Lends connections to *url*, in autocommit mode, at most *size* at once."""

    def __init__(self, url: str, *, size: int) -> None:
        self.url, self._size = url, size
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
            make_tables(connection, url=self.url)
        pool: ConnectionPool[psycopg.Connection[Any]] = require("psycopg_pool", extra="postgres").ConnectionPool(
            self.url, min_size=1, max_size=self._size, open=False, timeout=TIMEOUT_S, configure=_configure,
            kwargs={"autocommit": True, "connect_timeout": TIMEOUT_S}, name="tokenwise-cache",
        )  # fmt: skip
        pool.open()
        return pool


class PostgresSession:
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


def make_tables(connection: psycopg.Connection[Any], *, url: str) -> None:
    """Make the tables that are missing; raise `StoreTooNew` where a newer release made others."""
    session: Session = PostgresSession(connection)
    known = migrations("postgres")
    if session.all("SELECT to_regclass('cache_schema_version')::text")[0][0] and is_current(session, known, url=url):
        return
    with connection.transaction():
        session.all("SELECT pg_advisory_xact_lock(?)::text", (WRITE_LOCK,))
        migrate(session, known, url=url)


def _configure(connection: psycopg.Connection[Any]) -> None:
    driver = require("psycopg", extra="postgres")
    register(connection)
    for statement in _AT_OPENING:
        with suppress(driver.Error):  # a pgvector before 0.8 has no iterative scans; ours have no filter to need them
            connection.execute(statement)


def _marked(sql: str) -> Any:
    return sql.replace("?", "%s")
