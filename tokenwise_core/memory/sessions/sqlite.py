"""The default store of sessions: one SQLite file in WAL mode, which several processes may read and write."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tokenwise_core.memory.sessions.sql import SQLSessions
from tokenwise_core.memory.sessions.texts import log
from tokenwise_core.protocols import Clock
from tokenwise_core.storage.codec import Codec
from tokenwise_core.storage.migrations import Schema, migrations
from tokenwise_core.storage.sqlite import SQLiteFile
from tokenwise_core.storage.statements import Statements

VERSIONS = "memory_schema_version"
_MIGRATIONS = "tokenwise_core.memory.sessions.migrations"


class SQLiteSessions(SQLSessions):
    """Sessions in the file at *path*.

    With `synchronous=NORMAL` a power cut may lose the last transactions; neither it nor a killed process damages the
    file, and what a killed process had been told is kept stays. A file that is deleted, replaced or found malformed
    while in use is noticed, and a new one begun; a malformed one is moved aside.
    """

    def __init__(self, path: str | Path, *, codec: Codec | None = None, clock: Clock = time.time) -> None:
        schema = Schema(versions=VERSIONS, steps=migrations(_MIGRATIONS, "sqlite"))
        self._file = SQLiteFile(path, schema=schema, clock=clock, log=log)
        super().__init__(url=self._file.url, codec=codec, clock=clock)

    def close(self) -> None:
        self._file.close()

    def _reading(self) -> AbstractContextManager[Statements]:
        return self._file.reading()

    def _writing(self) -> AbstractContextManager[Statements]:
        return self._file.writing()

    def _give_back(self) -> None:
        self._file.give_back()

    def __deepcopy__(self, memo: dict[int, Any]) -> SQLiteSessions:
        return SQLiteSessions(self._file.path, codec=self._codec, clock=self._clock)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._file.path, "codec": self._codec, "clock": self._clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        SQLiteSessions.__init__(self, state["path"], codec=state["codec"], clock=state["clock"])
