"""Work with a time budget: it runs in threads of ours, and who waits for it never waits longer than the budget.

A thread that hangs cannot be stopped; it is left to itself, counted, and another takes its place, up to a limit. Past
that limit new work is refused at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from tokenwise_core.protocols import Clock

T = TypeVar("T")


class TooLate(Exception):
    """The time budget was spent before the work was done."""


class TooBusy(Exception):
    """All threads hang or are taken: the work was not begun."""


class _Task(Generic[T]):
    """One piece of work; *done* is called in the worker's thread when it has ended."""

    __slots__ = ("abandoned", "context", "done", "error", "function", "value")

    def __init__(self, function: Callable[[], T], done: Callable[[], None]) -> None:
        self.function, self.done = function, done
        self.context = contextvars.copy_context()
        self.value: T | None = None
        self.error: BaseException | None = None
        self.abandoned = False

    def run(self) -> None:
        if not self.abandoned:
            try:
                self.value = self.context.run(self.function)
            except BaseException as error:  # it is raised where the work was asked for
                self.error = error

    def result(self) -> T:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # set unless there is an error


class Workers:
    """Daemon threads that come with the work and stay; at most *max_threads*, hanging ones included.

    A forked child, a copy and a pickle start with none.
    """

    def __init__(self, *, max_threads: int = 16, name: str = "tokenwise") -> None:
        self._max, self._name = max_threads, name
        self._renew()

    def _renew(self) -> None:
        self._queue: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._idle = 0
        self._pid = os.getpid()
        self._finalizer = weakref.finalize(self, _stop, self._queue, self._max)
        self._finalizer.atexit = False

    def run(self, function: Callable[[], T], timeout_s: float) -> T:
        """Return what *function* returns, or raise what it raises; `TooLate` past *timeout_s* seconds.

        It runs in a copy of the caller's context.
        """
        waiting = threading.Lock()
        waiting.acquire()
        task = _Task(function, waiting.release)
        self._hand_over(task)
        if not waiting.acquire(timeout=max(timeout_s, 0.0)):
            task.abandoned = True
            raise TooLate
        return task.result()

    async def arun(self, function: Callable[[], T], timeout_s: float) -> T:
        """Do what `run` does without blocking the event loop."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not ended.done():
                ended.set_result(None)

        def done() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tell)

        task = _Task(function, done)
        self._hand_over(task)
        try:
            async with asyncio.timeout(max(timeout_s, 0.0)):
                await ended
        except TimeoutError:
            task.abandoned = True
            raise TooLate from None
        except asyncio.CancelledError:
            task.abandoned = True
            raise
        return task.result()

    def submit(self, function: Callable[[], object]) -> bool:
        """Run *function* behind, its result and errors unseen; False where no thread is free for it."""
        try:
            self._hand_over(_Task(function, _nothing))
        except TooBusy:
            return False
        return True

    def _hand_over(self, task: _Task[Any]) -> None:
        if self._pid != os.getpid():
            self._renew()
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < self._max:
                self._threads += 1
                threading.Thread(
                    target=_work, args=(weakref.ref(self), self._queue), name=self._name, daemon=True
                ).start()
            else:
                raise TooBusy
        self._queue.put(task)

    def freed(self, queue: object) -> None:
        """Note that a thread has ended its work."""
        with self._lock:
            if queue is self._queue:
                self._idle += 1

    def close(self) -> None:
        """Let the threads end when they have nothing left to do."""
        self._finalizer()
        self._renew()

    def __reduce__(self) -> tuple[Callable[..., Workers], tuple[int, str]]:
        return _workers, (self._max, self._name)


def _workers(max_threads: int, name: str) -> Workers:
    return Workers(max_threads=max_threads, name=name)


def _work(owner: weakref.ref[Workers], queue: SimpleQueue[_Task[Any] | None]) -> None:
    while (task := queue.get()) is not None:
        done = task.done
        task.run()
        workers = owner()
        if workers is not None:
            workers.freed(queue)  # before the caller goes on: its next work finds this thread idle
            del workers
        done()
        del task, done


def _stop(queue: SimpleQueue[_Task[Any] | None], threads: int) -> None:
    for _ in range(threads):
        queue.put(None)


def _nothing() -> None:
    return None


class Breaker:
    """Turns a lever off for *pause_s* seconds after *failures* in a row; then one try decides. Thread-safe."""

    def __init__(self, *, clock: Clock, failures: int = 5, pause_s: float = 30.0) -> None:
        self._clock, self._limit, self._pause_s = clock, failures, pause_s
        self._failures, self._closed_until = 0, 0.0
        self.trips = 0

    @property
    def is_open(self) -> bool:
        """Say whether the lever is off; asking after the pause lets one try through."""
        if self._failures < self._limit:
            return False
        now = self._clock()
        if now < self._closed_until:
            return True
        self._closed_until = now + self._pause_s  # others stay off until this try has shown how it goes
        return False

    @property
    def is_tripped(self) -> bool:
        """Say whether the lever is off, without letting a try through."""
        return self._failures >= self._limit

    def succeeded(self) -> None:
        """Close it."""
        self._failures = 0

    def failed(self) -> bool:
        """Count a failure in a row; True where this one turned the lever off."""
        self._failures += 1
        if self._failures < self._limit:
            return False
        self._closed_until = self._clock() + self._pause_s
        if self._failures == self._limit:
            self.trips += 1
            return True
        return False
