"""Writing into the SQL stores of sessions; the caller holds the transaction."""

# ruff: noqa: S608 - what is put into statements is our own names of tables and placeholders, never a value

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tokenwise_core.memory.sessions import queries
from tokenwise_core.memory.sessions.texts import DERIVED, PurgeQuery, new_epoch
from tokenwise_core.storage.statements import Statements, chunks, marks

_PARTS = ("memory_owner", "memory_item", "memory_view", "memory_block", "memory_original")


class Claimed(NamedTuple):
    """A session whose row nobody else writes until the transaction ends."""

    id: int
    epoch: int
    last_seq: int


def known(db: Statements, name: str, *, lock: str) -> Claimed | None:
    """Return a session that is there, locked; *lock* is what the database adds to a SELECT for it."""
    found = db.all(f"SELECT id, epoch, last_seq FROM memory_session WHERE name = ?{lock}", (name,))
    return Claimed(*found[0]) if found else None


def claimed(db: Statements, name: str, *, lock: str, now: float) -> Claimed:
    """Return a session, made if it is not there."""
    found = known(db, name, lock=lock)
    return found or Claimed(*db.all(queries.NEW_SESSION, (name, new_epoch(), now, now))[0])


def append(
    db: Statements, session: Claimed, items: Mapping[str, tuple[bytes, float]], *, emptied: bool = False
) -> tuple[int, int]:
    """Insert what is not there by its id; return the last seq and how many are new."""
    there = set() if emptied else _there(db, session, items)
    new = [(name, body, at) for name, (body, at) in items.items() if name not in there]
    db.many(
        "INSERT INTO memory_item (session, seq, id, at, body) VALUES (?, ?, ?, ?, ?)",
        [(session.id, session.last_seq + n, name, at, body) for n, (name, body, at) in enumerate(new, 1)],
    )
    return session.last_seq + len(new), len(new)


def _there(db: Statements, session: Claimed, names: Mapping[str, object]) -> set[str]:
    if not session.last_seq:
        return set()
    return {
        name
        for chunk in chunks(names)
        for (name,) in db.all(
            f"SELECT id FROM memory_item WHERE session = ? AND id IN ({marks(len(chunk))})", (session.id, *chunk)
        )
    }


def own(db: Statements, session: Claimed, owner: tuple[str, str] | None) -> None:
    """Remember an owner."""
    if owner is not None:
        db.run(
            "INSERT INTO memory_owner (session, application, user_name) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (session.id, *owner),
        )


def touch(db: Statements, session: Claimed, *, now: float) -> None:
    """Note that something of a session changed."""
    db.run("UPDATE memory_session SET changed_at = ? WHERE id = ?", (now, session.id))


def matching(db: Statements, query: PurgeQuery, *, limit: int) -> list[int]:
    """Return the numbers of the first *limit* sessions that match, in order."""
    conditions: list[str] = []
    values: list[str | int | float] = []
    if query.session is not None:
        derived = query.session + DERIVED
        conditions.append("(s.name = ? OR substr(s.name, 1, ?) = ?)")  # LIKE knows no capitals in SQLite
        values += [query.session, len(derived), derived]
    if query.before is not None:
        conditions.append("s.changed_at < ?")
        values.append(query.before)
    names = [(column, name) for column, name in zip(("application", "user_name"), query[1:3], strict=True) if name]
    if names:
        owned = " AND ".join(f"o.{column} = ?" for column, _ in names)
        conditions.append(f"s.id IN (SELECT o.session FROM memory_owner o WHERE {owned})")
        values.extend(name for _, name in names)
    found = db.all(
        f"SELECT s.id FROM memory_session s WHERE {' AND '.join(conditions)} ORDER BY s.id LIMIT ?", (*values, limit)
    )
    return [number for (number,) in found]


def forget(db: Statements, numbers: list[int], *, lock: str) -> int:
    """Delete sessions with all that hangs on them; return how many were there."""
    if not numbers:
        return 0
    among = marks(len(numbers))
    # in order, so that two who delete the same never wait for each other
    there = db.all(f"SELECT id FROM memory_session WHERE id IN ({among}) ORDER BY id{lock}", numbers)
    if not there:
        return 0
    mine = [number for (number,) in there]
    among = marks(len(mine))
    db.run(f"DELETE FROM memory_session WHERE id IN ({among})", mine)
    for table in _PARTS:
        db.run(f"DELETE FROM {table} WHERE session IN ({among})", mine)
    return len(mine)
