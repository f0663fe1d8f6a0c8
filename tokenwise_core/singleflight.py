"""One call in flight for equal requests: who comes first leads, the others wait for what it brings."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Generic, TypeVar

T = TypeVar("T")
LOOK_S = 0.5
"""How often those who wait look whether the call has come to depend on a reader."""


class _Landing(Future[T]):
    """Where a call in flight will land; monotonic seconds of its beginning, and of when nobody waits any more."""

    def __init__(self) -> None:
        super().__init__()
        self.began = time.monotonic()
        self.ends_by = float("inf")


class Flight(Generic[T]):
    """One caller's part in a call: the leader must end it with `finish` or `fail`, whoever else waits for that.

    Ending twice is harmless: the first end counts.
    """

    __slots__ = ("_flights", "_future", "_key", "leads")

    def __init__(self, flights: SingleFlight[T], key: Hashable, future: _Landing[T | None], *, leads: bool) -> None:
        self._flights, self._key, self._future, self.leads = flights, key, future, leads

    def finish(self, value: T) -> None:
        """Give *value* to all who wait."""
        self._end(value)

    def fail(self) -> None:
        """Let those who wait go without: one of them will lead anew."""
        self._end(None)

    def depends_on_a_reader(self, patience_s: float) -> None:
        """Say that this call goes on only as fast as somebody reads it: nobody waits longer than *patience_s* for it,
        from its beginning on.
        """
        self._future.ends_by = self._future.began + patience_s

    def wait(self, timeout_s: float) -> T | None:
        """Return the leader's value; None where it failed, or took longer than *timeout_s* or than its reader may."""
        until = time.monotonic() + timeout_s
        while (left := self._left(until)) > 0:
            try:
                return self._future.result(min(left, LOOK_S))
            except FutureTimeout:
                continue
        return None

    async def await_(self, timeout_s: float) -> T | None:
        """Do what `wait` does without blocking the event loop; cancelling it cancels nobody else's wait."""
        until = time.monotonic() + timeout_s
        ended = asyncio.wrap_future(self._future)
        while (left := self._left(until)) > 0:
            try:
                return await asyncio.wait_for(asyncio.shield(ended), min(left, LOOK_S))
            except TimeoutError:
                continue
        return None

    def _left(self, until: float) -> float:
        return min(until, self._future.ends_by) - time.monotonic()

    def _end(self, value: T | None) -> None:
        if self.leads and not self._future.done():
            self._flights.forget(self._key, self._future)
            self._future.set_result(value)


class SingleFlight(Generic[T]):
    """The calls in flight of one process, by key. Thread-safe; works between threads and event loops alike.

    A forked child starts with none: those who led in the parent will not answer here.
    """

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Landing[T | None]] = {}
        self._pid = os.getpid()

    def join(self, key: Hashable) -> Flight[T]:
        """Return the caller's part in the call under *key*: it leads where nobody else does."""
        if self._pid != os.getpid():
            self._renew()
        with self._lock:
            future = self._flights.get(key)
            if future is not None:
                return Flight(self, key, future, leads=False)
            future = self._flights[key] = _Landing()
            return Flight(self, key, future, leads=True)

    def forget(self, key: Hashable, future: _Landing[T | None]) -> None:
        """Take a call that has ended off the list."""
        with self._lock:
            if self._flights.get(key) is future:
                del self._flights[key]

    def __len__(self) -> int:
        return len(self._flights)

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: object) -> None:
        self._renew()

    def __reduce__(self) -> tuple[type[SingleFlight[T]], tuple[()]]:
        return type(self), ()
