"""Summaries in the making: behind the request, under a lease, so that no two workers make the same one."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from cachetools import LRUCache

from tokenwise_core.deadline import Workers
from tokenwise_core.errors import StoreError
from tokenwise_core.memory.sessions import Sessions
from tokenwise_core.memory.sessions.protocol import owner_here
from tokenwise_core.memory.view import Block
from tokenwise_core.protocols import Clock
from tokenwise_core.said import Said

log = logging.getLogger("tokenwise.memory")

LEASE_S = 120.0
"""After how long a summary that was begun and not finished may be begun by another."""
PAUSES_S = (2.0, 10.0, 60.0, 300.0)
"""How long a block whose summary failed rests before the next try: after the first failure, the second, …"""
MAX_THREADS = 4
_KEPT = 1024

Made = Mapping[str, Any]
_Name = tuple[str, str]


class Summariser:
    """Makes summaries in threads of its own and keeps them in *sessions* until they are committed.

    A worker that dies leaves a lease that runs out; what it had finished, any other finds. Where the store is down
    summaries stay in this process. Counters: "made", "failed", "taken" (another worker is at it), "store".
    """

    def __init__(self, sessions: Sessions, *, clock: Clock = time.time) -> None:
        self._sessions, self._clock = sessions, clock
        self._renew()

    def _renew(self) -> None:
        self._pid = os.getpid()
        self._holder = f"{os.getpid()}-{uuid4().hex[:12]}"
        self._workers = Workers(max_threads=MAX_THREADS, name="tokenwise-summary")
        self._changed = threading.Condition()
        self._said = Said()
        self._under_way: set[_Name] = set()
        self._done: LRUCache[_Name, Made] = LRUCache(_KEPT)
        self._failed: LRUCache[_Name, tuple[int, float]] = LRUCache(_KEPT)
        self.counts: Counter[str] = Counter()

    def _own(self) -> None:
        if self._pid != os.getpid():
            self._renew()

    def ready(self, session: str, block: Block) -> Made | None:
        """Return the finished summary of *block*, whoever made it; may ask the store."""
        self._own()
        with self._changed:
            made = self._done.get((session, block.key))
        if made is not None:
            return made
        try:
            return self._sessions.results(session).get(block.key)
        except StoreError as error:
            self._note(error)
            return None

    def may_begin(self, session: str, block: Block) -> bool:
        """Say whether nobody here is at *block* and it has rested since its last failure."""
        self._own()
        name = session, block.key
        with self._changed:
            _, until = self._failed.get(name, (0, 0.0))
            return name not in self._under_way and name not in self._done and self._clock() >= until

    def failures(self, session: str, block: Block) -> int:
        """Return how often the summary of *block* failed here."""
        self._own()
        with self._changed:
            return self._failed.get((session, block.key), (0, 0.0))[0]

    def begin(self, session: str, block: Block, make: Callable[[], Made | None]) -> bool:
        """Make the summary of *block* behind; False where somebody is at it already, or no thread is free.

        It runs in a copy of the caller's context: its calls are booked under the caller's scope.
        """
        if not self.may_begin(session, block):
            return False
        with self._changed:
            self._under_way.add((session, block.key))
        if self._workers.submit(lambda: self.make(session, block, make)):
            return True
        self._ended((session, block.key))
        return False

    def make(self, session: str, block: Block, make: Callable[[], Made | None]) -> Made | None:
        """Make the summary of *block* now, and keep it; None where it failed, or another worker is at it."""
        self._own()
        name = session, block.key
        with self._changed:
            self._under_way.add(name)
        try:
            if not self._leased(session, block):
                self.counts["taken"] += 1
                return None
            made = self._made(make)
            if made is None:
                self._rest(name, session, block)
                return None
            self._keep(name, session, block, made)
            return made
        finally:
            self._ended(name)

    def forget(self, session: str, block: Block) -> None:
        """Let go of a summary that was committed, or is no longer waited for; behind, where the store is slow."""
        self._own()
        with self._changed:
            self._done.pop((session, block.key), None)
        self._workers.submit(lambda: self._forget(session, block))

    def drain(self, timeout_s: float = 60.0) -> bool:
        """Wait until no summary is in the making here; False past *timeout_s*."""
        self._own()
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout_s)

    def _made(self, make: Callable[[], Made | None]) -> Made | None:
        try:
            return make()
        except Exception as error:  # fail-open: the history stays as it is
            if self._said.is_due("summary", error):
                log.warning("a summary failed (%s): the history stays whole, it is tried again", type(error).__name__)
            return None

    def _leased(self, session: str, block: Block) -> bool:
        try:
            return self._sessions.lease(session, block.key, holder=self._holder, seconds=LEASE_S, owner=owner_here())
        except StoreError as error:
            self._note(error)
            return True  # two may make it then: better than none

    def _keep(self, name: _Name, session: str, block: Block, made: Made) -> None:
        self.counts["made"] += 1
        with self._changed:
            self._done[name] = made
            self._failed.pop(name, None)
        try:
            self._sessions.finish(session, block.key, holder=self._holder, data=dict(made))
        except StoreError as error:
            self._note(error)

    def _rest(self, name: _Name, session: str, block: Block) -> None:
        self.counts["failed"] += 1
        with self._changed:
            times = self._failed.get(name, (0, 0.0))[0]
            self._failed[name] = times + 1, self._clock() + PAUSES_S[min(times, len(PAUSES_S) - 1)]
        try:
            self._sessions.release(session, block.key, holder=self._holder)
        except StoreError as error:
            self._note(error)

    def _forget(self, session: str, block: Block) -> None:
        try:
            self._sessions.forget(session, [block.key])
        except StoreError as error:
            self._note(error)

    def _ended(self, name: _Name) -> None:
        with self._changed:
            self._under_way.discard(name)
            self._changed.notify_all()

    def _note(self, error: StoreError) -> None:
        self.counts["store"] += 1
        if self._said.is_due("store", error):
            log.warning("the session store failed (%s): summaries stay in this process meanwhile", error)

    def __getstate__(self) -> dict[str, Any]:
        return {"_sessions": self._sessions, "_clock": self._clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._renew()
