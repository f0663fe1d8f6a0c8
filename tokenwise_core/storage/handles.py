"""Open handles of one SQLite file: shared by threads, dropped over a fork, begun anew where the file was lost."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from tokenwise_core import process

BUSY_TIMEOUT_MS = 10_000
WAL_PAGES = 4_000
"""Pages (16 MB) in the log before they are copied into the file: pages written often are copied once."""
CACHE_KIB = 8_192
"""Memory for pages that a handle takes at most; there are as many handles as threads at once."""
CHECK_S = 0.01
"""How long a reader may go on with a file that was deleted or replaced: to look costs it a tenth of its time."""
_MALFORMED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY = 0xFF  # the rest of an error code says more of the same
_Identity = tuple[int, int]  # device and file number
_inherited: list[object] = []  # handles of a parent process: closing them here would be felt there


@dataclass(slots=True)
class Handle:
    """A connection in use by one thread; *era* tells whether it leads to the file that is at the path now."""

    connection: sqlite3.Connection
    era: int


class Handles:
    """Lends handles of the file at *path*; *begin* makes the tables that are missing.

    A file that is deleted or replaced while in use is noticed before it is next written to, or read `CHECK_S` later.
    One that SQLite calls malformed is moved aside (`….damaged-<time>`) before the next use. *log* is told of both.
    """

    def __init__(
        self,
        path: str,
        *,
        begin: Callable[[sqlite3.Connection], None],
        clock: Callable[[], float],
        log: logging.Logger,
    ) -> None:
        self.path = path
        self._begin, self._clock, self._log = begin, clock, log
        self._reset()

    def _reset(self) -> None:
        self._pid = process.pid
        self._lock = Lock()
        self._writer = Lock()
        self._idle: deque[Handle] = deque()
        self._era = 0
        self._file: _Identity | None = None
        self._checked_at = 0.0
        self._malformed: _Identity | None = None
        self._logs: dict[str, _Identity | None] = {}

    @property
    def writer(self) -> Lock:
        """Held by the thread that writes: threads queue here instead of polling for SQLite's lock."""
        if self._pid != process.pid:
            self._leave_inherited()
        return self._writer

    def take(self, *, to_write: bool = True) -> Handle:
        """Return a handle that nobody else uses; give it back with `give`."""
        if self._pid != process.pid:
            self._leave_inherited()
        if self._file is None or self._malformed is not None or self._is_another(to_write=to_write):
            with self._lock:
                self._open()
        try:
            return self._idle.pop()
        except IndexError:
            return Handle(self._connect(), self._era)

    def _is_another(self, *, to_write: bool) -> bool:
        """Say whether another file is at the path, or none; a reader looks every `CHECK_S` only."""
        now = time.monotonic()
        if not to_write and now < self._checked_at + CHECK_S:
            return False
        self._checked_at = now
        return identity(self.path) != self._file

    def give(self, handle: Handle) -> None:
        """Take back a handle: kept for the next use, closed where the file has been lost since."""
        if handle.era == self._era and self._pid == process.pid:
            self._idle.append(handle)
        else:
            handle.connection.close()

    def failed(self, error: sqlite3.Error, handle: Handle | None) -> None:
        """Note an error of *handle* (None: of opening one).

        A malformed file is moved aside before the next use, one that somebody emptied begun anew.
        """
        if handle is not None and handle.era != self._era:
            return  # it led to a file that is gone already
        if getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _MALFORMED:
            self._malformed = self._file or identity(self.path)
        elif "no such table" in str(error):
            self.close()

    def close(self) -> None:
        """Close the handles that are idle now, and those in use as they come back."""
        if self._pid != process.pid:
            self._leave_inherited()
        with self._lock:
            self._close_idle()

    def _open(self) -> None:
        """Open the file at the path, whatever became of the last one; the caller holds the lock."""
        found = identity(self.path)
        if self._malformed is not None:
            self._close_idle()
            if found == self._malformed:  # else another process has been here
                self._move_aside()
            self._malformed = None
        elif self._file is not None and found == self._file:
            return  # another thread has been here
        elif self._file is not None:
            self._log.warning("%s was deleted or replaced while in use: going on with a new file", self.path)
            self._delete_logs()
            self._close_idle()
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect()
        try:
            self._begin(connection)
        except BaseException:
            connection.close()
            raise
        self._idle.append(Handle(connection, self._era))
        self._file = identity(self.path)
        self._logs = {name: identity(name) for name in self._log_names()}

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            if not connection.execute("PRAGMA page_count").fetchone()[0]:  # else it would wait for the writer
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            for pragma in (
                "journal_mode = WAL",
                "synchronous = NORMAL",
                f"wal_autocheckpoint = {WAL_PAGES}",
                f"cache_size = -{CACHE_KIB}",
                "secure_delete = ON",  # what was purged is overwritten
            ):
                connection.execute(f"PRAGMA {pragma}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _close_idle(self) -> None:
        self._era += 1
        self._file = None
        while self._idle:
            with suppress(IndexError, sqlite3.Error):
                self._idle.pop().connection.close()

    def _move_aside(self) -> None:
        aside = f"{self.path}.damaged-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(self._clock()))}"
        self._log.error("%s is malformed: moved to %s, going on with a new file", self.path, aside)
        Path(self.path).replace(aside)
        for name in self._log_names():
            with suppress(FileNotFoundError):
                Path(name).replace(name.replace(self.path, aside))

    def _delete_logs(self) -> None:
        """Delete what is left of the lost file: SQLite would write its pages into the file that took its place."""
        for name, known in self._logs.items():
            if known is not None and identity(name) == known:
                Path(name).unlink(missing_ok=True)

    def _log_names(self) -> tuple[str, str]:
        return f"{self.path}-wal", f"{self.path}-shm"

    def _leave_inherited(self) -> None:
        """Forget, in a forked child, the parent's handles without closing them: they are still in use there."""
        _inherited.append(self._idle)
        self._reset()


def identity(path: str) -> _Identity | None:
    """Return what tells the file at *path* from others; the number of one held open is not used again."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at each use, and `Path` takes four times as long
    except OSError:
        return None
    return found.st_dev, found.st_ino
