"""From a URL to a store of entries."""

from __future__ import annotations

from tokenwise_core.cache.entries.codec import Codec
from tokenwise_core.cache.entries.memory import MemoryEntries
from tokenwise_core.cache.entries.postgres import PostgresEntries
from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.entries.sqlite import SQLiteEntries
from tokenwise_core.errors import BadInput


def open_entries(url: str, *, codec: Codec | None = None) -> Entries:
    """Return the entries at *url*: `memory://`, `sqlite:///path`, a bare path, or `postgresql://user@host/name`.

    Nothing is opened until the first use; from then on `StoreError` says what is wrong.
    """
    if url == "memory://":
        return MemoryEntries(codec=codec)
    if "://" not in url:
        return SQLiteEntries(url, codec=codec)
    from sqlalchemy import make_url  # half a second to import
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadInput(f"{url.split('://', maxsplit=1)[0]}://… is no store URL") from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return SQLiteEntries(parsed.database, codec=codec)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return PostgresEntries(url, codec=codec)
    raise BadInput(f"no store for {parsed.drivername}://: use memory://, sqlite:///path or postgresql://…")
