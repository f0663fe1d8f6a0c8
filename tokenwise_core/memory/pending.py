"""Messages that wait for a store which is down: shared by all histories of a session, and kept though these go."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

from tokenwise_core.deadline import Workers
from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.memory.sessions import LogItem, Owner, Sessions
from tokenwise_core.said import Said
from tokenwise_core.storage.codec import to_json

log = logging.getLogger("tokenwise.memory")

STORED_AT_EXIT_S = 3.0
"""How long a store that was down is tried once more when the process ends."""
STORING_S = 10.0
"""How long what waits behind another thread's storing waits for it."""
MAX_SESSIONS = 10_000
"""Sessions whose messages wait at most; beyond, those of the one that has waited longest are lost."""


class Pending:
    """What *sessions* has not taken yet of the session *id*. Hold *lock* while looking at *items* and *anew*.

    *anew* says that the items take the place of all that is stored.
    """

    def __init__(self, sessions: Sessions, id: str) -> None:
        self.sessions, self.id = sessions, id
        self.lock = threading.RLock()
        self.items: list[LogItem] = []
        self.anew = False
        self._owner: Owner | None = None
        self._said = Said()
        self._storing = threading.Lock()
        self._edition = 0  # moves on where something takes the place of what waits

    @classmethod
    def of(cls, sessions: Sessions, id: str) -> Pending:
        """Return what all histories of the session share in this process, whichever objects lead to its store."""
        name = (sessions.url, 0 if _is_elsewhere(sessions) else _number(sessions), id)
        with _lock:
            found = _known.get(name)
            if found is None:
                found = _known[name] = cls(sessions, id)
            return found

    def __bool__(self) -> bool:
        """Say whether there is something that the store has not taken."""
        return bool(self.items) or self.anew

    def add(self, messages: Sequence[Mapping[str, Any]], ids: Sequence[str], *, owner: Owner | None) -> None:
        """Let *messages* wait behind what waits; raises `BadInput` for what is no JSON, which would wait for ever."""
        for data in messages:
            to_json(data)
        now = time.time()
        self.items += [LogItem(id=name, data=data, at=now) for name, data in zip(ids, messages, strict=True)]
        self._owner = owner

    def replace(self, messages: Sequence[Mapping[str, Any]], *, owner: Owner | None) -> None:
        """Let *messages* wait to be put in the place of all; raises `BadInput` for what is no JSON."""
        before, self.items = self.items, []
        try:
            self.add(messages, [uuid4().hex for _ in messages], owner=owner)
        except BadInput:
            self.items = before
            raise
        self.anew = True
        self._edition += 1

    def forget(self) -> None:
        """Let nothing wait."""
        self.items, self.anew = [], False
        self._edition += 1
        if _left:
            _let_go(self)

    def store(self) -> None:
        """Store what waits, in its order, one thread at a time; raises `StoreError`. Do not hold the lock."""
        if not self._storing.acquire(timeout=STORING_S):
            raise StoreError(f"{self.sessions.url}: another thread has been storing for long", url=self.sessions.url)
        try:
            with self.lock:
                items, anew, edition = list(self.items), self.anew, self._edition
            if not items and not anew:
                _let_go(self)  # another thread was quicker
                return
            put = self.sessions.replace if anew else self.sessions.append
            put(self.id, items, owner=self._owner)
            with self.lock:
                if edition == self._edition:
                    self.items, self.anew = self.items[len(items) :], False
                    if not self.items:
                        _let_go(self)
        finally:
            self._storing.release()

    def failed(self, error: StoreError) -> None:
        """Keep what waits, though nobody else may hold it any more."""
        if self._said.is_due("append", error):
            log.warning("the session store failed (%s): %d messages wait to be stored", error, len(self.items))
        _keep(self)


def others_wait(sessions: Sessions) -> bool:
    """Say whether sessions of the same store have messages that wait."""
    return bool(_left) and any(one.sessions.url == sessions.url for one in list(_left))


def store_others(sessions: Sessions) -> None:
    """Store what waits of other sessions of the same store, which answers again."""
    for one in [one for one in list(_left) if one.sessions.url == sessions.url]:
        try:
            one.store()
        except StoreError:  # down again
            return


def _is_elsewhere(sessions: Sessions) -> bool:
    """Say whether a store is known by its URL: that in memory is another one for each object."""
    return not sessions.url.startswith("memory:")


def _keep(pending: Pending) -> None:
    with _lock:
        _left[pending] = None
        lost = next(iter(_left)) if len(_left) > MAX_SESSIONS else None
        if lost is not None:
            del _left[lost]
    if lost is not None:
        log.error("the session store has been down for long: %d messages of a session are lost", len(lost.items))


def _let_go(pending: Pending) -> None:
    with _lock:
        _left.pop(pending, None)


_number = id  # `id` is a session's name here
_lock = threading.Lock()
_known: WeakValueDictionary[tuple[str, int, str], Pending] = WeakValueDictionary()
_left: dict[Pending, None] = {}  # in the order in which they began to wait


def _begin_anew() -> None:
    """Forget, in a forked child, what waits in the parent, which stores it."""
    global _lock  # noqa: PLW0603  another thread may have held it
    _lock = threading.Lock()
    _known.clear()
    _left.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_anew)


@atexit.register
def _store_what_waits() -> None:
    """Try the stores once more: what they do not take now is lost with the process."""
    left = [pending for pending in list(_left) if pending]
    if not left:
        return

    def store() -> None:
        for pending in left:
            with suppress(StoreError):
                pending.store()

    with suppress(Exception):  # too late, or no thread can be begun any more
        Workers(max_threads=1, name="tokenwise-memory-exit").run(store, STORED_AT_EXIT_S)
    if lost := sum(bool(pending) for pending in left):
        log.warning("the process ends: messages of %d sessions were never stored", lost)
