"""Asks a session store with patience, which has an end: a store that hangs costs seconds once, not each turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tokenwise_core.deadline import Breaker, TooBusy, TooLate, Workers
from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.memory.sessions import Sessions
from tokenwise_core.memory.stats import Counters

T = TypeVar("T")

PATIENCE_S = 2.0
"""How long a store is waited for: longer than for all else, as a history that is missing is a wrong answer."""
SLOW_S = 0.25
FAILURES, PAUSE_S = 3, 30.0
"""After so many slow failures in a row the store is left alone for so many seconds; then one try decides."""
_MAX_THREADS = 8


class StoreAccess:
    """One memory's way to its session store; what fails, or takes too long, is counted, and raised as `StoreError`.

    What is late goes on in its thread, so that something to be stored may be stored yet.
    """

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._workers = Workers(max_threads=_MAX_THREADS, name="tokenwise-memory-store")
        self._breaker = Breaker(clock=time.monotonic, failures=FAILURES, pause_s=PAUSE_S)

    def ask(self, sessions: Sessions, part: str, function: Callable[[], T]) -> T:
        """Return what *function* returns, which asks *sessions*; *part* is the name under which failures are counted.

        A store in this process's memory is asked at once: it cannot hang.
        """
        url = sessions.url
        if self._breaker.is_open:
            raise StoreError(f"{url} has failed several times: it is left alone for a while", url=url)
        began = self._breaker.now
        try:
            value = function() if url.startswith("memory:") else self._workers.run(function, PATIENCE_S)
        except (TooLate, TooBusy) as error:
            self._failed(part, began)
            raise StoreError(f"{url} takes longer than {PATIENCE_S:.0f} s", url=url) from error
        except BadInput:
            raise  # the caller's, not the store's
        except Exception as error:
            self._failed(part, began)
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{url}: {type(error).__name__}: {error}", url=url) from error
        self._breaker.succeeded()
        return value

    def _failed(self, part: str, began: float) -> None:
        self._counters.failed(f"store: {part}")
        if self._breaker.now - began > SLOW_S:  # one that refuses at once may be asked each time
            self._breaker.failed(since=began)
