"""The shared store of entries: PostgreSQL with pgvector, which finds the neighbours too (extra `postgres`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from tokenwise_core._optional import require
from tokenwise_core.cache.entries import partition_indexes
from tokenwise_core.cache.entries.migrations import schema
from tokenwise_core.cache.entries.partition_indexes import EXACT_UP_TO
from tokenwise_core.cache.entries.rows import VectorFormat
from tokenwise_core.cache.entries.sql import SQLEntries
from tokenwise_core.cache.entries.wire import from_wire, register, to_wire
from tokenwise_core.cache.entry import Vector
from tokenwise_core.storage.codec import Codec
from tokenwise_core.storage.pool import LOCK_TIMEOUT, Pool
from tokenwise_core.storage.statements import Statements
from tokenwise_core.storage.urls import postgres_url

if TYPE_CHECKING:
    import psycopg

WRITE_LOCK = 0x746F6B656E63  # "tokenc"
_AT_OPENING = (
    LOCK_TIMEOUT,
    "SET jit = off",  # compiling takes longer than any of our statements
    "SET hnsw.ef_search = 100",
    "SET hnsw.iterative_scan = strict_order",
)
_INDEXES_S = 60.0
"""For how long the list of partitions with an index of their own is believed; a stale one only costs time."""
_UPKEEP_S = 600.0
"""How often the sweep looks for partitions that have grown large."""


class PostgresEntries(SQLEntries):
    """Entries in the database at *url* (`postgresql://user:password@host/name`), with vectors in full floats.

    Neighbours are looked for inside one partition: row by row up to *exact_up_to* entries, beyond it in an HNSW index
    that holds that partition alone, so that no other's entries can stand in the way or come up. `sweep` makes these
    indexes. Writers take turns by an advisory lock: seqs become visible in their order.
    """

    searches = True
    vectors_as = VectorFormat(pack=to_wire, unpack=from_wire)

    def __init__(
        self, url: str, *, codec: Codec | None = None, pool_size: int = 8, exact_up_to: int = EXACT_UP_TO
    ) -> None:
        require("psycopg", extra="postgres")
        super().__init__(codec=codec)
        self._url, self._shown_url = postgres_url(url)
        self._pool_size, self._exact_up_to = pool_size, exact_up_to
        self._pool = Pool(
            self._url, shown=self._shown_url, size=pool_size, schema=schema("postgres"), lock=WRITE_LOCK,
            name="tokenwise-cache", configure=_configure,
        )  # fmt: skip
        self._indexed: frozenset[bytes] = frozenset()
        self._indexes_due = self._upkeep_due = 0.0

    @property
    def url(self) -> str:
        return self._shown_url

    def search(self, partition: bytes, vector: Vector, k: int) -> list[tuple[int, float]]:
        """Return up to *k* (seq, cosine) of that partition only, nearest first."""
        with self._reading() as session:
            indexed = partition in self._indexes(session)
            return partition_indexes.search(session, partition, vector, k, indexed=indexed)

    def sweep(self, *, now: float, limit: int = 1000) -> int:
        n = super().sweep(now=now, limit=limit)
        if time.monotonic() >= self._upkeep_due:
            self._upkeep_due = time.monotonic() + _UPKEEP_S
            with self._reading() as session:
                if partition_indexes.keep_up(session, exact_up_to=self._exact_up_to):
                    self._indexes_due = 0.0
        return n

    def close(self) -> None:
        self._pool.close()

    def _indexes(self, session: Statements) -> frozenset[bytes]:
        if time.monotonic() >= self._indexes_due:
            self._indexed = partition_indexes.existing(session)
            self._indexes_due = time.monotonic() + _INDEXES_S
        return self._indexed

    def _reading(self) -> AbstractContextManager[Statements]:
        return self._pool.reading()

    @contextmanager
    def _writing(self) -> Iterator[Statements]:
        with self._pool.reading() as session, session.connection.transaction():
            session.all("SELECT pg_advisory_xact_lock(?)::text", (WRITE_LOCK,))
            yield session

    def _give_back(self) -> None:
        """Do nothing: autovacuum makes deleted rows' space reusable."""

    def __deepcopy__(self, memo: dict[int, Any]) -> PostgresEntries:
        return PostgresEntries(self._url, codec=self._codec, pool_size=self._pool_size, exact_up_to=self._exact_up_to)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "url": self._url, "codec": self._codec, "pool_size": self._pool_size, "exact_up_to": self._exact_up_to,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        PostgresEntries.__init__(self, **state)


def _configure(connection: psycopg.Connection[Any]) -> None:
    driver = require("psycopg", extra="postgres")
    register(connection)
    for statement in _AT_OPENING:
        with suppress(driver.Error):  # a pgvector before 0.8 has no iterative scans; ours have no filter to need them
            connection.execute(statement)
