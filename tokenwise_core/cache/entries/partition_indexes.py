"""Nearest neighbours inside one partition, in PostgreSQL: row by row, or through an index of that partition alone."""

# ruff: noqa: S608 - what is put into statements is hexadecimal and numbers of ours

from __future__ import annotations

from tokenwise_core.cache.entries.wire import to_wire
from tokenwise_core.cache.entry import Vector
from tokenwise_core.storage.pool import LOCK_TIMEOUT
from tokenwise_core.storage.statements import Statements, one

EXACT_UP_TO = 10_000
"""Entries of a partition that are compared one by one (about 12 ms at 384 numbers); a larger one gets an index."""
_SHRUNK = 0.5  # an index is dropped below this share of the entries that called for it
_BUILD_LOCK = 0x746F6B656E69  # "tokeni"
_NAME = "cache_vector_of_"
_EXACT = "SELECT seq, data <#> ? AS distance FROM cache_vector WHERE partition = ? ORDER BY distance LIMIT ?"
_FULL_FLOATS, _HALF_FLOATS = 2_000, 4_000  # dimensions that an HNSW index of pgvector takes


def search(session: Statements, partition: bytes, vector: Vector, k: int, *, indexed: bool) -> list[tuple[int, float]]:
    """Return (seq, cosine), nearest first: of unit vectors the cosine is the inner product, here negated.

    For the planner to see that a partial index serves, the partition must stand in the statement itself.
    """
    kind = _indexed_type(len(vector))
    if indexed and kind is not None:
        found = session.all(
            f"SELECT seq, data::{kind} <#> ?::{kind} AS distance FROM cache_vector"
            f" WHERE partition = '\\x{partition.hex()}'::bytea ORDER BY distance LIMIT ?",
            (to_wire(vector), k),
        )
    else:
        found = session.all(_EXACT, (to_wire(vector), partition, k))
    return [(int(seq), -float(distance)) for seq, distance in found]


def existing(session: Statements) -> frozenset[bytes]:
    """Return the partitions that have an index of their own."""
    names = session.all(
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = 'cache_vector'::regclass AND i.indisvalid AND starts_with(c.relname::text, ?)",
        (_NAME,),
    )
    return frozenset(bytes.fromhex(name.removeprefix(_NAME)) for (name,) in names)


def keep_up(session: Statements, *, exact_up_to: int) -> bool:
    """Make the indexes of partitions that have grown, drop those of partitions that have shrunk; say if any changed.

    They are built beside running writers; one process builds, the others go on without.
    """
    if not one(session, "SELECT pg_try_advisory_lock(?)", (_BUILD_LOCK,)):
        return False
    try:
        session.run("SET lock_timeout = 0")  # building waits for the transactions that run
        sizes = {
            bytes(partition): (n, dimension)
            for partition, n, dimension in session.all(
                "SELECT partition, count(*), max(vector_dims(data)) FROM cache_vector"
                " GROUP BY partition HAVING count(*) > ?",
                (int(exact_up_to * _SHRUNK),),
            )
        }
        known = existing(session)
        for partition in known - sizes.keys():
            session.run(f"DROP INDEX CONCURRENTLY IF EXISTS {_NAME}{partition.hex()}")
        grown = [(p, d) for p, (n, d) in sizes.items() if n > exact_up_to and p not in known and _indexed_type(d)]
        for partition, dimension in grown:
            _build(session, partition, dimension)
        return bool(grown or known - sizes.keys())
    finally:
        session.run(LOCK_TIMEOUT)
        session.all("SELECT pg_advisory_unlock(?)", (_BUILD_LOCK,))


def _build(session: Statements, partition: bytes, dimension: int) -> None:
    kind = _indexed_type(dimension)
    assert kind is not None
    name = f"{_NAME}{partition.hex()}"
    session.run(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")  # what a build that failed has left is not valid
    session.run(
        f"CREATE INDEX CONCURRENTLY {name} ON cache_vector"
        f" USING hnsw ((data::{kind}) {kind.split('(')[0]}_ip_ops) WHERE partition = '\\x{partition.hex()}'::bytea"
    )


def _indexed_type(dimension: int) -> str | None:
    """Return the type under which vectors are indexed, None where there are too many numbers."""
    if dimension <= _FULL_FLOATS:
        return f"vector({dimension})"
    return f"halfvec({dimension})" if dimension <= _HALF_FLOATS else None
