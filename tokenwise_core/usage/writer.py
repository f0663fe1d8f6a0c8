"""The thread behind the recorder: makes the events, shows them to the subscribers, stores them in batches."""

from __future__ import annotations

import atexit
import logging
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.util import Finalize
from threading import Event, Lock, Thread, current_thread
from weakref import WeakSet

from tokenwise_core.errors import StoreError
from tokenwise_core.protocols import Clock
from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.store.protocol import Retention, Store

log = logging.getLogger("tokenwise.recorder")

Work = UsageEvent | Callable[[], UsageEvent | None]
"""A finished event, or what makes one in the writer thread (None: there is nothing to record)."""
Subscriber = Callable[[UsageEvent], None]
Redact = Callable[[str], str | None]

EXIT_TIMEOUT_S = 5.0
"""How long the end of the interpreter waits for what is still queued."""
REPEAT_LOG_S = 60.0
RETAIN_EVERY_S = 3600.0
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """How a recorder writes; see `Recorder`."""

    batch: int
    interval_s: float
    retry_s: float
    retention: Retention | None
    redact: Redact | None
    clock: Clock


AHEAD = 10
"""Batches of events that are made ahead while the store fails."""
FORK_WAIT_S = 2.0
"""How long a fork waits for the writer to come to rest."""


class Marker(Event):
    """Stands in the queue behind all that was submitted before it; set when that is made, or *stored* too."""

    def __init__(self, *, stored: bool) -> None:
        super().__init__()
        self.stored = stored


