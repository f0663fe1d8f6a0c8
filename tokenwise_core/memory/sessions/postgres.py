"""The shared store of sessions: PostgreSQL (extra `postgres`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from tokenwise_core._optional import require
from tokenwise_core.memory.sessions.sql import SQLSessions
from tokenwise_core.memory.sessions.sqlite import VERSIONS
from tokenwise_core.protocols import Clock
from tokenwise_core.storage.codec import Codec
from tokenwise_core.storage.migrations import Schema, migrations
from tokenwise_core.storage.pool import LOCK_TIMEOUT, Pool
from tokenwise_core.storage.statements import Statements
from tokenwise_core.storage.urls import postgres_url

if TYPE_CHECKING:
    import psycopg

SCHEMA_LOCK = 0x746F6B656E73  # "tokens"
_MIGRATIONS = "tokenwise_core.memory.sessions.migrations"
_AT_OPENING = (LOCK_TIMEOUT, "SET jit = off")  # compiling takes longer than any of our statements


class PostgresSessions(SQLSessions):
    """Sessions in the database at *url* (`postgresql://user:password@host/name`).

    Who writes into a session locks its row; sessions do not wait for each other. Leases go by the clocks of the
    machines that use it: these should agree within a second or two.
    """

    row_lock = " FOR UPDATE"
    collation = ' COLLATE "C"'

    def __init__(self, url: str, *, codec: Codec | None = None, clock: Clock = time.time, pool_size: int = 8) -> None:
        require("psycopg", extra="postgres")
        full, shown = postgres_url(url)
        super().__init__(url=shown, codec=codec, clock=clock)
        self._full_url, self._pool_size = full, pool_size
        self._pool = Pool(
            full, shown=shown, size=pool_size, lock=SCHEMA_LOCK, name="tokenwise-sessions",
            schema=Schema(versions=VERSIONS, steps=migrations(_MIGRATIONS, "postgres")), configure=_configure,
        )  # fmt: skip

    def close(self) -> None:
        self._pool.close()

    def _reading(self) -> AbstractContextManager[Statements]:
        return self._pool.reading()

    @contextmanager
    def _writing(self) -> Iterator[Statements]:
        with self._pool.reading() as db, db.connection.transaction():
            yield db

    def _give_back(self) -> None:
        """Do nothing: autovacuum makes deleted rows' space reusable."""

    def __deepcopy__(self, memo: dict[int, Any]) -> PostgresSessions:
        return PostgresSessions(self._full_url, codec=self._codec, clock=self._clock, pool_size=self._pool_size)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self._full_url, "codec": self._codec, "clock": self._clock, "pool_size": self._pool_size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        PostgresSessions.__init__(self, **state)


def _configure(connection: psycopg.Connection[Any]) -> None:
    for statement in _AT_OPENING:
        connection.execute(statement)
