"""Sessions in memory: those of this process alone, and what the durable stores are tested against."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tokenwise_core.memory.sessions.protocol import (
    TURN_LEASE_S,
    TURN_TIMEOUT_S,
    Changes,
    LogItem,
    LogRow,
    Owner,
    SessionInfo,
    SessionStats,
    StoredView,
)
from tokenwise_core.memory.sessions.texts import (
    DERIVED,
    PurgeQuery,
    Texts,
    encoded,
    new_epoch,
    purge_query,
    read_owner,
    stored_owner,
)
from tokenwise_core.memory.sessions.turns import TurnLocks
from tokenwise_core.protocols import Clock
from tokenwise_core.storage.codec import Codec
from tokenwise_core.storage.names import restored, storable

MAX_SESSIONS = 1_000
MAX_ORIGINAL_BYTES = 16 * 2**20
_Row = tuple[int, str, float, bytes]


@dataclass(slots=True)
class _Block:
    holder: str
    until: float
    body: bytes | None = None


@dataclass(slots=True)
class _Session:
    epoch: int
    created_at: float
    changed_at: float
    last_seq: int = 0
    rows: list[_Row] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    view: tuple[int, bytes] | None = None
    blocks: dict[str, _Block] = field(default_factory=dict)
    originals: dict[str, bytes] = field(default_factory=dict)
    owners: set[tuple[str, str]] = field(default_factory=set)

    def add(self, items: Mapping[str, tuple[bytes, float]]) -> None:
        for name, (body, at) in items.items():
            if name not in self.ids:
                self.last_seq += 1
                self.ids.add(name)
                self.rows.append((self.last_seq, name, at, body))

    def own(self, owner: Owner | None) -> None:
        names = stored_owner(owner)
        if names is not None:
            self.owners.add(names)

    def keep(self, id: str, body: bytes, *, max_bytes: int) -> None:
        """Keep an original as the newest; the oldest beyond *max_bytes* go."""
        self.originals.pop(id, None)
        self.originals[id] = body
        size = sum(map(len, self.originals.values()))
        while size > max_bytes and len(self.originals) > 1:
            size -= len(self.originals.pop(next(iter(self.originals))))

    def after(self, seq: int) -> list[_Row]:
        if not self.rows or seq >= self.rows[-1][0]:
            return []
        return self.rows[max(0, seq - self.rows[0][0] + 1) :]  # seqs of one epoch have no gaps

    def summaries(self) -> int:
        return sum(block.body is not None for block in self.blocks.values())

    def bodies(self) -> Iterator[bytes]:
        yield from (row[3] for row in self.rows)
        yield from (block.body for block in self.blocks.values() if block.body is not None)
        yield from self.originals.values()
        if self.view is not None:
            yield self.view[1]


class MemorySessions:
    """Sessions of this process, encoded as in a file: what is returned is built anew at each reading.

    It is bounded: beyond *max_sessions* the session that has not changed for the longest time goes whole, and beyond
    *max_original_bytes* in one session its oldest original (the newest stays, however large). What must not go belongs
    into a file or a database. A deep copy is the same store; a pickle carries what it holds.
    """

    url = "memory://"

    def __init__(
        self,
        *,
        codec: Codec | None = None,
        clock: Clock = time.time,
        max_sessions: int = MAX_SESSIONS,
        max_original_bytes: int = MAX_ORIGINAL_BYTES,
    ) -> None:
        self._texts, self._clock = Texts(codec, url=self.url), clock
        self._max_sessions, self._max_original_bytes = max_sessions, max_original_bytes
        self._sessions: dict[str, _Session] = {}  # in the order of their last change
        self._own_locks()

    # --- the log ----------------------------------------------------------------------------------------------------

    def append(self, session: str, items: Sequence[LogItem], *, owner: Owner | None = None) -> None:
        rows = encoded(items, self._texts)
        if rows:
            with self._locked():
                self._changed(session, owner).add(rows)

    def read(self, session: str, *, after: int = 0) -> list[LogRow]:
        with self._locked():
            found = self._sessions.get(session)
            rows = [] if found is None else found.after(after)
        return self._read(rows)

    def changes(self, session: str, *, after: int = 0, epoch: int = 0) -> Changes:
        with self._locked():
            found = self._sessions.get(session)
            if found is None:
                return Changes(epoch=0, last_seq=0, replaced=epoch != 0, rows=())
            replaced = found.epoch != epoch
            now, last_seq, rows = found.epoch, found.last_seq, found.after(0 if replaced else after)
        return Changes(epoch=now, last_seq=last_seq, replaced=replaced, rows=tuple(self._read(rows)))

    def length(self, session: str) -> int:
        found = self._sessions.get(session)
        return 0 if found is None else len(found.rows)

    def replace(self, session: str, items: Sequence[LogItem], *, owner: Owner | None = None) -> None:
        rows = encoded(items, self._texts)
        with self._locked():
            found = self._changed(session, owner)
            found.epoch = new_epoch(found.epoch)
            found.rows, found.ids = [], set()
            found.add(rows)

    def clear(self, session: str) -> None:
        with self._locked():
            self._sessions.pop(session, None)

    def _read(self, rows: Sequence[_Row]) -> list[LogRow]:
        found = []
        for seq, name, at, body in rows:
            data = self._texts.read(body)
            if data is not None:
                found.append(LogRow(seq=seq, id=restored(name), data=data, at=at))
        return found

    # --- what is derived --------------------------------------------------------------------------------------------

    def view(self, session: str) -> StoredView | None:
        with self._locked():
            found = self._sessions.get(session)
            stored = None if found is None else found.view
        data = None if stored is None else self._texts.read(stored[1])
        return None if stored is None or data is None else StoredView(version=stored[0], data=data)

    def save_view(self, session: str, data: Mapping[str, Any], *, expected: int, owner: Owner | None = None) -> bool:
        body = self._texts.write(data)
        with self._locked():
            known = self._sessions.get(session)
            if expected != (known.view[0] if known is not None and known.view is not None else 0):
                return False
            self._changed(session, owner).view = (expected + 1, body)
            return True

    def lease(self, session: str, block: str, *, holder: str, seconds: float, owner: Owner | None = None) -> bool:
        with self._locked():
            made, now = self._made(session), self._clock()
            blocks = made.blocks
            made.own(owner)
            found = blocks.get(block)
            if found is not None and (found.body is not None or (found.until > now and found.holder != holder)):
                return False
            blocks[block] = _Block(holder, now + seconds)
            return True

    def finish(self, session: str, block: str, holder: str, data: Mapping[str, Any]) -> bool:
        body = self._texts.write(data)
        with self._locked():
            found = self._sessions[session].blocks.get(block) if session in self._sessions else None
            if found is None:
                return False
            if found.body is not None:
                return found.holder == holder
            if found.holder != holder and found.until > self._clock():
                return False
            found.holder, found.body = holder, body
            self._changed(session, None)
            return True

    def release(self, session: str, block: str, holder: str) -> None:
        with self._locked():
            blocks = self._sessions[session].blocks if session in self._sessions else {}
            found = blocks.get(block)
            if found is not None and found.body is None and found.holder == holder:
                del blocks[block]

    def results(self, session: str) -> dict[str, dict[str, Any]]:
        with self._locked():
            blocks = dict(self._sessions[session].blocks) if session in self._sessions else {}
        read = {name: self._texts.read(block.body) for name, block in blocks.items() if block.body is not None}
        return {name: data for name, data in read.items() if data is not None}

    def forget(self, session: str, blocks: Collection[str]) -> None:
        with self._locked():
            if session in self._sessions:
                for block in blocks:
                    self._sessions[session].blocks.pop(block, None)

    def keep(self, session: str, id: str, text: str, *, owner: Owner | None = None) -> None:
        body = self._texts.write(text)
        with self._locked():
            self._changed(session, owner).keep(id, body, max_bytes=self._max_original_bytes)

    def original(self, session: str, id: str) -> str | None:
        with self._locked():
            body = self._sessions[session].originals.get(id) if session in self._sessions else None
        return None if body is None else self._texts.read_text(body)

    # --- turns ------------------------------------------------------------------------------------------------------

    def turn(
        self, session: str, *, timeout_s: float = TURN_TIMEOUT_S, lease_s: float = TURN_LEASE_S
    ) -> AbstractContextManager[None]:
        return self._turns.held(session, timeout_s=timeout_s, url=self.url)

    # --- looking after it -------------------------------------------------------------------------------------------

    def sessions(self, *, limit: int = 100, offset: int = 0) -> list[SessionInfo]:
        with self._locked():
            found = [
                SessionInfo(
                    session=name, items=len(s.rows), summaries=s.summaries(), originals=len(s.originals),
                    owners=tuple(read_owner(*owner) for owner in sorted(s.owners)), created_at=s.created_at,
                    changed_at=s.changed_at,
                )
                for name, s in self._sessions.items()
            ]  # fmt: skip
        found.sort(key=lambda info: (-info.changed_at, storable(info.session).encode()))
        return found[offset : offset + limit]

    def purge(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        application: str | None = None,
        before: float | None = None,
    ) -> int:
        query = purge_query(session=session, user=user, application=application, before=before)
        with self._locked():
            gone = [name for name, found in self._sessions.items() if _matches(query, name, found)]
            for name in gone:
                del self._sessions[name]
            return len(gone)

    def stats(self) -> SessionStats:
        with self._locked():
            all_of = list(self._sessions.values())
            return SessionStats(
                sessions=len(all_of),
                items=sum(len(s.rows) for s in all_of),
                pending=sum(len(s.blocks) - s.summaries() for s in all_of),
                summaries=sum(s.summaries() for s in all_of),
                originals=sum(len(s.originals) for s in all_of),
                bytes=sum(len(body) for s in all_of for body in s.bodies()),
                unreadable=self._texts.unreadable,
            )

    def close(self) -> None:
        """Do nothing: there is nothing to close."""

    # --- the inside -------------------------------------------------------------------------------------------------

    def _made(self, session: str) -> _Session:
        found = self._sessions.get(session)
        if found is None:
            now = self._clock()
            found = self._sessions[session] = _Session(epoch=new_epoch(), created_at=now, changed_at=now)
            while len(self._sessions) > max(self._max_sessions, 1):
                del self._sessions[next(iter(self._sessions))]
        return found

    def _changed(self, session: str, owner: Owner | None) -> _Session:
        found = self._made(session)
        found.changed_at = self._clock()
        self._sessions[session] = self._sessions.pop(session)
        found.own(owner)
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._pid != os.getpid():  # in a forked child, whoever held the lock is not there to let it go
            self._own_locks()
        with self._lock:
            yield

    def _own_locks(self) -> None:
        self._pid, self._lock, self._turns = os.getpid(), threading.RLock(), TurnLocks()

    def __deepcopy__(self, memo: dict[int, Any]) -> MemorySessions:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {
            "sessions": self._sessions,
            "made": {
                "codec": self._texts.codec,
                "clock": self._clock,
                "max_sessions": self._max_sessions,
                "max_original_bytes": self._max_original_bytes,
            },
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        MemorySessions.__init__(self, **state["made"])
        self._sessions = state["sessions"]


def _matches(query: PurgeQuery, name: str, found: _Session) -> bool:
    if query.session is not None and not f"{storable(name)}{DERIVED}".startswith(query.session + DERIVED):
        return False
    if query.before is not None and found.changed_at >= query.before:
        return False
    if query.application is None and query.user is None:
        return True
    return any(
        query.application in (None, application) and query.user in (None, user) for application, user in found.owners
    )
