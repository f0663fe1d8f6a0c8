"""What the SQLite and the PostgreSQL store of sessions share: all but how a connection is had."""

# ruff: noqa: S608 - what is put into statements is our own names of tables and placeholders, never a value

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from tokenwise_core.errors import StoreError
from tokenwise_core.memory.sessions import queries, writing
from tokenwise_core.memory.sessions.protocol import (
    TURN_LEASE_S,
    TURN_TIMEOUT_S,
    Changes,
    LogItem,
    LogRow,
    Owner,
    SessionBusy,
    SessionInfo,
    SessionStats,
    StoredView,
)
from tokenwise_core.memory.sessions.texts import (
    Texts,
    encoded,
    new_epoch,
    purge_query,
    read_owner,
    stored_owner,
)
from tokenwise_core.memory.sessions.turns import TurnLocks, new_holder, wait_for
from tokenwise_core.memory.sessions.writing import Claimed
from tokenwise_core.protocols import Clock
from tokenwise_core.storage.codec import Codec
from tokenwise_core.storage.names import restored, storable
from tokenwise_core.storage.statements import Statements, chunks, marks, one

_PURGED_AT_ONCE = 20
"""Sessions deleted in one transaction, so that other writers never wait long."""


class SQLSessions(ABC):
    """Sessions in a database."""

    row_lock = ""
    """What a SELECT needs so that nobody else writes the row until the transaction ends."""
    collation = ""
    """What sorts names by their bytes."""

    def __init__(self, *, url: str, codec: Codec | None, clock: Clock) -> None:
        self._url, self._codec, self._clock = url, codec, clock
        self._texts, self._turns = Texts(codec, url=url), TurnLocks()

    @property
    def url(self) -> str:
        return self._url

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Statements]:
        """Lend statements, each a transaction of its own."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Statements]:
        """Lend statements in one transaction."""

    @abstractmethod
    def _give_back(self) -> None:
        """Let nothing of what was deleted stay in the database's files, where that is ours to do."""

    @abstractmethod
    def close(self) -> None:
        """Close handles; the next use opens others."""

    # --- the log ----------------------------------------------------------------------------------------------------

    def append(self, session: str, items: Sequence[LogItem], *, owner: Owner | None = None) -> None:
        rows = encoded(items, self._texts)
        if not rows:
            return
        with self._changing(session, owner) as (db, claimed):
            last, n = writing.append(db, claimed, rows)
            db.run("UPDATE memory_session SET last_seq = ?, items = items + ? WHERE id = ?", (last, n, claimed.id))

    def read(self, session: str, *, after: int = 0) -> list[LogRow]:
        with self._reading() as db:
            rows = db.all(queries.READ, (storable(session), after))
        return self._read(rows)

    def changes(self, session: str, *, after: int = 0, epoch: int = 0) -> Changes:
        with self._reading() as db:
            rows = db.all(queries.CHANGES, (epoch, after, storable(session)))
        if not rows:
            return Changes(epoch=0, last_seq=0, replaced=epoch != 0, rows=())
        now, last_seq, first = rows[0][:3]
        new = () if first is None else tuple(self._read([row[2:] for row in rows]))
        return Changes(epoch=now, last_seq=last_seq, replaced=now != epoch, rows=new)

    def length(self, session: str) -> int:
        with self._reading() as db:
            return one(db, "SELECT items FROM memory_session WHERE name = ?", (storable(session),)) or 0

    def replace(self, session: str, items: Sequence[LogItem], *, owner: Owner | None = None) -> None:
        rows = encoded(items, self._texts)
        with self._changing(session, owner) as (db, claimed):
            db.run("DELETE FROM memory_item WHERE session = ?", (claimed.id,))
            last, n = writing.append(db, claimed, rows, emptied=True)
            db.run(
                "UPDATE memory_session SET last_seq = ?, items = ?, epoch = ? WHERE id = ?",
                (last, n, new_epoch(claimed.epoch), claimed.id),
            )

    def clear(self, session: str) -> None:
        with self._writing() as db:
            found = writing.known(db, storable(session), lock=self.row_lock)
            if found is not None:
                writing.forget(db, [found.id], lock=self.row_lock)

    def _read(self, rows: Sequence[tuple[Any, ...]]) -> list[LogRow]:
        found = []
        for seq, name, at, body in rows:
            data = self._texts.read(body)
            if data is not None:
                found.append(LogRow(seq=seq, id=restored(name), data=data, at=at))
        return found

    @contextmanager
    def _changing(self, session: str, owner: Owner | None) -> Iterator[tuple[Statements, Claimed]]:
        """Lend a transaction that has the session to itself, made if it is not there, and notes that it changed."""
        now = self._clock()
        with self._writing() as db:
            claimed = writing.claimed(db, storable(session), lock=self.row_lock, now=now)
            yield db, claimed
            writing.own(db, claimed, stored_owner(owner))
            writing.touch(db, claimed, now=now)

    # --- what is derived --------------------------------------------------------------------------------------------

    def view(self, session: str) -> StoredView | None:
        with self._reading() as db:
            rows = db.all(queries.VIEW, (storable(session),))
        if not rows:
            return None
        data = self._texts.read(rows[0][1])
        return None if data is None else StoredView(version=rows[0][0], data=data)

    def save_view(self, session: str, data: Mapping[str, Any], *, expected: int, owner: Owner | None = None) -> bool:
        body = self._texts.write(data)
        with self._reading() as db:
            stored = db.all(queries.VIEW, (storable(session),))
        damaged = [stored_body for _, stored_body in stored if self._texts.is_damaged(stored_body)]
        if expected != (stored[0][0] if stored and not damaged else 0):
            return False
        with self._changing(session, owner) as (db, claimed):
            if expected:
                return db.run(queries.NEXT_VIEW, (body, claimed.id, expected)) == 1
            for useless in damaged:
                db.run("DELETE FROM memory_view WHERE session = ? AND body = ?", (claimed.id, useless))
            return db.run(queries.NEW_VIEW, (claimed.id, body)) == 1

    def lease(self, session: str, block: str, *, holder: str, seconds: float, owner: Owner | None = None) -> bool:
        now, name = self._clock(), storable(block)
        with self._writing() as db:
            claimed = writing.claimed(db, storable(session), lock=self.row_lock, now=now)
            writing.own(db, claimed, stored_owner(owner))
            there = one(db, queries.SUMMARY, (claimed.id, name))
            if there is not None:
                if not self._texts.is_damaged(there):
                    return False
                db.run("DELETE FROM memory_block WHERE session = ? AND block = ?", (claimed.id, name))
            return db.run(queries.LEASE, (claimed.id, name, storable(holder), now + seconds, now)) == 1

    def finish(self, session: str, block: str, holder: str, data: Mapping[str, Any]) -> bool:
        body, now, name, who = self._texts.write(data), self._clock(), storable(block), storable(holder)
        with self._writing() as db:
            claimed = writing.known(db, storable(session), lock=self.row_lock)
            if claimed is None:
                return False
            if db.run(queries.FINISH, (who, body, claimed.id, name, who, now)) == 1:
                writing.touch(db, claimed, now=now)
                return True
            mine = "SELECT 1 FROM memory_block WHERE session = ? AND block = ? AND holder = ? AND body IS NOT NULL"
            return one(db, mine, (claimed.id, name, who)) is not None

    def release(self, session: str, block: str, holder: str) -> None:
        with self._writing() as db:
            db.run(
                "DELETE FROM memory_block WHERE session = (SELECT id FROM memory_session WHERE name = ?)"
                " AND block = ? AND holder = ? AND body IS NULL",
                (storable(session), storable(block), storable(holder)),
            )

    def results(self, session: str) -> dict[str, dict[str, Any]]:
        with self._reading() as db:
            rows = db.all(queries.RESULTS, (storable(session),))
        read = {restored(name): self._texts.read(body) for name, body in rows}
        return {name: data for name, data in read.items() if data is not None}

    def forget(self, session: str, blocks: Collection[str]) -> None:
        with self._writing() as db:
            for chunk in chunks(map(storable, blocks)):
                db.run(
                    "DELETE FROM memory_block WHERE session = (SELECT id FROM memory_session WHERE name = ?)"
                    f" AND block IN ({marks(len(chunk))})",
                    (storable(session), *chunk),
                )

    def keep(self, session: str, id: str, text: str, *, owner: Owner | None = None) -> None:
        body = self._texts.write(text)
        with self._changing(session, owner) as (db, claimed):
            db.run(queries.KEEP, (claimed.id, storable(id), body))

    def original(self, session: str, id: str) -> str | None:
        with self._reading() as db:
            body = one(db, queries.ORIGINAL, (storable(session), storable(id)))
        return None if body is None else self._texts.read_text(body)

    # --- turns ------------------------------------------------------------------------------------------------------

    @contextmanager
    def turn(self, session: str, *, timeout_s: float = TURN_TIMEOUT_S, lease_s: float = TURN_LEASE_S) -> Iterator[None]:
        until, holder = time.monotonic() + timeout_s, new_holder()
        with self._turns.held(session, timeout_s=timeout_s, url=self.url):
            if not wait_for(lambda: self._take_turn(session, holder, lease_s), until=until):
                raise SessionBusy(session=session, waited_s=timeout_s, url=self.url)
            try:
                yield
            finally:
                with suppress(StoreError):  # it ends by itself
                    self._end_turn(session, holder)

    def _take_turn(self, session: str, holder: str, lease_s: float) -> bool:
        name, now = storable(session), self._clock()
        with self._reading() as db:  # looking costs nobody the write lock
            until = one(db, "SELECT until FROM memory_turn WHERE name = ?", (name,))
        if until is not None and until > now:
            return False
        with self._writing() as db:
            return db.run(queries.TURN, (name, holder, now + lease_s, now)) == 1

    def _end_turn(self, session: str, holder: str) -> None:
        with self._writing() as db:
            db.run("DELETE FROM memory_turn WHERE name = ? AND holder = ?", (storable(session), holder))

    # --- looking after it -------------------------------------------------------------------------------------------

    def sessions(self, *, limit: int = 100, offset: int = 0) -> list[SessionInfo]:
        with self._reading() as db:
            rows = db.all(queries.LIST.format(collation=self.collation), (limit, offset))
            owners: dict[int, list[Owner]] = {row[0]: [] for row in rows}
            for chunk in chunks(owners):
                listed = db.all(
                    f"SELECT session, application, user_name FROM memory_owner WHERE session IN ({marks(len(chunk))})"
                    f" ORDER BY application{self.collation}, user_name{self.collation}",
                    chunk,
                )
                for number, application, user in listed:
                    owners[number].append(read_owner(application, user))
        return [
            SessionInfo(
                session=restored(name), items=items, summaries=summaries, originals=originals,
                owners=tuple(owners[number]), created_at=created_at, changed_at=changed_at,
            )
            for number, name, items, created_at, changed_at, summaries, originals in rows
        ]  # fmt: skip

    def purge(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        application: str | None = None,
        before: float | None = None,
    ) -> int:
        query, n = purge_query(session=session, user=user, application=application, before=before), 0
        while True:
            with self._writing() as db:
                gone = writing.matching(db, query, limit=_PURGED_AT_ONCE)
                n += writing.forget(db, gone, lock=self.row_lock)
            if len(gone) < _PURGED_AT_ONCE:
                break
        with self._writing() as db:
            db.run("DELETE FROM memory_turn WHERE until <= ?", (self._clock(),))  # of who was killed: names
        self._give_back()
        return n

    def stats(self) -> SessionStats:
        with self._reading() as db:
            sessions, items, pending, summaries, originals, size = db.all(queries.STATS)[0]
        return SessionStats(
            sessions=sessions, items=items, pending=pending, summaries=summaries, originals=originals,
            bytes=int(size), unreadable=self._texts.unreadable,
        )  # fmt: skip
