"""Deleting entries from the SQL stores; the sums by namespace go along."""

# ruff: noqa: S608 - what is put into statements is our own names of tables and placeholders, never a value

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenwise_core.cache.entries.counters import take_numbers
from tokenwise_core.cache.entries.owners import Owner
from tokenwise_core.storage.statements import CHUNK, Statements, chunks, marks, one

_TABLES = ("cache_entry", "cache_answer", "cache_vector", "cache_stamp")
_SUMS = """
SELECT count(*), count(partition), sum(bytes), sum(hits), namespace FROM cache_entry WHERE seq IN ({})
GROUP BY namespace
"""
_OUTDATED = """
SELECT DISTINCT s.seq FROM cache_epoch e CROSS JOIN cache_stamp s
WHERE s.name = e.name AND s.epoch < e.epoch LIMIT ?
"""
"""CROSS JOIN: SQLite then looks at each epoch's stamps, of which nearly none are older, and never at all stamps."""

_STALE = """
SELECT e.seq FROM cache_namespace n CROSS JOIN cache_entry e
WHERE n.stale_to > 0 AND e.namespace = n.name AND e.seq <= n.stale_to LIMIT ?
"""


def forget(session: Statements, seqs: Iterable[int]) -> int:
    """Delete entries and return how many there were; namespaces may be left empty, `generation` unmoved."""
    n = 0
    for chunk in chunks(seqs):
        among = marks(len(chunk))
        sums = session.all(_SUMS.format(among), chunk)
        session.many(
            "UPDATE cache_namespace SET entries = entries - ?, semantic = semantic - ?, bytes = bytes - ?,"
            " hits = hits - ? WHERE name = ?",
            sums,
        )
        for table in _TABLES:
            session.run(f"DELETE FROM {table} WHERE seq IN ({among})", chunk)
        n += sum(row[0] for row in sums)
    return n


def delete(session: Statements, seqs: Iterable[int]) -> int:
    """Delete entries, move `generation`, and return how many there were."""
    n = forget(session, seqs)
    if n:
        drop_empty_namespaces(session)
        take_numbers(session, "generation", 1)
    return n


def drop_empty_namespaces(session: Statements) -> None:
    """Forget the names under which nothing stands: they may be people's."""
    session.run("DELETE FROM cache_namespace WHERE entries = 0")


def sweep(session: Statements, *, now: float, limit: int) -> int:
    """Delete up to *limit* expired entries and those that stand under an older epoch."""
    gone = session.all("SELECT seq FROM cache_entry WHERE expires_at <= ? LIMIT ?", (now, limit))
    if len(gone) < limit:
        gone += session.all(_OUTDATED, (limit - len(gone),))
    if len(gone) < limit:
        gone += _stale(session, limit - len(gone))
    return delete(session, {seq for (seq,) in gone})


def _stale(session: Statements, limit: int) -> list[tuple[Any, ...]]:
    """Return entries from before their namespace's epoch moved on; where these are the last, no need to look again."""
    found = session.all(_STALE, (limit,))
    if len(found) < limit:
        session.run("UPDATE cache_namespace SET stale_to = 0 WHERE stale_to > 0")
    return found


def evict(session: Statements, namespace: str, *, max_entries: int | None, max_bytes: int | None) -> int:
    """Delete up to a chunk of the lowest in priority, as long as the namespace is over its quota."""
    found = session.all("SELECT entries, bytes FROM cache_namespace WHERE name = ?", (namespace,))
    if not found:
        return 0
    entries, size = found[0]
    gone, inflation = [], 0.0
    for seq, row_bytes, rank in session.all(
        "SELECT seq, bytes, priority FROM cache_entry WHERE namespace = ? ORDER BY priority, created_at, seq LIMIT ?",
        (namespace, CHUNK),
    ):
        if (max_entries is None or entries <= max_entries) and (max_bytes is None or size <= max_bytes):
            break
        gone.append(seq)
        entries, size, inflation = entries - 1, size - row_bytes, rank
    if gone:
        session.run(
            "UPDATE cache_namespace SET inflation = ? WHERE name = ? AND inflation < ?",
            (inflation, namespace, inflation),
        )
    return delete(session, gone)


def purge_others(session: Statements, owner: Owner) -> None:
    """Delete hit records and state of *owner*, and move `generation`."""
    condition, values = _owned(owner)
    for table in ("cache_hit", "cache_state"):
        session.run(f"DELETE FROM {table} WHERE {condition}", values)
    take_numbers(session, "generation", 1)


def purge_entries(session: Statements, owner: Owner) -> int:
    """Delete up to a chunk of the entries of *owner*."""
    condition, values = _owned(owner)
    found = session.all(f"SELECT seq FROM cache_entry WHERE {condition} LIMIT {CHUNK}", values)
    return delete(session, [seq for (seq,) in found])


def clear(session: Statements, namespace: str) -> int:
    """Delete up to a chunk of a namespace."""
    found = session.all(f"SELECT seq FROM cache_entry WHERE namespace = ? LIMIT {CHUNK}", (namespace,))
    return delete(session, [seq for (seq,) in found])


def clear_hits(session: Statements, namespace: str) -> None:
    """Delete the hit records of a namespace: they hold questions."""
    session.run("DELETE FROM cache_hit WHERE namespace = ?", (namespace,))


def clear_all(session: Statements) -> int:
    """Delete every entry and hit record at once."""
    n = int(one(session, "SELECT count(*) FROM cache_entry"))
    for table in (*_TABLES, "cache_namespace", "cache_hit"):
        session.run(f"DELETE FROM {table}")
    return n


def _owned(owner: Owner) -> tuple[str, list[Any]]:
    columns = zip(("application", "session", "user_name"), owner, strict=True)
    given = [(column, name) for column, name in columns if name is not None]
    return " AND ".join(f"{column} = ?" for column, _ in given), [name for _, name in given]
