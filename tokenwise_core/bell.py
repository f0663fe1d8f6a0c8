"""Wakes a thread that waits, with a time limit: a pipe where the system has one to wait at, a lock elsewhere.

A lock is released by a thread that holds the interpreter, so that on one core whoever is woken finds it taken and goes
to sleep again: six switches of threads for a piece of work that is handed over and comes back, where two will do. A
pipe is written to without the interpreter, which takes 10 µs less.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import Protocol

from tokenwise_core import process

KEPT_BELLS = 16
"""Bells that are kept for the next who wait; each is two file descriptors."""
_LONGEST_S = 1_000_000.0


class Bell(Protocol):
    """Rings once for each time that it is waited at; one that was given up is not used again."""

    def ring(self) -> None:
        """Wake who waits; never raises."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait for the ringing; False past *timeout_s*."""
        ...


class PipeBell:
    """A bell that is a pipe. A forked child must not use it, and does not close it."""

    __slots__ = ("_pid", "_poll", "_reading", "_writing")

    def __init__(self) -> None:
        self._pid = 0  # nothing to close where there is no pipe to be had
        self._reading, self._writing = os.pipe()
        self._pid = process.pid
        self._poll = select.poll()
        self._poll.register(self._reading, select.POLLIN)

    def ring(self) -> None:
        try:
            os.write(self._writing, b"\0")
        except OSError:  # somebody closed all files of the process: who waits is late
            return

    def wait(self, timeout_s: float) -> bool:
        if not self._poll.poll(1000 * min(max(timeout_s, 0.0), _LONGEST_S)):
            return False
        os.read(self._reading, 1)
        return True

    def __del__(self) -> None:
        if self._pid == process.pid:
            os.close(self._reading)
            os.close(self._writing)


class LockBell:
    """A bell that is a lock."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        self._lock.release()

    def wait(self, timeout_s: float) -> bool:
        return self._lock.acquire(timeout=min(max(timeout_s, 0.0), _LONGEST_S))


class Bells:
    """Lends bells; thread-safe."""

    def __init__(self) -> None:
        self._idle: deque[Bell] = deque(maxlen=KEPT_BELLS)

    def take(self) -> Bell:
        """Return a bell that nobody else waits at; give it back with `give` once it has rung."""
        try:
            return self._idle.pop()
        except IndexError:
            return _new_bell()

    def give(self, bell: Bell) -> None:
        """Keep a bell that has rung."""
        self._idle.append(bell)


def _new_bell() -> Bell:
    if hasattr(select, "poll"):  # not on Windows
        try:
            return PipeBell()
        except OSError:  # no file descriptor is left
            pass
    return LockBell()
