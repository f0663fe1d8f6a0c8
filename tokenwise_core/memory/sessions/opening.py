"""From a URL to a store of sessions."""

from __future__ import annotations

import time

from tokenwise_core.memory.sessions.memory import MemorySessions
from tokenwise_core.memory.sessions.postgres import PostgresSessions
from tokenwise_core.memory.sessions.protocol import Sessions
from tokenwise_core.memory.sessions.sqlite import SQLiteSessions
from tokenwise_core.protocols import Clock
from tokenwise_core.storage.codec import Codec
from tokenwise_core.storage.urls import place_of


def open_sessions(url: str, *, codec: Codec | None = None, clock: Clock = time.time) -> Sessions:
    """Return the sessions at *url*: `memory://`, `sqlite:///path`, a bare path, or `postgresql://user@host/name`.

    Nothing is opened until the first use; from then on `StoreError` says what is wrong.
    """
    place = place_of(url)
    if place.database == "memory":
        return MemorySessions(codec=codec, clock=clock)
    if place.database == "sqlite":
        return SQLiteSessions(place.where, codec=codec, clock=clock)
    return PostgresSessions(place.where, codec=codec, clock=clock)
