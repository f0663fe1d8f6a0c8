"""The tables of entries, as numbered SQL files (`storage.migrations`)."""

from __future__ import annotations

from typing import Literal

from tokenwise_core.cache.entries.counters import begin_counting
from tokenwise_core.storage.migrations import Schema, migrations


def schema(database: Literal["sqlite", "postgres"]) -> Schema:
    """Return the tables of a database, with what they begin with."""
    return Schema(versions="cache_schema_version", steps=migrations(__name__, database), fill=begin_counting)
