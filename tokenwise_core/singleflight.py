"""One call in flight for equal requests: who comes first leads, the others wait for what it brings."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Hashable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Flight(Generic[T]):
    """One caller's part in a call: the leader must end it with `finish` or `fail`, whoever else waits for that.

    Ending twice is harmless: the first end counts.
    """

    __slots__ = ("_flights", "_future", "_key", "leads")

    def __init__(self, flights: SingleFlight[T], key: Hashable, future: Future[T | None], *, leads: bool) -> None:
        self._flights, self._key, self._future, self.leads = flights, key, future, leads

    def finish(self, value: T) -> None:
        """Give *value* to all who wait."""
        self._end(value)

    def fail(self) -> None:
        """Let those who wait go without: one of them will lead anew."""
        self._end(None)

    def wait(self, timeout_s: float | None = None) -> T | None:
        """Return the leader's value; None where it failed or took longer."""
        try:
            return self._future.result(timeout_s)
        except FutureTimeout:
            return None

    async def await_(self, timeout_s: float | None = None) -> T | None:
        """Do what `wait` does without blocking the event loop; cancelling it cancels nobody else's wait."""
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._future)), timeout_s)
        except TimeoutError:
            return None

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
        self._flights: dict[Hashable, Future[T | None]] = {}
        self._pid = os.getpid()

    def join(self, key: Hashable) -> Flight[T]:
        """Return the caller's part in the call under *key*: it leads where nobody else does."""
        if self._pid != os.getpid():
            self._renew()
        with self._lock:
            future = self._flights.get(key)
            if future is not None:
                return Flight(self, key, future, leads=False)
            future = self._flights[key] = Future()
            return Flight(self, key, future, leads=True)

    def forget(self, key: Hashable, future: Future[T | None]) -> None:
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
