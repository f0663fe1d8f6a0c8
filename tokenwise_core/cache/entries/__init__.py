"""Where cached answers are kept: `open_entries(url)` gives those in memory, in a SQLite file, or in PostgreSQL."""

from __future__ import annotations

from tokenwise_core.cache.entries.memory import MemoryEntries
from tokenwise_core.cache.entries.opening import open_entries
from tokenwise_core.cache.entries.postgres import PostgresEntries
from tokenwise_core.cache.entries.protocol import Entries, NearestNeighbours, VectorRows
from tokenwise_core.cache.entries.sqlite import SQLiteEntries
from tokenwise_core.storage.codec import Codec

__all__ = [
    "Codec", "Entries", "MemoryEntries", "NearestNeighbours", "PostgresEntries", "SQLiteEntries", "VectorRows",
    "open_entries",
]  # fmt: skip
