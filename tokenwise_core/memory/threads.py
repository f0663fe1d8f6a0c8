"""A memory's threads: work beside an event loop, and behind a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from tokenwise_core.deadline import TooBusy, Workers

T = TypeVar("T")

WORK_S = 30.0
"""How long an awaited session waits for its store: its messages are the history, nothing stands in for them."""
MAX_THREADS = 8
MAX_SPARE = 64


class Threads:
    """The *workers*, and spare threads for an event loop that must not do itself what finds all workers taken."""

    def __init__(self, *, max_threads: int = MAX_THREADS, max_spare: int = MAX_SPARE) -> None:
        self.workers = Workers(max_threads=max_threads, name="tokenwise-memory")
        self._spare = Workers(max_threads=max_spare, name="tokenwise-memory-spare")

    def behind(self, function: Callable[[], object]) -> bool:
        """Do *function* in a thread, its errors unseen; at once, and False, where none is free and no loop runs."""
        if self.workers.submit(function) or (_is_on_loop() and self._spare.submit(function)):
            return True
        function()
        return False

    async def work(self, function: Callable[[], T]) -> T:
        """Return what *function* returns, without blocking the event loop."""
        for workers in (self.workers, self._spare):
            try:
                return await workers.arun(function, WORK_S)
            except TooBusy:  # it was not begun
                continue
        return function()  # dozens of threads hang: what is to be stored is not lost


def _is_on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
