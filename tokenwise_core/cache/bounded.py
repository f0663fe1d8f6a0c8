"""Work on a store that may fail, hang or be slow: it has a deadline, and whatever goes wrong is None and a count."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from tokenwise_core.deadline import Breaker, TooBusy, TooLate, Workers
from tokenwise_core.switch import enabled

log = logging.getLogger("tokenwise.cache")
T = TypeVar("T")

THREADS = 8


class Bounded:
    """Runs work in threads of its own, each within *deadline_s*; *failed* is called for what failed or was late.

    Where all threads are at work it waits for one, within the same deadline. After five failures in a row nothing is
    tried for half a minute.
    """

    def __init__(self, name: str, *, deadline_s: float, failed: Callable[[], None]) -> None:
        self._name, self._deadline_s, self._on_failure = name, deadline_s, failed
        self._workers = Workers(max_threads=THREADS, name=name)
        self._breaker = Breaker(clock=time.monotonic)

    def run(self, work: Callable[[], T]) -> T | None:
        """Return what *work* returns; None where it fails or is late."""
        if self._is_off:
            return None
        try:
            value = self._workers.run(work, self._deadline_s)
        except (TooLate, TooBusy, Exception) as error:
            self._failed(error)
            return None
        self._breaker.succeeded()
        return value

    async def arun(self, work: Callable[[], T]) -> T | None:
        """Do what `run` does without blocking the event loop."""
        if self._is_off:
            return None
        try:
            value = await self._workers.arun(work, self._deadline_s)
        except (TooLate, TooBusy, Exception) as error:
            self._failed(error)
            return None
        self._breaker.succeeded()
        return value

    def behind(self, work: Callable[[], object]) -> None:
        """Run *work* behind; its failure is counted."""

        def quietly() -> None:
            try:
                work()
            except Exception as error:
                self._failed(error)

        if not self._is_off:
            self._workers.submit(quietly)

    @property
    def _is_off(self) -> bool:
        return not enabled() or self._breaker.is_open

    def _failed(self, error: Exception) -> None:
        self._on_failure()
        self._breaker.failed()
        log.warning("%s: the store failed (%s), going on without", self._name, type(error).__name__)
