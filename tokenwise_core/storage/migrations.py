"""Numbered SQL files, a folder a database, applied in order, each once.

A file begins with `-- kind: additive` (new tables, new columns with a default: releases that don't know it go on
working beside the newer one) or `-- kind: breaking` (they are shut out). The numbers applied stand in a table of the
store's own, so that several stores may live in one database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from tokenwise_core.errors import StoreTooNew
from tokenwise_core.storage.statements import Statements

ADDITIVE, BREAKING = "additive", "breaking"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    version: int
    kind: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The steps of one store in one database; *versions* is its table of those applied.

    *fill* writes what new tables begin with; it is called after each migration, and looks whether it is needed.
    """

    versions: str
    steps: tuple[Migration, ...]
    fill: Callable[[Statements], None] | None = None

    def is_current(self, db: Statements, *, url: str) -> bool:
        """Return whether all our steps are applied; raise `StoreTooNew` where a newer release broke with ours.

        The store must have its table of versions.
        """
        applied: dict[int, str] = dict(db.all(f"SELECT version, kind FROM {self.versions}"))  # noqa: S608 - ours
        ours = {step.version for step in self.steps}
        foreign = [version for version, kind in applied.items() if version not in ours and kind != ADDITIVE]
        if foreign:
            raise StoreTooNew(url=url, found=max(foreign), supported=max(ours))
        return ours <= applied.keys()

    def migrate(self, db: Statements, *, url: str) -> None:
        """Apply the steps that are missing; the caller holds the store's write lock."""
        db.run(f"CREATE TABLE IF NOT EXISTS {self.versions} (version BIGINT PRIMARY KEY, kind TEXT NOT NULL)")
        if self.is_current(db, url=url):
            return
        applied = {version for (version,) in db.all(f"SELECT version FROM {self.versions}")}  # noqa: S608 - ours
        for step in self.steps:
            if step.version not in applied:
                for statement in step.statements:
                    db.run(statement)
                db.run(
                    f"INSERT INTO {self.versions} (version, kind) VALUES (?, ?)",  # noqa: S608 - ours
                    (step.version, step.kind),
                )
        if self.fill is not None:
            self.fill(db)


@cache
def migrations(package: str, database: str) -> tuple[Migration, ...]:
    """Return the steps that *package* holds for *database*, in order."""
    folder = files(package) / database
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return tuple(_parse(int(file.name.split("_")[0]), file.read_text("utf-8")) for file in found)


def _parse(version: int, text: str) -> Migration:
    kind = text.split("\n", 1)[0].removeprefix("-- kind:").strip()
    if kind not in (ADDITIVE, BREAKING):
        raise ValueError(f"migration {version} does not say its kind")
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    statements = tuple(statement.strip() for statement in code.split(";") if statement.strip())
    return Migration(version=version, kind=kind, statements=statements)
