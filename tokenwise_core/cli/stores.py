"""The store that a command reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tokenwise_core.errors import BadInput
from tokenwise_core.settings import load_settings
from tokenwise_core.usage.store import SQLiteStore, Store, open_store


@contextmanager
def existing_store(url: str | None) -> Iterator[Store]:
    """Open the store at *url* (default: the settings') for reading; one that is not there is bad input, not made."""
    named = load_settings(store=url).store
    store = open_store(named)
    if named == "memory://":
        raise BadInput("memory:// holds nothing in a new process: give --store, or set TOKENWISE_STORE")
    if isinstance(store, SQLiteStore) and not Path(make_url(store.url).database or "").is_file():
        raise BadInput(f"there is no usage store at {store.url}: record calls first, or give --store")
    try:
        yield store
    finally:
        store.close()
