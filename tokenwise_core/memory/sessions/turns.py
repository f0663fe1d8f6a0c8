"""Turns of a session, one at a time: threads wait for a lock, processes for a lease that ends by itself."""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tokenwise_core.memory.sessions.protocol import SessionBusy

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.02


class TurnLocks:
    """A lock a session, for the threads of this process; forgotten when nobody is at it, and over a fork."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def held(self, session: str, *, timeout_s: float, url: str) -> Iterator[None]:
        """Hold the session's lock; raise `SessionBusy` past *timeout_s*."""
        if self._pid != os.getpid():
            self._reset()
        pid, lock = self._pid, self._join(session)
        try:
            if not lock.acquire(timeout=max(timeout_s, 0.0)):
                raise SessionBusy(session=session, waited_s=timeout_s, url=url)
            try:
                yield
            finally:
                lock.release()
        finally:
            if pid == self._pid:
                self._leave(session)

    def _join(self, session: str) -> threading.Lock:
        with self._guard:
            lock, n = self._locks.get(session) or (threading.Lock(), 0)
            self._locks[session] = (lock, n + 1)
            return lock

    def _leave(self, session: str) -> None:
        with self._guard:
            lock, n = self._locks[session]
            if n > 1:
                self._locks[session] = (lock, n - 1)
            else:
                del self._locks[session]


def wait_for(take: Callable[[], bool], *, until: float) -> bool:
    """Call *take* until it says yes, with pauses that grow; False past *until* (monotonic)."""
    pause = _FIRST_PAUSE_S
    while not take():
        left = until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, pause * random.uniform(0.5, 1.5)))
        pause = min(_LONGEST_PAUSE_S, pause * 1.5)
    return True


def new_holder() -> str:
    """Return a name that no other turn has."""
    return f"{os.getpid()}-{secrets.token_hex(8)}"
