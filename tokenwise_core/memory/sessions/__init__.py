"""Where sessions are kept: `open_sessions(url)` gives those in memory, in a SQLite file, or in PostgreSQL."""

from __future__ import annotations

from tokenwise_core.memory.sessions.memory import MemorySessions
from tokenwise_core.memory.sessions.opening import open_sessions
from tokenwise_core.memory.sessions.postgres import PostgresSessions
from tokenwise_core.memory.sessions.protocol import (
    Changes,
    LogItem,
    LogRow,
    Owner,
    SessionBusy,
    SessionInfo,
    Sessions,
    SessionStats,
    StoredView,
)
from tokenwise_core.memory.sessions.sqlite import SQLiteSessions
from tokenwise_core.storage.codec import Codec

__all__ = [
    "Changes", "Codec", "LogItem", "LogRow", "MemorySessions", "Owner", "PostgresSessions", "SQLiteSessions",
    "SessionBusy", "SessionInfo", "SessionStats", "Sessions", "StoredView", "open_sessions",
]  # fmt: skip
