"""The semantic cache: exact and verified hits over SQLite, Postgres or memory.

>>> from tokenwise_core.cache import SemanticCache
>>> cache = SemanticCache(namespace=lambda scope: scope.user)    # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_core.cache.entries import (
        Codec,
        Entries,
        MemoryEntries,
        PostgresEntries,
        SQLiteEntries,
        open_entries,
    )
    from tokenwise_core.cache.entry import CachedAnswer, Entry
    from tokenwise_core.cache.explain import Explanation
    from tokenwise_core.cache.request import CacheRequest, Hit, Served
    from tokenwise_core.cache.semantic import SemanticCache
    from tokenwise_core.cache.stats import CacheStats
    from tokenwise_core.cache.ticket import Ticket

_HOMES = {
    "entries": ("Codec", "Entries", "MemoryEntries", "PostgresEntries", "SQLiteEntries", "open_entries"),
    "entry": ("CachedAnswer", "Entry"),
    "explain": ("Explanation",),
    "request": ("CacheRequest", "Hit", "Served"),
    "semantic": ("SemanticCache",),
    "stats": ("CacheStats",),
    "ticket": ("Ticket",),
}

__all__ = [
    "CacheRequest",
    "CacheStats",
    "CachedAnswer",
    "Codec",
    "Entries",
    "Entry",
    "Explanation",
    "Hit",
    "MemoryEntries",
    "PostgresEntries",
    "SQLiteEntries",
    "SemanticCache",
    "Served",
    "Ticket",
    "open_entries",
]

__getattr__ = loader(__name__, {name: module for module, names in _HOMES.items() for name in names})


def __dir__() -> list[str]:
    return sorted(__all__)
