"""Wakes a thread that waits: through a file of the system (an eventfd, a pipe) where there is one, else a lock.

A lock is released by a thread that holds the interpreter, so that on one core whoever is woken finds it taken and goes
to sleep again. A file is written to without the interpreter: a piece of work that is handed over and comes back takes
two switches of threads instead of four to six, and half the time (8 µs instead of 17, measured in Python 3.12).
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from tokenwise_core import process

T = TypeVar("T")
KEPT_BELLS = 16
"""Bells that are kept for the next who wait; each is a file descriptor or two."""
_LONGEST_S = 1_000_000.0
_HAS_FILES = hasattr(select, "poll")  # not on Windows
_ONE = (1).to_bytes(8, sys.byteorder)  # what an eventfd is written and read; eight bytes to a pipe


class Bell(Protocol):
    """Rings once for each time that it is waited at; one that was given up is not used again."""

    def ring(self) -> None:
        """Wake who waits; never raises."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait for the ringing; False past *timeout_s*."""
        ...


class Inbox(Protocol[T]):
    """What is put in by many is taken out by many, each by one, in order; a `SimpleQueue` is one."""

    def put(self, item: T) -> None:
        """Put in *item*; wakes one who waits."""
        ...

    def get(self) -> T:
        """Return the next item, waiting for it."""
        ...


class _Wire:
    """An eventfd, else a pipe. A forked child must not use it, and does not close it."""

    __slots__ = ("_pid", "_reading", "_writing")

    def __init__(self) -> None:
        self._pid = 0  # nothing to close where there is none to be had
        if hasattr(os, "eventfd"):  # Linux
            self._reading = self._writing = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        else:
            self._reading, self._writing = os.pipe()
        self._pid = process.pid

    def __del__(self) -> None:
        if self._pid == process.pid:
            os.close(self._reading)
            if self._writing != self._reading:
                os.close(self._writing)


class FileBell(_Wire):
    """A bell that is a file."""

    __slots__ = ("_poll",)

    def __init__(self) -> None:
        super().__init__()
        self._poll = select.poll()
        self._poll.register(self._reading, select.POLLIN)

    def ring(self) -> None:
        try:
            os.write(self._writing, _ONE)
        except OSError:  # somebody closed all files of the process: who waits is late
            return

    def wait(self, timeout_s: float) -> bool:
        if not self._poll.poll(1000 * min(max(timeout_s, 0.0), _LONGEST_S)):
            return False
        os.read(self._reading, len(_ONE))
        return True


class EdgeBell(_Wire):
    """A bell at which one is told of each ring once, and has nothing to read. Linux only."""

    __slots__ = ("_poll",)

    def __init__(self) -> None:
        super().__init__()
        self._poll = select.epoll(1)
        self._poll.register(self._reading, select.EPOLLIN | select.EPOLLET)

    def ring(self) -> None:
        try:
            os.write(self._writing, _ONE)
        except OSError:
            return

    def wait(self, timeout_s: float) -> bool:
        return bool(self._poll.poll(min(max(timeout_s, 0.0), _LONGEST_S), 1))


class FileInbox(_Wire, Generic[T]):
    """An inbox whose waiters sleep at a file. Raises OSError where somebody closed all files of the process."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        super().__init__()
        self._items: deque[T] = deque()

    def put(self, item: T) -> None:
        if self._pid == process.pid:  # a forked child would wake its parent's threads
            self._items.append(item)
            os.write(self._writing, _ONE)

    def get(self) -> T:
        os.read(self._reading, len(_ONE))
        return self._items.popleft()


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


def new_inbox() -> Inbox[T]:
    """Return the best inbox that is to be had."""
    if _HAS_FILES:
        try:
            return FileInbox()
        except OSError:  # no file descriptor is left
            pass
    return SimpleQueue()


def _new_bell() -> Bell:
    if _HAS_FILES:
        try:
            return EdgeBell() if hasattr(select, "epoll") else FileBell()
        except OSError:
            pass
    return LockBell()
