"""What `tokenwise doctor` tells of the memory's sessions. Nothing here is written."""

from __future__ import annotations

from collections.abc import Iterator

from tokenwise_core.analytics.notation import count
from tokenwise_core.cli.caches import postgres_facts
from tokenwise_core.cli.checks import Finding, Mark, unmade
from tokenwise_core.cli.session_stores import TABLE, counted_sessions, sqlite_path
from tokenwise_core.cli.stores import refuse_what_is_no_store
from tokenwise_core.errors import MissingExtra, TokenwiseError
from tokenwise_core.memory.sessions import PostgresSessions, Sessions, SQLiteSessions, open_sessions
from tokenwise_core.settings import Settings

REMEDY = "name another store with TOKENWISE_SESSIONS, or restore this one from a copy"


def sessions(settings: Settings) -> Iterator[Finding]:
    """Tell where the sessions are and what they hold."""
    try:
        opened = open_sessions(settings.sessions)
        yield Finding(name="url", text=opened.url)
        yield from _contents(opened, settings)
        opened.close()
    except (TokenwiseError, OSError) as error:
        remedy = str(error).split(": ", 1)[-1] if isinstance(error, MissingExtra) else REMEDY
        yield Finding(name="sessions", text=" ".join(str(error).split()), mark=Mark.PROBLEM, remedy=remedy)


def _contents(opened: Sessions, settings: Settings) -> Iterator[Finding]:
    if isinstance(opened, SQLiteSessions):
        path = sqlite_path(opened)
        if not path.exists():
            yield unmade(path, by="message kept by a memory", variable="TOKENWISE_SESSIONS")
            return
        refuse_what_is_no_store(path, table=TABLE, kind="store of sessions")
    elif isinstance(opened, PostgresSessions) and not postgres_facts(settings.sessions, table=TABLE).has_tables:
        yield Finding(name="holds", text="no tables yet; the first message kept by a memory makes them", mark=Mark.NOTE)
        return
    stats = opened.stats()
    text = f"{counted_sessions(stats.sessions)} of {count(stats.items)} messages, {stats.bytes / 1e6:,.1f} MB"
    yield Finding(name="holds", text=text)
