"""Putting entries into the SQL stores, and counting what became of them."""

# ruff: noqa: S608 - what is put into statements is our own names of tables and placeholders, never a value

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tokenwise_core.cache.entries.counters import take_numbers
from tokenwise_core.cache.entries.deleting import drop_empty_namespaces, forget
from tokenwise_core.cache.entries.eviction import first_heat, heated, priority
from tokenwise_core.cache.entries.rows import Row, VectorFormat, same_direction
from tokenwise_core.storage.statements import Statements, chunks, marks

_COLUMNS = (
    "seq", "key", "namespace", "partition", "question", "created_at", "expires_at", "epochs", "capability",
    "cost_nano", "hits", "good", "bad", "bytes", "application", "session", "user_name", "heat", "heat_at", "priority",
)  # fmt: skip
_OF_ROW = len(Row._fields) - 2  # all but the body and the vector, which have tables of their own
INSERT = f"INSERT INTO cache_entry ({', '.join(_COLUMNS)}) VALUES ({marks(len(_COLUMNS))})"
_ADD_TO_NAMESPACE = """
INSERT INTO cache_namespace (name, entries, semantic, bytes, hits, inflation) VALUES (?, ?, ?, ?, ?, 0)
ON CONFLICT (name) DO UPDATE SET entries = cache_namespace.entries + excluded.entries,
  semantic = cache_namespace.semantic + excluded.semantic, bytes = cache_namespace.bytes + excluded.bytes,
  hits = cache_namespace.hits + excluded.hits
"""
_KNOWN = """
SELECT e.key, e.seq, e.partition, n.stale_to, v.data FROM cache_entry e JOIN cache_namespace n ON n.name = e.namespace
LEFT JOIN cache_vector v ON v.seq = e.seq WHERE e.key IN ({})
"""
_TOUCHED = """
SELECT e.seq, e.namespace, e.cost_nano, e.bytes, e.heat, e.heat_at, n.inflation
FROM cache_entry e JOIN cache_namespace n ON n.name = e.namespace WHERE e.seq IN ({})
"""


class Stamped(NamedTuple):
    """A row, and the epochs that it stands under."""

    row: Row
    stamps: Mapping[str, int]


def put(session: Statements, new: Mapping[bytes, Stamped], vectors: VectorFormat) -> dict[bytes, int]:
    """Insert rows by key and return their seqs; those that they replace are gone."""
    known = _known(session, new, vectors)
    kept = {key: seq for key, (seq, same) in known.items() if same}
    inflations = _inflations(session, {stamped.row.namespace for stamped in new.values()})
    forget(session, [seq for seq, _ in known.values()])
    if len(kept) < len(known):
        take_numbers(session, "generation", 1)
    fresh = [key for key in new if key not in kept]
    first = take_numbers(session, "seq", len(fresh)) if fresh else 0
    seqs = {**kept, **{key: first + i for i, key in enumerate(fresh)}}
    _insert(session, [(seqs[key], stamped) for key, stamped in new.items()], inflations, vectors)
    if known:
        drop_empty_namespaces(session)
    return seqs


def _known(session: Statements, new: Mapping[bytes, Stamped], vectors: VectorFormat) -> dict[bytes, tuple[int, bool]]:
    """Return, of the keys that are stored, their seq and whether the new row may take it over."""
    found = {}
    for keys in chunks(new):
        for key, seq, partition, stale_to, data in session.all(_KNOWN.format(marks(len(keys))), keys):
            row = new[bytes(key)].row
            before = None if data is None else vectors.unpack([data])[0]
            same_partition = (None if partition is None else bytes(partition)) == row.partition
            same = seq > stale_to and same_partition and same_direction(before, row.vector)
            found[bytes(key)] = (int(seq), same)
    return found


def _inflations(session: Statements, names: Iterable[str]) -> dict[str, float]:
    return {
        name: inflation
        for chunk in chunks(names)
        for name, inflation in session.all(
            f"SELECT name, inflation FROM cache_namespace WHERE name IN ({marks(len(chunk))})", chunk
        )
    }


def _insert(
    session: Statements, rows: list[tuple[int, Stamped]], inflations: Mapping[str, float], vectors: VectorFormat
) -> None:
    entries = []
    added: dict[str, tuple[int, ...]] = {}
    for seq, (row, _) in rows:
        heat = first_heat(row.hits)
        rank = priority(inflation=inflations.get(row.namespace, 0.0), cost_nano=row.cost_nano, heat=heat, size=row.size)
        entries.append((seq, *row[:_OF_ROW], heat, row.created_at, rank))
        before = added.get(row.namespace, (0, 0, 0, 0))
        plus = (1, row.partition is not None, row.size, row.hits)
        added[row.namespace] = tuple(a + b for a, b in zip(before, plus, strict=True))
    session.many(INSERT, entries)
    session.many("INSERT INTO cache_answer (seq, body) VALUES (?, ?)", [(seq, s.row.body) for seq, s in rows])
    session.many(
        "INSERT INTO cache_vector (seq, partition, data) VALUES (?, ?, ?)",
        [(seq, s.row.partition, vectors.pack(s.row.vector)) for seq, s in rows if s.row.vector is not None],
    )
    session.many(
        "INSERT INTO cache_stamp (name, epoch, seq) VALUES (?, ?, ?)",
        [(name, epoch, seq) for seq, s in rows for name, epoch in s.stamps.items()],
    )
    session.many(_ADD_TO_NAMESPACE, [(name, *sums) for name, sums in sorted(added.items())])


def touch(session: Statements, hits: Mapping[int, int], *, now: float) -> None:
    """Add hits, and raise the entries' priority by them."""
    updates, by_namespace = [], Counter[str]()
    for seqs in chunks(hits):
        for seq, namespace, cost, size, heat, heat_at, inflation in session.all(
            _TOUCHED.format(marks(len(seqs))), seqs
        ):
            warm = heated(heat, seconds=now - heat_at, hits=hits[seq])
            rank = priority(inflation=inflation, cost_nano=cost, heat=warm, size=size)
            updates.append((hits[seq], warm, now, rank, seq))
            by_namespace[namespace] += hits[seq]
    session.many("UPDATE cache_entry SET hits = hits + ?, heat = ?, heat_at = ?, priority = ? WHERE seq = ?", updates)
    session.many(
        "UPDATE cache_namespace SET hits = hits + ? WHERE name = ?", [(n, name) for name, n in by_namespace.items()]
    )


def mark(session: Statements, labels: Mapping[int, tuple[int, int]]) -> None:
    """Add (right, wrong) labels."""
    session.many(
        "UPDATE cache_entry SET good = good + ?, bad = bad + ? WHERE seq = ?",
        [(right, wrong, seq) for seq, (right, wrong) in labels.items()],
    )
