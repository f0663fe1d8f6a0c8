"""One connection in use, whatever the database; statements are written with `?` and plain SQL that all of them know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from numpy import float32
from numpy.typing import NDArray

from tokenwise_core.cache.entry import Vector

CHUNK = 500
"""Rows named in one statement, and deleted in one transaction, so that other writers never wait long."""


class Session(Protocol):
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


class VectorFormat(NamedTuple):
    """How a database keeps vectors: written one by one, read many at once into unit rows."""

    pack: Callable[[Vector], Any]
    unpack: Callable[[Sequence[Any]], NDArray[float32]]


def marks(n: int) -> str:
    """Return *n* placeholders."""
    return ",".join("?" * n)


def chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut *values* into lists that a statement can name."""
    rest = list(values)
    for begin in range(0, len(rest), CHUNK):
        yield rest[begin : begin + CHUNK]


def one(session: Session, sql: str, values: Sequence[Any] = ()) -> Any:
    """Return the only column of the first row, None where there is none."""
    found = session.all(sql, values)
    return found[0][0] if found else None


def take_numbers(session: Session, name: str, n: int) -> int:
    """Reserve *n* numbers of a counter and return the first; the caller holds the write lock."""
    session.run("UPDATE cache_counter SET value = value + ? WHERE name = ?", (n, name))
    return int(one(session, "SELECT value FROM cache_counter WHERE name = ?", (name,))) - n + 1
