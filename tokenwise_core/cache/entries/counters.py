"""Numbers that are given once: seqs, labels, hit records, generations."""

from __future__ import annotations

import time

from tokenwise_core.storage.statements import Statements, one

_COUNTERS = ("seq", "generation", "label", "hit")
_EPOCH_S = 1_767_225_600  # 2026-01-01
_SEQS_A_MS = 4096


def take_numbers(session: Statements, name: str, n: int) -> int:
    """Reserve *n* numbers of a counter and return the first; the caller holds the write lock."""
    session.run("UPDATE cache_counter SET value = value + ? WHERE name = ?", (n, name))
    return int(one(session, "SELECT value FROM cache_counter WHERE name = ?", (name,))) - n + 1


def begin_counting(session: Statements) -> None:
    """Begin each counter where no earlier store in this place can have come to; do nothing where they have begun.

    Else an index over a store that was lost would lead to the seqs of its successor's entries, which are other
    people's. The real clock, whichever is injected: it is to be different each time. 4,096 numbers a millisecond
    outrun any writer, and leave room for centuries.
    """
    if one(session, "SELECT count(*) FROM cache_counter"):
        return
    begin = max(0, time.time_ns() // 1_000_000 - _EPOCH_S * 1000) * _SEQS_A_MS
    session.many("INSERT INTO cache_counter (name, value) VALUES (?, ?)", [(name, begin) for name in _COUNTERS])
