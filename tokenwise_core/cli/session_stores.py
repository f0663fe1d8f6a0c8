"""The sessions that a command reads: where they are, and whether they are there at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from tokenwise_core.cli.caches import postgres_facts
from tokenwise_core.cli.stores import refuse_what_is_no_store
from tokenwise_core.errors import BadInput
from tokenwise_core.memory.sessions import PostgresSessions, Sessions, SQLiteSessions, open_sessions
from tokenwise_core.settings import load_settings

TABLE = "memory_session"


@contextmanager
def existing_sessions(url: str | None) -> Iterator[Sessions]:
    """Open the sessions at *url* (default: the settings'); what is not there is bad input, not made."""
    named = sessions_url(url)
    found = find_sessions(url)
    if found is None:
        if named == "memory://":
            raise BadInput("memory:// holds nothing in a new process: give --sessions, or set TOKENWISE_SESSIONS")
        shown = open_sessions(named).url
        raise BadInput(f"there are no sessions at {shown}: let a memory keep some first, or give --sessions")
    try:
        yield found
    finally:
        found.close()


def find_sessions(url: str | None) -> Sessions | None:
    """Return the sessions at *url* (default: the settings'), None where there are none; they are never made."""
    named = sessions_url(url)
    if named == "memory://":
        return None
    sessions = open_sessions(named)
    if isinstance(sessions, SQLiteSessions):
        path = sqlite_path(sessions)
        if not path.exists():
            return None
        refuse_what_is_no_store(path, table=TABLE, kind="store of sessions")
    elif isinstance(sessions, PostgresSessions) and not postgres_facts(named, table=TABLE).has_tables:
        return None
    return sessions


def sessions_url(url: str | None) -> str:
    """Return where the sessions are: *url*, else what the settings say."""
    return url or load_settings().sessions


def sqlite_path(sessions: SQLiteSessions) -> Path:
    """Return the file of SQLite sessions."""
    return Path(make_url(sessions.url).database or "")


def counted_sessions(n: int) -> str:
    """Return a number of sessions as people say it."""
    return "1 session" if n == 1 else f"{n:,} sessions"
