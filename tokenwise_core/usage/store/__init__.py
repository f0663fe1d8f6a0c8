"""Where usage is kept: `open_store(url)` returns the store in memory, in a SQLite file, or in PostgreSQL."""

from __future__ import annotations

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from tokenwise_core.errors import BadInput
from tokenwise_core.usage.store.histograms import Metric
from tokenwise_core.usage.store.memory import MemoryStore
from tokenwise_core.usage.store.postgres import PostgresStore
from tokenwise_core.usage.store.protocol import Query, Retention, Row, SavingRow, Store
from tokenwise_core.usage.store.sqlite import SQLiteStore
from tokenwise_core.usage.store.totals import SavingTotals, Totals

__all__ = [
    "MemoryStore", "Metric", "PostgresStore", "Query", "Retention", "Row", "SQLiteStore", "SavingRow", "SavingTotals",
    "Store", "Totals", "open_store",
]  # fmt: skip


def open_store(url: str) -> Store:
    """Return the store at *url*: `memory://`, `sqlite:///path`, a bare path, or `postgresql://user@host/name`.

    Nothing is opened until the first use; from then on `StoreError` says what is wrong.
    """
    if url == "memory://":
        return MemoryStore()
    if "://" not in url:
        return SQLiteStore(url)
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadInput(f"{url.split('://', maxsplit=1)[0]}://… is no store URL") from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return SQLiteStore(parsed.database)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return PostgresStore(url)
    raise BadInput(f"no store for {parsed.drivername}://: use memory://, sqlite:///path or postgresql://…")
