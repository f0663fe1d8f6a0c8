"""Beside the entries in the SQL stores: epochs, labels, hit records, state."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenwise_core.cache.entries.counters import take_numbers
from tokenwise_core.cache.entries.fields import is_numbers
from tokenwise_core.cache.entries.owners import Owner
from tokenwise_core.cache.entries.protocol import KEPT_HITS, KEPT_LABELS
from tokenwise_core.cache.entry import Label
from tokenwise_core.storage.names import restored, storable
from tokenwise_core.storage.statements import Statements, one


def epochs(session: Statements) -> Mapping[str, int]:
    """Return all epochs that were ever bumped."""
    return {restored(name): epoch for name, epoch in session.all("SELECT name, epoch FROM cache_epoch")}


def bump(session: Statements, name: str) -> int:
    """Move an epoch on and return it."""
    session.run(
        "INSERT INTO cache_epoch (name, epoch) VALUES (?, 1)"
        " ON CONFLICT (name) DO UPDATE SET epoch = cache_epoch.epoch + 1",
        (storable(name),),
    )
    if name.startswith("ns:"):
        session.run(
            "UPDATE cache_namespace SET stale_to = (SELECT value FROM cache_counter WHERE name = 'seq') WHERE name = ?",
            (storable(name.removeprefix("ns:")),),
        )
    take_numbers(session, "generation", 1)
    return int(one(session, "SELECT epoch FROM cache_epoch WHERE name = ?", (storable(name),)))


def counter(session: Statements, name: str) -> int:
    """Return the number given last."""
    return int(one(session, "SELECT value FROM cache_counter WHERE name = ?", (name,)))


def add_labels(session: Statements, labels: Sequence[Label]) -> None:
    """Append labels and drop the oldest above the limit."""
    first = take_numbers(session, "label", len(labels))
    session.many(
        f"INSERT INTO cache_label (n, {_LABEL}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608  our own columns
        [(first + i, *_columns(label)) for i, label in enumerate(labels)],
    )
    session.run("DELETE FROM cache_label WHERE n <= ?", (first + len(labels) - 1 - KEPT_LABELS,))


def labels(session: Statements, *, after: int) -> tuple[int, list[Label], int]:
    """Return (the last number, the labels after *after*, how many of them were damaged)."""
    found = session.all(f"SELECT {_LABEL} FROM cache_label WHERE n > ? ORDER BY n", (after,))  # noqa: S608
    read = [_label(row) for row in found]
    whole = [label for label in read if label is not None]
    return counter(session, "label"), whole, len(read) - len(whole)


_LABEL = "ts, same, score, source, features, embedder"


def _columns(label: Label) -> tuple[float, int, float | None, str, str, str]:
    features = json.dumps(label.features)
    return label.ts, int(label.same), label.score, storable(label.source), features, storable(label.embedder)


def _label(row: tuple[Any, ...]) -> Label | None:
    ts, same, score, source, features, embedder = row
    try:
        numbers = json.loads(features)
    except ValueError:
        return None
    if not is_numbers(numbers):
        return None
    return Label(
        features=tuple(map(float, numbers)),
        same=bool(same),
        ts=ts,
        score=score,
        source=restored(source),
        embedder=restored(embedder),
    )


def add_hits(session: Statements, hits: Iterable[tuple[str, Owner, str, bytes]]) -> None:
    """Append hit records (id, owner, namespace, body) and drop the oldest above the limit."""
    rows = list({name: (storable(name), *owner, storable(of), body) for name, owner, of, body in hits}.values())
    first = take_numbers(session, "hit", len(rows))
    session.many("DELETE FROM cache_hit WHERE id = ?", [(row[0],) for row in rows])
    session.many(
        "INSERT INTO cache_hit (n, id, application, session, user_name, namespace, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(first + i, *row) for i, row in enumerate(rows)],
    )
    session.run("DELETE FROM cache_hit WHERE n <= ?", (first + len(rows) - 1 - KEPT_HITS,))


def add_counts(session: Statements, counts: Mapping[str, int]) -> None:
    """Add to named counters."""
    session.many(
        "INSERT INTO cache_tally (name, value) VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = cache_tally.value + excluded.value",
        [(storable(name), n) for name, n in sorted(counts.items())],
    )


def counts(session: Statements) -> Mapping[str, int]:
    """Return all named counters."""
    return {restored(name): n for name, n in session.all("SELECT name, value FROM cache_tally")}


def set_state(session: Statements, name: str, value: str | None, owner: Owner) -> None:
    """Keep *value* under *name*; None deletes it."""
    session.run("DELETE FROM cache_state WHERE name = ?", (storable(name),))
    if value is not None:
        session.run(
            "INSERT INTO cache_state (name, value, application, session, user_name) VALUES (?, ?, ?, ?, ?)",
            (storable(name), storable(value), *owner),
        )
