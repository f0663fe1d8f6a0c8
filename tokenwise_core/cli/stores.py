"""The store that a command reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

from tokenwise_core.errors import BadInput
from tokenwise_core.settings import load_settings
from tokenwise_core.usage.store import SQLiteStore, Store, open_store
from tokenwise_core.usage.store.schema import EVENT

_MAGIC = b"SQLite format 3\0"


@contextmanager
def existing_store(url: str | None) -> Iterator[Store]:
    """Open the store at *url* (default: the settings') for reading; one that is not there is bad input, not made."""
    named = load_settings(store=url).store
    store = open_store(named)
    if named == "memory://":
        raise BadInput("memory:// holds nothing in a new process: give --store, or set TOKENWISE_STORE")
    if isinstance(store, SQLiteStore):
        path = Path(make_url(store.url).database or "")
        if not path.exists():
            raise BadInput(f"there is no usage store at {path}: record calls first, or give --store")
        refuse_what_is_no_store(path)
    try:
        yield store
    finally:
        store.close()


def refuse_what_is_no_store(path: Path, *, table: str = EVENT.name, kind: str = "usage store") -> None:
    """Look at what is at *path* before it is opened: the store makes its tables in any file that it is given."""
    if path.is_dir():
        raise BadInput(f"{path} is a directory: name the store's file in it")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise BadInput(f"{path} is no {kind}: it is no SQLite file")
    address = f"{path.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as connection:  # the store tells errors
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
            raise BadInput(f"{path} is no {kind}: the database has none of its tables")
