"""The semantic cache: exact and verified hits over SQLite, Postgres or memory.

>>> from tokenwise_core.cache import SemanticCache
>>> cache = SemanticCache(namespace=lambda scope: scope.user)    # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_core.cache.context import ContextHierarchy, Level
    from tokenwise_core.cache.decisions import DecisionMemo
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
    from tokenwise_core.cache.presets import seed_preset
    from tokenwise_core.cache.request import CacheRequest, Hit, Served
    from tokenwise_core.cache.semantic import SemanticCache
    from tokenwise_core.cache.shadow import ShadowReport, shadow_report
    from tokenwise_core.cache.stats import CacheStats
    from tokenwise_core.cache.ticket import Ticket

_HOMES = {
    "context": ("ContextHierarchy", "Level"),
    "decisions": ("DecisionMemo",),
    "entries": ("Codec", "Entries", "MemoryEntries", "PostgresEntries", "SQLiteEntries", "open_entries"),
    "entry": ("CachedAnswer", "Entry"),
    "explain": ("Explanation",),
    "presets": ("seed_preset",),
    "request": ("CacheRequest", "Hit", "Served"),
    "semantic": ("SemanticCache",),
    "shadow": ("ShadowReport", "shadow_report"),
    "stats": ("CacheStats",),
    "ticket": ("Ticket",),
}

__all__ = [
    "CacheRequest",
    "CacheStats",
    "CachedAnswer",
    "Codec",
    "ContextHierarchy",
    "DecisionMemo",
    "Entries",
    "Entry",
    "Explanation",
    "Hit",
    "Level",
    "MemoryEntries",
    "PostgresEntries",
    "SQLiteEntries",
    "SemanticCache",
    "Served",
    "ShadowReport",
    "Ticket",
    "open_entries",
    "seed_preset",
    "shadow_report",
]

__getattr__ = loader(__name__, {name: module for module, names in _HOMES.items() for name in names})


def __dir__() -> list[str]:
    return sorted(__all__)
