"""The shared store: PostgreSQL through psycopg (extra `postgres`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, make_url

from tokenwise_core._optional import require
from tokenwise_core.errors import StoreError
from tokenwise_core.usage.store.sql import SQLStore

WRITE_LOCK = 0x746F6B656E77  # "tokenw"
CONNECT_TIMEOUT_S = 5


class PostgresStore(SQLStore):
    """A store in the database at *url* (`postgresql://user:password@host/name`).

    Writers take turns by an advisory lock: batches are short, and roll-ups then need no retries.
    """

    mark = "%s"

    def __init__(self, url: str) -> None:
        require("psycopg", extra="postgres")
        super().__init__(make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False))

    @property
    def _psycopg(self) -> ModuleType:
        return require("psycopg", extra="postgres")

    def _create_engine(self) -> Engine:
        return create_engine(
            self._url, pool_pre_ping=True, pool_size=2, connect_args={"connect_timeout": CONNECT_TIMEOUT_S}
        )

    @contextmanager
    def _locked(self, connection: Connection) -> Iterator[None]:
        with connection.begin():
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
            yield

    def _known(self, connection: Connection, ids: list[str]) -> set[str]:
        return set(connection.exec_driver_sql("SELECT id FROM event WHERE id = ANY(%s)", (ids,)).scalars())

    def _insert_events(self, connection: Connection, columns: Sequence[str], values: list[tuple[Any, ...]]) -> None:
        cursor = connection.connection.cursor()
        try:
            with cursor.copy(f"COPY event ({', '.join(columns)}) FROM STDIN") as copy:
                for row in values:
                    copy.write_row(row)
        except self._psycopg.DataError as error:  # SQLAlchemy does not see it
            raise ValueError(str(error)) from error
        except self._psycopg.Error as error:
            raise StoreError(f"{self.url}: {type(error).__name__}: {error}", url=self.url) from error

    def _used_bytes(self) -> int:
        """Estimate the live data: the file sizes count deleted rows too, until others take their place."""
        with self._reading() as connection:
            row = connection.exec_driver_sql(
                "SELECT avg(size) FROM"
                " (SELECT pg_column_size(event.*) AS size FROM event ORDER BY ts DESC LIMIT 1000) AS newest"
            ).scalar()
            events = connection.exec_driver_sql("SELECT count(*) FROM event").scalar_one()
            rollups = connection.exec_driver_sql(
                "SELECT coalesce(sum(pg_total_relation_size(c)), 0)"
                " FROM unnest(ARRAY['event_hour', 'session_hour', 'saving', 'saving_hour']::regclass[]) AS c"
            ).scalar_one()
        return int(float(row or 0) * int(events) + int(rollups))

    def _give_back(self) -> None:
        """Do nothing: autovacuum makes deleted rows' space reusable."""
