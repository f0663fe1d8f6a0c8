"""What `tokenwise doctor` tells of the semantic cache. Nothing here stays, but for one key in a cache that exists."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tokenwise_core.cache.entries import Entries, PostgresEntries, SQLiteEntries, open_entries
from tokenwise_core.cache.warming import snapshot_folder
from tokenwise_core.cli.cache_purge import counted_entries
from tokenwise_core.cli.caches import TABLE, postgres_facts, sqlite_path
from tokenwise_core.cli.checks import CHECKED_KEY, Finding, Mark, unmade
from tokenwise_core.cli.stores import refuse_what_is_no_store
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.errors import MissingExtra, TokenwiseError
from tokenwise_core.settings import Settings

REMEDY = "name another cache with TOKENWISE_CACHE, or move this one away: it is begun anew"


def cache(settings: Settings) -> Iterator[Finding]:
    """Tell where the cache is, what it holds, and what finds rephrased questions in it."""
    try:
        entries = open_entries(settings.cache)
        yield Finding(name="url", text=entries.url)
        yield from _contents(entries, settings)
        yield _searcher(entries, settings)
        entries.close()
    except (TokenwiseError, OSError) as error:
        remedy = str(error).split(": ", 1)[-1] if isinstance(error, MissingExtra) else REMEDY
        yield Finding(name="cache", text=" ".join(str(error).split()), mark=Mark.PROBLEM, remedy=remedy)
    yield _embedder()


def _contents(entries: Entries, settings: Settings) -> Iterator[Finding]:
    if isinstance(entries, SQLiteEntries):
        path = sqlite_path(entries)
        if not path.exists():
            yield unmade(path, by="cached answer", variable="TOKENWISE_CACHE")
            return
        refuse_what_is_no_store(path, table=TABLE, kind="cache")
    elif isinstance(entries, PostgresEntries) and not postgres_facts(settings.cache).has_tables:
        yield Finding(name="holds", text="no tables yet; the first cached answer makes them", mark=Mark.NOTE)
        return
    totals = entries.totals()
    n, size = sum(row.entries for row in totals), sum(row.bytes for row in totals)
    spaces = "1 namespace" if len(totals) == 1 else f"{len(totals):,} namespaces"
    yield Finding(name="holds", text=f"{counted_entries(n)} in {spaces}, {size / 1e6:,.1f} MB")
    entries.set_state(CHECKED_KEY, json.dumps({"written_at": time.time()}))
    yield Finding(name="writable", text="yes")


def _searcher(entries: Entries, settings: Settings) -> Finding:
    """Tell what finds neighbours: an index in this process, or the database."""
    if isinstance(entries, PostgresEntries):
        found = postgres_facts(settings.cache).pgvector
        if found is not None:
            return Finding(name="index", text=f"pgvector {found}, in the database")
        text = "the database has no extension vector yet; the first cached answer makes it, where it may"
        return Finding(name="index", text=text, mark=Mark.NOTE)
    try:
        faiss = version("faiss-cpu")
    except PackageNotFoundError:  # a build of the user's own may have another name
        faiss = "of another distribution"
    folder: Path | None = snapshot_folder(entries.url)
    where = "in memory" if folder is None else f"snapshots in {folder}"
    return Finding(name="index", text=f"FAISS {faiss}, {where}")


def _embedder() -> Finding:
    """Tell whether rephrased questions can be found at all."""
    try:
        return Finding(name="rephrased questions", text=f"found by {default_embedder().id}")
    except MissingExtra as error:
        remedy = str(error).split(": ", 1)[-1]
        text = "not found: exact hits only, unless the application gives an embedder"
        return Finding(name="rephrased questions", text=text, mark=Mark.MISSING, remedy=remedy)
    except (TokenwiseError, OSError):  # told under "embeddings"
        return Finding(name="rephrased questions", text="not found: the embedder cannot be used", mark=Mark.NOTE)
