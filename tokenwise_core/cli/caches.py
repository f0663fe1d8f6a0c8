"""The cache that a command reads: where it is, and whether it is there at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from tokenwise_core._optional import require
from tokenwise_core.cache.entries import Entries, PostgresEntries, SQLiteEntries, open_entries
from tokenwise_core.cli.stores import refuse_what_is_no_store
from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.settings import load_settings

TABLE = "cache_entry"
_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresFacts:
    """What a database has for us: the tables asked for, and the version of pgvector (None: not installed in it)."""

    has_tables: bool
    pgvector: str | None


@contextmanager
def existing_cache(url: str | None) -> Iterator[Entries]:
    """Open the cache at *url* (default: the settings'); one that is not there is bad input, not made."""
    entries = find_cache(url)
    if entries is None:
        named = cache_url(url)
        if named == "memory://":
            raise BadInput("memory:// holds nothing in a new process: give --cache, or set TOKENWISE_CACHE")
        raise BadInput(
            f"there is no cache at {_shown(named)}: let a SemanticCache store answers first, or give --cache"
        )
    try:
        yield entries
    finally:
        entries.close()


def find_cache(url: str | None) -> Entries | None:
    """Return the cache at *url* (default: the settings'), None where there is none; it is never made."""
    named = cache_url(url)
    if named == "memory://":
        return None
    entries = open_entries(named)
    if isinstance(entries, SQLiteEntries):
        path = sqlite_path(entries)
        if not path.exists():
            return None
        refuse_what_is_no_store(path, table=TABLE, kind="cache")
    elif isinstance(entries, PostgresEntries) and not postgres_facts(named).has_tables:
        return None
    return entries


def cache_url(url: str | None) -> str:
    """Return where the cache is: *url*, else what the settings say."""
    return url or load_settings().cache


def sqlite_path(entries: Entries) -> Path:
    """Return the file of SQLite entries."""
    return Path(make_url(entries.url).database or "")


def postgres_facts(url: str, *, table: str = TABLE) -> PostgresFacts:
    """Look for *table* in a database without making anything in it; raise `StoreError` where it cannot be reached."""
    driver = require("psycopg", extra="postgres")
    address = make_url(url).set(drivername="postgresql")
    try:
        with driver.connect(address.render_as_string(hide_password=False), connect_timeout=_TIMEOUT_S) as connection:
            row = connection.execute(
                "SELECT to_regclass(%s) IS NOT NULL, (SELECT extversion FROM pg_extension WHERE extname = 'vector')",
                (table,),
            ).fetchone()
    except driver.Error as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StoreError(f"{_shown(url)}: {reason}", url=_shown(url)) from error
    return PostgresFacts(has_tables=bool(row[0]), pgvector=row[1])


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True) if "://" in url else url
