"""One connection in use, whatever the database; statements are written with `?` and plain SQL that all of them know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

CHUNK = 500
"""Rows named in one statement, and deleted in one transaction, so that other writers never wait long."""


class Statements(Protocol):
    """Runs statements on one connection."""

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows."""
        ...

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; return how many rows it changed."""
        ...

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each of *rows*."""
        ...


def marks(n: int) -> str:
    """Return *n* placeholders."""
    return ",".join("?" * n)


def chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut *values* into lists that a statement can name."""
    rest = list(values)
    for begin in range(0, len(rest), CHUNK):
        yield rest[begin : begin + CHUNK]


def one(db: Statements, sql: str, values: Sequence[Any] = ()) -> Any:
    """Return the only column of the first row, None where there is none."""
    found = db.all(sql, values)
    return found[0][0] if found else None
