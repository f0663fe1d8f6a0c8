"""Numbered SQL files, a folder a database, applied in order, each once.

A file begins with `-- kind: additive` (new tables, new columns with a default: releases that don't know it go on
working beside the newer one) or `-- kind: breaking` (they are shut out), as those of the usage store; the numbers
applied stand in a table of their own, so that both may live in one database.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tokenwise_core.cache.entries.session import Session, one
from tokenwise_core.errors import StoreTooNew

ADDITIVE, BREAKING = "additive", "breaking"
_COUNTERS = ("seq", "generation", "label", "hit")
_EPOCH_S = 1_767_225_600  # 2026-01-01
_SEQS_A_MS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    version: int
    kind: str
    statements: tuple[str, ...]


@cache
def migrations(database: str) -> tuple[Migration, ...]:
    """Return the steps that this release knows for *database*, in order."""
    folder = files(__package__) / database
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(_parse(int(file.name.split("_")[0]), file.read_text("utf-8")) for file in found)


def is_current(session: Session, known: tuple[Migration, ...], *, url: str) -> bool:
    """Return whether all our steps are applied; raise `StoreTooNew` where a newer release broke with ours.

    The store must have a table of versions.
    """
    applied: dict[int, str] = dict(session.all("SELECT version, kind FROM cache_schema_version"))
    ours = {migration.version for migration in known}
    foreign = [version for version, kind in applied.items() if version not in ours and kind != ADDITIVE]
    if foreign:
        raise StoreTooNew(url=url, found=max(foreign), supported=max(ours))
    return ours <= applied.keys()


def migrate(session: Session, known: tuple[Migration, ...], *, url: str) -> None:
    """Apply the steps that are missing; the caller holds the store's write lock."""
    session.run("CREATE TABLE IF NOT EXISTS cache_schema_version (version BIGINT PRIMARY KEY, kind TEXT NOT NULL)")
    if is_current(session, known, url=url):
        return
    applied = {version for (version,) in session.all("SELECT version FROM cache_schema_version")}
    for migration in known:
        if migration.version not in applied:
            for statement in migration.statements:
                session.run(statement)
            session.run(
                "INSERT INTO cache_schema_version (version, kind) VALUES (?, ?)", (migration.version, migration.kind)
            )
    if one(session, "SELECT count(*) FROM cache_counter") == 0:
        _begin_counting(session)


def _begin_counting(session: Session) -> None:
    """Begin each counter where no earlier store in this place can have come to.

    Else an index over a store that was lost would lead to the seqs of its successor's entries, which are other
    people's. The real clock, whichever is injected: it is to be different each time. 4,096 numbers a millisecond
    outrun any writer, and leave room for centuries.
    """
    begin = max(0, time.time_ns() // 1_000_000 - _EPOCH_S * 1000) * _SEQS_A_MS
    session.many("INSERT INTO cache_counter (name, value) VALUES (?, ?)", [(name, begin) for name in _COUNTERS])


def _parse(version: int, text: str) -> Migration:
    kind = text.split("\n", 1)[0].removeprefix("-- kind:").strip()
    if kind not in (ADDITIVE, BREAKING):
        raise ValueError(f"migration {version} does not say its kind")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    statements = tuple(statement.strip() for statement in code.split(";") if statement.strip())
    return Migration(version=version, kind=kind, statements=statements)
