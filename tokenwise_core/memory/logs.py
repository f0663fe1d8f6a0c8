"""The sessions' logs that an adapter keeps open, with the memory that they belong to and for as long as it lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from itertools import islice
from typing import Any, Protocol

KEPT = 512


class Open(Protocol):
    """A log as an adapter keeps it."""

    @property
    def waits(self) -> bool:
        """Say whether it holds something that the store has not taken yet."""
        ...


class Logs:
    """At most *kept* logs, those used last; one that waits for its store is never let go. Thread-safe."""

    def __init__(self, *, kept: int = KEPT) -> None:
        self._kept = kept
        self._known: dict[Hashable, Open] = {}  # in the order of their last use
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Open]) -> Any:
        """Return the log under *key*, the same for all who ask; made where there is none."""
        with self._lock:
            found = self._known.pop(key, None) or make()
            self._known[key] = found
            over = len(self._known) - self._kept
            if over > 0:
                free = (name for name, log in self._known.items() if log is not found and not log.waits)
                for name in list(islice(free, over)):
                    del self._known[name]
            return found

    def __len__(self) -> int:
        return len(self._known)
