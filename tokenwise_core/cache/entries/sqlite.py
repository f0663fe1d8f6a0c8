"""The default store of entries: one SQLite file in WAL mode, which several processes may read and write."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tokenwise_core.cache.entries import deleting
from tokenwise_core.cache.entries.migrations import schema
from tokenwise_core.cache.entries.rows import VectorFormat, from_half, to_half
from tokenwise_core.cache.entries.sql import SQLEntries, log
from tokenwise_core.protocols import Clock
from tokenwise_core.storage.codec import Codec
from tokenwise_core.storage.sqlite import SQLiteFile
from tokenwise_core.storage.statements import Statements


class SQLiteEntries(SQLEntries):
    """Entries in the file at *path*; vectors are kept as half floats.

    With `synchronous=NORMAL` a power cut may lose the last transactions; neither it nor a killed process damages the
    file. A file that is deleted, replaced or found malformed while in use is noticed, and a new one begun: entries
    are a cache, and a lost one is a miss.
    """

    vectors_as = VectorFormat(pack=to_half, unpack=from_half)

    def __init__(self, path: str | Path, *, codec: Codec | None = None, clock: Clock = time.time) -> None:
        super().__init__(codec=codec)
        self._clock = clock
        self._file = SQLiteFile(path, schema=schema("sqlite"), clock=clock, log=log)

    @property
    def url(self) -> str:
        return self._file.url

    def close(self) -> None:
        self._file.close()

    def _reading(self) -> AbstractContextManager[Statements]:
        return self._file.reading()

    def _writing(self) -> AbstractContextManager[Statements]:
        return self._file.writing()

    def _clear_all(self) -> int:
        with self._writing() as session:
            session.run("PRAGMA secure_delete = OFF")  # all these pages leave the file: no need to write zeros first
            try:
                return deleting.clear_all(session)
            finally:
                session.run("PRAGMA secure_delete = ON")

    def _give_back(self) -> None:
        self._file.give_back()

    def __deepcopy__(self, memo: dict[int, Any]) -> SQLiteEntries:
        return SQLiteEntries(self._file.path, codec=self._codec, clock=self._clock)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._file.path, "codec": self._codec, "clock": self._clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        SQLiteEntries.__init__(self, state["path"], codec=state["codec"], clock=state["clock"])
