"""What the URL of a store says: which database, and where."""

from __future__ import annotations

from typing import Literal, NamedTuple

from tokenwise_core.errors import BadInput

_SQLITE = "sqlite:///"


class Place(NamedTuple):
    """A database; *where* is the path of SQLite's file, the URL of PostgreSQL's, empty for memory."""

    database: Literal["memory", "sqlite", "postgres"]
    where: str


def place_of(url: str) -> Place:
    """Read `memory://`, `sqlite:///path`, a bare path, or `postgresql://user@host/name`."""
    if url == "memory://":
        return Place("memory", "")
    if "://" not in url:
        return Place("sqlite", url)
    if url.startswith(_SQLITE) and "?" not in url and len(url) > len(_SQLITE):
        return Place("sqlite", url.removeprefix(_SQLITE))  # as SQLAlchemy reads it, without its half second
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise BadInput(f"{url.split('://', maxsplit=1)[0]}://… is no store URL") from error
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return Place("sqlite", parsed.database)
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        return Place("postgres", url)
    raise BadInput(f"no store for {parsed.drivername}://: use memory://, sqlite:///path or postgresql://…")
