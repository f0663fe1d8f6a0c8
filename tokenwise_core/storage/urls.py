"""What the URL of a store says: which database, and where."""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from tokenwise_core.errors import BadInput

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")


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
    if url.split("://", maxsplit=1)[0] in _POSTGRES:
        return Place("postgres", url)
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


class PostgresURL(NamedTuple):
    """The URL of a database for the driver, and without its password for everybody else."""

    full: str
    shown: str


def postgres_url(url: str) -> PostgresURL:
    """Read the URL of a PostgreSQL database, as SQLAlchemy does, without its half second where it is a plain one."""
    parts = urlsplit(url)
    if parts.scheme not in _POSTGRES or parts.netloc.count("@") > 1 or "password" in parts.query:
        from sqlalchemy import make_url

        parsed = make_url(url).set(drivername="postgresql")
        hidden = parsed.update_query_dict({"password": "***"}) if "password" in parsed.query else parsed
        return PostgresURL(
            full=parsed.render_as_string(hide_password=False), shown=hidden.render_as_string(hide_password=True)
        )
    who, at, host = parts.netloc.rpartition("@")
    user, colon, _ = who.partition(":")
    rest = url.removeprefix(f"{parts.scheme}://{parts.netloc}")
    shown = f"postgresql://{user}{':***' if colon else ''}{at}{host}{rest}"
    return PostgresURL(f"postgresql://{parts.netloc}{rest}", shown)
