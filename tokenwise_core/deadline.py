"""Work with a time budget: it runs in threads of ours, and who waits for it never waits longer than the budget.

A thread that hangs cannot be stopped; it is left to itself, counted, and another takes its place, up to a limit. Where
all threads are at work, more work waits for one, within its budget; where all of them hang, it is refused at once.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tokenwise_core import process
from tokenwise_core.bell import Bells, Inbox, new_inbox
from tokenwise_core.protocols import Clock

T = TypeVar("T")


EXIT_TIMEOUT_S = 3.0
"""How long threads at work may hold up the end of a process."""


class TooLate(Exception):
    """The time budget was spent before the work was done."""


class TooBusy(Exception):
    """All threads hang, or were taken for the whole of the time budget: the work was not begun."""


class _Task(Generic[T]):
    """One piece of work; *done* is called in the worker's thread when it has ended."""

    __slots__ = ("abandoned", "begun", "context", "done", "ended", "error", "function", "queue", "value")

    def __init__(self, function: Callable[[], T], done: Callable[[], None]) -> None:
        self.function, self.done = function, done
        self.context = contextvars.copy_context()
        self.value: T | None = None
        self.error: BaseException | None = None
        self.abandoned = self.begun = self.ended = False
        self.queue: object = None

    def run(self) -> None:
        if self.begun:
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

    At most *max_waiting* pieces of work wait for a thread. A forked child, a copy and a pickle start with no threads.
    """

    def __init__(self, *, max_threads: int = 16, max_waiting: int = 1000, name: str = "tokenwise") -> None:
        self._max, self._max_waiting, self._name = max_threads, max_waiting, name
        self._renew()
        _living.add(self)

    def _renew(self) -> None:
        self._queue: Inbox[_Task[Any] | None] = new_inbox()
        self._bells = Bells()
        self._lock = threading.Lock()
        self._threads = self._idle = self._waiting = self._hanging = 0
        self._pid = process.pid
        self._finalizer = weakref.finalize(self, _stop, self._queue, self._max)
        self._finalizer.atexit = False

    def run(self, function: Callable[[], T], timeout_s: float) -> T:
        """Return what *function* returns, or raise what it raises; past *timeout_s* seconds `TooLate`, or `TooBusy`.

        It runs in a copy of the caller's context.
        """
        if self._pid != process.pid:
            self._renew()
        bell = self._bells.take()
        task = _Task(function, bell.ring)
        self._hand_over(task, may_wait=True)
        if bell.wait(timeout_s):
            self._bells.give(bell)
        else:
            self._give_up(task)  # and the bell: it may ring yet
        if task.error is not None:
            raise task.error
        return task.value  # type: ignore[return-value]  # set unless there is an error

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

        self._own_threads()
        task = _Task(function, done)
        self._hand_over(task, may_wait=True)
        try:
            async with asyncio.timeout(max(timeout_s, 0.0)):
                await ended
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self._leave(task)
            raise
        else:
            return task.result()
        self._give_up(task)
        return task.result()

    def submit(self, function: Callable[[], object]) -> bool:
        """Run *function* behind, its result and errors unseen; False where no thread is free for it."""
        self._own_threads()
        try:
            self._hand_over(_Task(function, _nothing), may_wait=False)
        except TooBusy:
            return False
        return True

    def _own_threads(self) -> None:
        """Begin anew in a forked child."""
        if self._pid != process.pid:
            self._renew()

    def _hand_over(self, task: _Task[Any], *, may_wait: bool) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < self._max:
                self._threads += 1
                threading.Thread(
                    target=_work, args=(weakref.ref(self), self._queue), name=self._name, daemon=True
                ).start()
            elif may_wait and self._hanging < self._max and self._waiting < self._max_waiting:
                self._waiting += 1
            else:
                raise TooBusy
            task.queue = queue = self._queue
        try:
            queue.put(task)  # not under the lock: the thread that takes it needs the lock first of all
        except OSError as error:  # somebody closed all files of the process
            self._renew()
            raise TooBusy from error

    def _give_up(self, task: _Task[Any]) -> None:
        """Leave late work to itself and say so; return where it has ended after all."""
        if self._leave(task):
            raise TooLate if task.begun else TooBusy

    def _leave(self, task: _Task[Any]) -> bool:
        """Leave work to itself; False where it has ended."""
        with self._lock:
            if not task.ended:
                task.abandoned = True
                self._hanging += task.begun and task.queue is self._queue
            return not task.ended

    def begins(self, task: _Task[Any]) -> None:
        """Note that a thread has come to *task*, which is not begun where nobody waits for it any more."""
        with self._lock:
            task.begun = not task.abandoned

    def freed(self, task: _Task[Any]) -> None:
        """Note that a thread has ended *task*; what waits is its next work."""
        with self._lock:
            task.ended = True
            if task.queue is not self._queue:
                return
            self._hanging -= task.begun and task.abandoned
            if self._waiting:
                self._waiting -= 1
            else:
                self._idle += 1

    def rest(self, timeout_s: float) -> bool:
        """Wait until no thread is at work; False past *timeout_s*."""
        until = time.monotonic() + timeout_s
        while self._pid == process.pid and self._idle < self._threads:
            if time.monotonic() >= until:
                return False
            time.sleep(0.005)
        return True

    def close(self) -> None:
        """Let the threads end when they have nothing left to do."""
        self._finalizer()
        self._renew()

    def __reduce__(self) -> tuple[Callable[..., Workers], tuple[int, int, str]]:
        return _workers, (self._max, self._max_waiting, self._name)


_living: weakref.WeakSet[Workers] = weakref.WeakSet()
_ending = threading.Event()


def is_ending() -> bool:
    """Say whether the process is about to end: work of many steps, which is done behind, begins no other one."""
    return _ending.is_set()


@atexit.register
def _rest_all() -> None:
    """Let what is at work end before the interpreter does.

    CPython ends a daemon thread where it comes back from native code: within C++ (a model that is loading, say) that
    aborts the process.
    """
    _ending.set()
    until = time.monotonic() + EXIT_TIMEOUT_S
    for workers in list(_living):
        workers.rest(max(until - time.monotonic(), 0.0))


def _workers(max_threads: int, max_waiting: int, name: str) -> Workers:
    return Workers(max_threads=max_threads, max_waiting=max_waiting, name=name)


def _work(owner: weakref.ref[Workers], queue: Inbox[_Task[Any] | None]) -> None:
    while (task := queue.get()) is not None:
        workers = owner()
        if workers is not None:
            workers.begins(task)
            del workers
        task.run()
        workers = owner()
        if workers is not None:
            workers.freed(task)  # before the caller goes on: its next work finds this thread idle
            del workers
        task.done()
        del task


def _stop(queue: Inbox[_Task[Any] | None], threads: int) -> None:
    for _ in range(threads):
        queue.put(None)


def _nothing() -> None:
    return None


class Breaker:
    """Turns a lever off for *pause_s* seconds after *failures* in a row; then one try decides. Thread-safe."""

    def __init__(self, *, clock: Clock, failures: int = 5, pause_s: float = 30.0) -> None:
        self._clock, self._limit, self._pause_s = clock, failures, pause_s
        self._failures, self._closed_until, self._failed_at = 0, 0.0, float("-inf")
        self.trips = 0

    @property
    def now(self) -> float:
        """Return the time by the breaker's clock."""
        return self._clock()

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

    def failed(self, *, since: float | None = None) -> bool:
        """Count a failure in a row; True where this one turned the lever off.

        What ran side by side fails once: work that was begun, at *since*, before the last failure is not counted.
        """
        if since is not None and since < self._failed_at:
            return False
        self._failed_at = self._clock()
        self._failures += 1
        if self._failures < self._limit:
            return False
        self._closed_until = self._clock() + self._pause_s
        if self._failures == self._limit:
            self.trips += 1
            return True
        return False
