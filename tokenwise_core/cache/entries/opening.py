"""From a URL to a store of entries."""

from __future__ import annotations

from tokenwise_core.cache.entries.memory import MemoryEntries
from tokenwise_core.cache.entries.postgres import PostgresEntries
from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.entries.sqlite import SQLiteEntries
from tokenwise_core.storage.codec import Codec
from tokenwise_core.storage.urls import place_of


def open_entries(url: str, *, codec: Codec | None = None) -> Entries:
    """Return the entries at *url*: `memory://`, `sqlite:///path`, a bare path, or `postgresql://user@host/name`.

    Nothing is opened until the first use; from then on `StoreError` says what is wrong.
    """
    place = place_of(url)
    if place.database == "memory":
        return MemoryEntries(codec=codec)
    if place.database == "sqlite":
        return SQLiteEntries(place.where, codec=codec)
    return PostgresEntries(place.where, codec=codec)
