"""One thread for the background work of an index: there while there is work, gone when there is none."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread

from tokenwise_core.cache.index.segments import use_one_thread

log = logging.getLogger("tokenwise.cache")

Job = Callable[[], None]


class Worker:
    """Runs jobs one after the other. A job's failure is logged and counted, and goes no further."""

    def __init__(self) -> None:
        self.failures = 0
        self._jobs: deque[tuple[object, Job]] = deque()
        self._keys: set[object] = set()
        self._changed = Condition()
        self._running = False

    def submit(self, key: object, job: Job) -> bool:
        """Take over a job, unless one with the same *key* waits or runs."""
        with self._changed:
            if key in self._keys:
                return False
            self._keys.add(key)
            self._jobs.append((key, job))
            if not self._running:
                self._running = True
                Thread(target=self._run, name="tokenwise-index", daemon=True).start()  # may outlive a hurried exit
            return True

    def busy_with(self, key: object) -> bool:
        """Say whether a job with this *key* waits or runs."""
        return key in self._keys

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until all is done; False where it is not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_seconds)

    def drop(self) -> None:
        """Forget the jobs that wait."""
        with self._changed:
            self._keys.difference_update(key for key, _ in self._jobs)
            self._jobs.clear()

    def _run(self) -> None:
        use_one_thread()
        while True:
            with self._changed:
                if not self._jobs:
                    self._running = False
                    self._changed.notify_all()
                    return
                key, job = self._jobs.popleft()
            try:
                job()
            except Exception as error:  # the partition goes on serving what it has
                self.failures += 1
                log.warning("work on the cache's index failed: %s: %s", type(error).__name__, error)
            with self._changed:
                self._keys.discard(key)
