"""Writes behind the caller's back: entries, labels, hits and counts, from one thread, in batches.

Whoever hands something over never waits. What cannot be written is dropped and counted: a cache that loses an entry
has lost a hit, not an answer.
"""

from __future__ import annotations

import atexit
import multiprocessing
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.util import Finalize
from queue import Empty, SimpleQueue
from typing import Any

from tokenwise_core import process

EXIT_TIMEOUT_S = 2.0


class Behind:
    """One thread that hands batches of what was put in to *write*, in order, and calls *idle* about once a second.

    What can wait (`later`) wakes nobody: it is written before *idle*. *write* gets at most *batch* items and must not
    raise. A full queue drops what comes. A forked child starts with an empty queue: what the parent had queued, the
    parent writes. At the end of the process what is queued is written; *hurry* is called where that takes long.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Any]], None],
        idle: Callable[[], None],
        *,
        hurry: Callable[[], None] | None = None,
        queue_size: int = 10_000,
        batch: int = 256,
        interval_s: float = 1.0,
    ) -> None:
        self._hurry = hurry
        self._owner_write, self._owner_idle = weakref.WeakMethod(write), weakref.WeakMethod(idle)
        self._size, self._batch, self._interval_s = queue_size, batch, interval_s
        self.dropped = 0
        self._renew()

    def _renew(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self._later: deque[Any] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._pid = process.pid

    def put(self, item: object) -> bool:
        """Queue *item*; False where there is no room for it."""
        if self._pid != process.pid:
            self._renew()
        if self._stopped or self._queue.qsize() >= self._size:
            self.dropped += 1
            return False
        self._queue.put(item)
        if self._thread is None:
            self._start()
        return True

    def later(self, item: object) -> bool:
        """Queue *item* for the next second; False where there is no room for it."""
        if self._pid != process.pid:
            self._renew()
        if self._stopped or len(self._later) >= self._size:
            self.dropped += 1
            return False
        self._later.append(item)
        if self._thread is None:
            self._start()
        return True

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="tokenwise-cache-writer", daemon=True)
                try:
                    thread.start()
                except (
                    RuntimeError
                ):  # at a limit of the system, or while the interpreter ends: the next item tries again
                    return
                self._thread = thread
                atexit.register(self.stop)
                if multiprocessing.parent_process() is not None:  # a worker process ends without atexit
                    Finalize(self, _stop, args=(weakref.ref(self),), exitpriority=100)

    @property
    def is_running(self) -> bool:
        """Say whether there is a thread that writes."""
        return self._thread is not None and self._pid == process.pid

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was queued before is written, and *idle* was called; False past *timeout_s*."""
        if self._pid != process.pid:
            self._renew()
        if self._stopped:
            return True
        if self._thread is None:
            self._start()
        written = threading.Event()
        self._queue.put(written)
        return written.wait(timeout_s)

    def stop(self, timeout_s: float = EXIT_TIMEOUT_S) -> None:
        """Write what is queued, and end the thread; the next `put` is dropped."""
        if self._pid != process.pid or self._thread is None:
            return
        self._stopped = True
        self._queue.put(None)
        if self._thread is threading.current_thread():
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive() and self._hurry is not None:
            self._hurry()
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            atexit.unregister(self.stop)

    def _work(self) -> None:
        rested = time.monotonic()
        while True:
            items = self._collect()
            going_on = self._pass_on(items)
            asked = not going_on or any(isinstance(item, threading.Event) for item in items)
            if asked or time.monotonic() - rested >= self._interval_s:
                idle, rested = self._owner_idle(), time.monotonic()
                if idle is None:
                    return  # the cache is gone
                self._pass_on([self._later.popleft() for _ in range(len(self._later))])
                idle()
                del idle
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()
            if not going_on:
                return

    def _collect(self) -> list[Any]:
        """Return what is queued, waiting for the first item; empty where nothing came for a while."""
        items: list[Any] = []
        try:
            items.append(self._queue.get(timeout=self._interval_s))
            while len(items) < self._batch:
                items.append(self._queue.get_nowait())
        except Empty:
            pass
        return items

    def _pass_on(self, items: Sequence[Any]) -> bool:
        """Write the items; False where the end was among them."""
        write = self._owner_write()
        if write is None:
            return False
        plain = [item for item in items if item is not None and not isinstance(item, threading.Event)]
        if plain:
            write(plain)
        return None not in items


def _stop(owner: weakref.ref[Behind]) -> None:
    behind = owner()
    if behind is not None:
        behind.stop()
