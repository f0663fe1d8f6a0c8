"""Sessions for the tests of their stores."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import make_url

from tokenwise_core.memory.sessions import LogItem, PostgresSessions

NOW = 1_790_000_000.0
_TABLES = (
    "memory_session", "memory_owner", "memory_item", "memory_view", "memory_block", "memory_original", "memory_turn",
)  # fmt: skip


@pytest.fixture(scope="module")
def sessions_database(postgres_server: str) -> Iterator[str]:
    """Make a database with the tables, once a module, and return its URL."""
    import psycopg

    name = f"s{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def emptied(url: str) -> str:
    """Delete all that earlier tests left in a PostgreSQL database, and return its URL."""
    import psycopg

    with closing(PostgresSessions(url)) as sessions, psycopg.connect(url, autocommit=True) as connection:
        sessions.stats()  # makes the tables
        connection.execute(f"TRUNCATE {', '.join(_TABLES)}")
    return url


def make_item(i: int, *, text: str = "", id: str | None = None, at: float = 0.0) -> LogItem:
    """Return item *i* of a log."""
    return LogItem(
        id=f"m{i}" if id is None else id, data={"role": "user", "text": text or f"text {i}"}, at=at or NOW + i
    )


def flip(body: bytes) -> bytes:
    """Seal and unseal, as badly as is enough for a test."""
    return bytes(byte ^ 0x5A for byte in body)


def texts(rows: Any) -> list[str]:
    """Return the texts of log rows."""
    return [row.data["text"] for row in rows]
