"""Write-behind: a call hands its event over in a microsecond, one thread writes them in batches."""

from __future__ import annotations

import asyncio
import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tokenwise_core.protocols import Clock
from tokenwise_core.usage.store.protocol import Retention, Store
from tokenwise_core.usage.writer import EXIT_TIMEOUT_S, Redact, Subscriber, Work, Writer, WriterOptions

__all__ = ["Recorder", "RecorderStats", "Work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderStats:
    """What was handed over in this process, and what became of it.

    submitted = written + duplicates + dropped + failed + skipped + queued. *duplicates* had an id that was stored
    already; *dropped* found no room, a closed recorder or no working store; *failed* could not be made or stored;
    *skipped* is work that made no event. *queued* counts what is being written too.
    """

    submitted: int
    written: int
    duplicates: int
    dropped: int
    failed: int
    skipped: int
    queued: int


class Recorder:
    """Takes events from any thread or task, and writes them to *store* from one thread of its own.

    `submit` never raises, waits or touches the store. A full queue drops what comes (counted, one warning). While the
    store fails, a batch is tried again with growing pauses for *retry_s* seconds, then dropped and counted. *redact*
    is given the text of an event that has one before anybody else sees it, and returns what to keep (None: nothing);
    where it fails, the text is dropped. Without a *store* the events go to the subscribers alone.

    A forked child starts with an empty queue: what the parent had queued, the parent writes. A deep copy is the same
    recorder; a pickle carries the settings.
    """

    def __init__(
        self,
        store: Store | None,
        *,
        queue_size: int = 100_000,
        batch: int = 5_000,
        interval_s: float = 0.2,
        retry_s: float = 30.0,
        retention: Retention | None = None,
        redact: Redact | None = None,
        clock: Clock = time.time,
    ) -> None:
        self.store = store
        self._queue_size = queue_size
        self._options = WriterOptions(
            batch=batch, interval_s=interval_s, retry_s=retry_s, retention=retention, redact=redact, clock=clock
        )
        self._closed = False
        self._renew()

    def _renew(self, previous: Writer | None = None) -> None:
        """Begin with an empty queue in this process."""
        writer = Writer(self.store, self._options)
        if previous is not None:
            writer.subscribers, writer.followers = previous.subscribers, previous.followers
        self._writer, self._pid = writer, os.getpid()
        weakref.finalize(self, writer.stop).atexit = False  # the thread must not outlive a forgotten recorder

    def submit(self, work: Work) -> None:
        """Hand over an event, or a callable that makes it: the callable runs in the writer thread."""
        if self._pid != os.getpid():
            self._renew(self._writer)
        writer = self._writer
        waiting = len(writer.queue)
        if self._closed or waiting >= self._queue_size:
            writer.refuse(full=not self._closed)
            return
        writer.queue.append(work)
        if not writer.wake.is_set():
            writer.wake.set()
            writer.start()
        elif waiting >= self._options.batch and not writer.hurry.is_set():
            writer.hurry.set()

    def subscribe(self, callback: Subscriber) -> Callable[[], None]:
        """Call *callback* with every finished event, in the writer thread; return what ends that."""
        self._writer.subscribers = (*self._writer.subscribers, callback)

        def unsubscribe() -> None:
            self._writer.subscribers = tuple(other for other in self._writer.subscribers if other is not callback)

        return unsubscribe

    def after_write(self, callback: Callable[[], None]) -> None:
        """Call *callback* in the writer thread after each batch: for state that is kept beside the events."""
        self._writer.followers = (*self._writer.followers, callback)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was submitted before is done; return False when that took longer than *timeout_s*.

        Called by a subscriber it returns False at once: the writer cannot wait for itself.
        """
        return self._pid != os.getpid() or self._writer.flush(timeout_s)

    def settle(self, timeout_s: float | None = None) -> bool:
        """Wait as `flush`, but only until the events are made and shown to the subscribers: storing may take longer."""
        return self._pid != os.getpid() or self._writer.flush(timeout_s, stored=False)

    async def aflush(self, timeout_s: float | None = None) -> bool:
        """Do as `flush`, without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout_s)

    def close(self, timeout_s: float | None = EXIT_TIMEOUT_S) -> bool:
        """Write what is queued, end the thread, close the store; return False when that took longer than *timeout_s*.

        Later submissions are dropped and counted.
        """
        self._closed = True
        done = self._pid != os.getpid() or self._writer.finish(timeout_s)
        if done and self.store is not None:
            self.store.close()
        return done

    async def aclose(self, timeout_s: float | None = EXIT_TIMEOUT_S) -> bool:
        """Do as `close`, without blocking the event loop."""
        return await asyncio.to_thread(self.close, timeout_s)

    def stats(self) -> RecorderStats:
        """Return the counts."""
        writer = self._writer
        counts, queued = dict(writer.counts), writer.waiting
        return RecorderStats(submitted=sum(counts.values()) + queued, queued=queued, **counts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "_queue_size": self._queue_size, "_options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._closed = False
        self._renew()
