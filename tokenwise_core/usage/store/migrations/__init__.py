"""Numbered SQL files, applied in order, each once.

A file starts with `-- kind: additive` (new tables, new columns with a default: releases that don't know it go on
working beside the newer one) or `-- kind: breaking` (they are shut out). The numbers applied stand in
`schema_version`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sqlalchemy import Connection, column, insert, inspect, select, table

from tokenwise_core.errors import StoreTooNew

ADDITIVE, BREAKING = "additive", "breaking"
_VERSIONS = table("schema_version", column("version"), column("kind"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    version: int
    kind: str
    statements: tuple[str, ...]


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the steps that this release knows, in order."""
    found = sorted((f for f in files(__package__).iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(_parse(int(file.name.split("_")[0]), file.read_text("utf-8")) for file in found)


def is_current(connection: Connection, *, url: str) -> bool:
    """Return whether all our steps are applied; raise `StoreTooNew` where a newer release broke with ours."""
    if not inspect(connection).has_table("schema_version"):
        return False
    applied = {row.version: row.kind for row in connection.execute(select(_VERSIONS))}
    known = {migration.version for migration in migrations()}
    foreign = [version for version, kind in applied.items() if version not in known and kind != ADDITIVE]
    if foreign:
        raise StoreTooNew(url=url, found=max(foreign), supported=max(known))
    return known <= applied.keys()


def migrate(connection: Connection, *, url: str) -> None:
    """Apply the steps that are missing; the caller holds the store's write lock."""
    if is_current(connection, url=url):
        return
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY, kind TEXT NOT NULL)"
    )
    applied = set(connection.execute(select(_VERSIONS.c.version)).scalars())
    for migration in migrations():
        if migration.version not in applied:
            for statement in migration.statements:
                connection.exec_driver_sql(statement)
            connection.execute(insert(_VERSIONS).values(version=migration.version, kind=migration.kind))


def _parse(version: int, text: str) -> Migration:
    kind = text.split("\n", 1)[0].removeprefix("-- kind:").strip()
    if kind not in (ADDITIVE, BREAKING):
        raise ValueError(f"migration {version} does not say its kind")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    statements = tuple(statement.strip() for statement in code.split(";") if statement.strip())
    return Migration(version=version, kind=kind, statements=statements)