class Writer:
    """The queue and its thread, in one process. The thread starts with the first work."""

    def __init__(self, store: Store | None, options: WriterOptions) -> None:
        self.queue: deque[Work | Marker] = deque()
        self.wake, self.hurry = Event(), Event()
        self.subscribers: tuple[Subscriber, ...] = ()
        self.followers: tuple[Callable[[], None], ...] = ()
        self.thread: Thread | None = None
        self.counts = dict.fromkeys(("written", "duplicates", "dropped", "failed", "skipped"), 0)
        self.in_flight = 0
        self.forking = self.held = False
        self.busy, self.resumed = Lock(), Event()
        self._ahead: deque[UsageEvent | Marker] = deque()
        self._store, self._options = store, options
        self._stop = Event()
        self._lock = Lock()
        self._warned: dict[str, float] = {}
        self._retain_at = 0.0
        _writers.add(self)
        self._broken = False  # after a batch was given up, the next ones are tried once, until one is stored

    # --- called from any thread -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread unless it runs."""
        with self._lock:
            if self.thread is not None and self.thread.is_alive():
                return
            self.thread = Thread(target=self._run, name="tokenwise-recorder", daemon=True)
            try:
                self.thread.start()
            except RuntimeError as error:  # at a limit of the system, or while the interpreter ends
                self.thread = None
                self.wake.clear()  # so that the next work tries again
                self._warn("the writer cannot start: %s", error)
                return
        atexit.register(self.finish, EXIT_TIMEOUT_S)
        if multiprocessing.parent_process() is not None:  # a worker process ends without atexit
            Finalize(None, self.finish, args=(EXIT_TIMEOUT_S,), exitpriority=100)

    @property
    def waiting(self) -> int:
        """How much is not stored yet."""
        return len(self.queue) + len(self._ahead) + self.in_flight

    def flush(self, timeout_s: float | None, *, stored: bool = True) -> bool:
        """Wait until what stands in the queue is made, and stored; False when that took longer than *timeout_s*.

        False too when the thread asks itself.
        """
        if self.thread is current_thread():
            return False
        if not self.queue and (self.thread is None or not self.thread.is_alive()):
            return True
        marker = Marker(stored=stored)
        self.queue.append(marker)
        self.start()
        if self.thread is None:
            return False
        self.hurry.set()
        self.wake.set()
        return marker.wait(timeout_s)

    def finish(self, timeout_s: float | None) -> bool:
        """Write what is queued and end the thread; False when that took longer."""
        done = self.flush(timeout_s)
        self.stop()
        thread = self.thread
        if thread is not None and thread is not current_thread():
            thread.join(timeout_s if done else FIRST_BACKOFF_S)
        atexit.unregister(self.finish)
        return done

    def stop(self) -> None:
        """Let the thread end as soon as the queue is empty."""
        self._stop.set()
        self.hurry.set()
        self.wake.set()

    def refuse(self, *, full: bool) -> None:
        """Count work that is not taken."""
        self._count("dropped")
        if full:
            self._warn("the queue is full (%d waiting): events are dropped", len(self.queue))

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not (self._stop.is_set() and not self.queue and not self._ahead):
                if not self._ahead:
                    self.wake.wait(0 if self._stop.is_set() else None)
                self.hurry.wait(self._options.interval_s)  # let a batch gather
                self.wake.clear()
                self.hurry.clear()
                with self.busy:
                    while self.queue or self._ahead:
                        self._take_batch()
                    self._retain()
        finally:
            self.wake.clear()  # whatever ended the thread: the next work starts another

    def _take_batch(self) -> None:
        """Make a batch of events, behind those made ahead, and store it."""
        self._make(self._options.batch)
        taken = [self._ahead.popleft() for _ in range(min(len(self._ahead), self._options.batch))]
        events = [one for one in taken if not isinstance(one, Marker)]
        self.in_flight = len(events)
        try:
            self._write(events)
            self._follow()
        finally:
            self.in_flight = 0
            for one in taken:
                if isinstance(one, Marker):
                    one.set()

    def _make(self, room: int) -> None:
        """Make events of what stands in the queue, until *room* are waiting to be stored."""
        while self.queue and len(self._ahead) < room:
            work = self.queue.popleft()
            if not isinstance(work, Marker):
                event = self._finished(work)
                if event is not None:
                    self._show(event)
                    self._ahead.append(event)
            elif work.stored:
                self._ahead.append(work)
            else:
                work.set()
            self._let_fork()

    def _let_fork(self) -> None:
        """Come to rest, holding nothing, while another thread forks the process."""
        if self.forking:
            self.busy.release()
            self.resumed.wait(FORK_WAIT_S)
            self.busy.acquire()

    def _pause(self, seconds: float) -> bool:
        """Wait, making events ahead meanwhile; True when the thread should end instead."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._make(AHEAD * self._options.batch)
            self.busy.release()
            try:
                if self._stop.wait(min(left, FIRST_BACKOFF_S)):
                    return True
            finally:
                self.busy.acquire()
        return False

    def _finished(self, work: Work) -> UsageEvent | None:
        """Make the event; whatever goes wrong costs this one event."""
        try:
            event = work if isinstance(work, UsageEvent) else work()
        except Exception as error:  # fail open: nothing of ours may reach the application
            self._count("failed")
            self._warn("an event could not be made: %s", type(error).__name__)
            return None
        if event is None:
            self._count("skipped")
            return None
        return event if event.text is None else replace(event, text=self._redacted(event.text))

    def _redacted(self, text: str) -> str | None:
        if self._options.redact is None:
            return text
        try:
            return self._options.redact(text)
        except Exception as error:  # the user's hook may do anything
            self._warn("the redact hook failed, the text is dropped: %s", type(error).__name__)
            return None

    def _show(self, event: UsageEvent) -> None:
        for subscriber in self.subscribers:
            try:
                subscriber(event)
            except Exception as error:  # one subscriber's trouble is not the others'
                self._warn("a subscriber failed: %s", type(error).__name__)

    def _follow(self) -> None:
        """Let what is kept beside the events be written too, unless the store is at fault already."""
        for follower in () if self._broken else self.followers:
            try:
                follower()
            except Exception as error:
                self._warn("what is kept beside the events could not be stored: %s", type(error).__name__)

    def _write(self, events: list[UsageEvent]) -> None:
        """Store *events*: again with growing pauses while the store fails, one by one when an event is at fault."""
        give_up, pause = time.monotonic() + (0 if self._broken else self._options.retry_s), FIRST_BACKOFF_S
        while events:
            try:
                new = len(events) if self._store is None else self._store.add(events)
            except StoreError as error:
                if time.monotonic() + pause > give_up or self._pause(pause):
                    self._broken = True
                    self._count("dropped", len(events))
                    self._warn("the store fails, %d events are dropped: %s", len(events), error)
                    return
                self._warn("the store fails, trying again: %s", error)
                pause = min(2 * pause, LONGEST_BACKOFF_S)
            except Exception as error:  # an event that no store can keep
                self._write_one_by_one(events, error)
                return
            else:
                self._broken = False
                self._count("written", new)
                self._count("duplicates", len(events) - new)
                return

    def _write_one_by_one(self, events: list[UsageEvent], error: Exception) -> None:
        if len(events) == 1:
            self._count("failed")
            self._warn("an event could not be stored: %s", type(error).__name__)
            return
        for event in events:
            self._write([event])

    def _count(self, what: str, n: int = 1) -> None:
        with self._lock:
            self.counts[what] += n

    def _retain(self) -> None:
        """Delete what is too old, once an hour."""
        retention, now = self._options.retention, self._options.clock()
        if self._store is None or retention is None or now < self._retain_at:
            return
        self._retain_at = now + RETAIN_EVERY_S
        try:
            self._store.retain(retention, now=now)
        except Exception as error:  # tried again in an hour
            self._warn("old events could not be deleted: %s", type(error).__name__)

    def _warn(self, message: str, *arguments: object) -> None:
        """Log each kind of trouble at most once a minute."""
        now = time.monotonic()
        if now - self._warned.get(message, -REPEAT_LOG_S) >= REPEAT_LOG_S:
            self._warned[message] = now
            log.warning(message, *arguments)


_writers: WeakSet[Writer] = WeakSet()
"""All writers of this process: a fork waits for them, so that a child inherits no lock that nobody will release."""


def _before_fork() -> None:
    for writer in tuple(_writers):
        if writer.thread is not None and writer.thread is not current_thread() and writer.thread.is_alive():
            writer.resumed.clear()
            writer.forking = True
            writer.held = writer.busy.acquire(timeout=FORK_WAIT_S)


def _after_fork_in_parent() -> None:
    for writer in tuple(_writers):
        if writer.forking:
            writer.forking = False
            if writer.held:
                writer.busy.release()
            writer.resumed.set()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
