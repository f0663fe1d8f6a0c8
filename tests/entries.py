"""Cache entries for the tests of their stores."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import blake2b
from typing import Any

import numpy as np
import pytest
from sqlalchemy import make_url

from tokenwise_core.cache.entries import PostgresEntries
from tokenwise_core.cache.entry import CachedAnswer, Entry, HitRecord, Label, Vector
from tokenwise_core.scoping import Scope

NOW = 1_790_000_000.0
_TABLES = (
    "cache_entry", "cache_answer", "cache_vector", "cache_stamp", "cache_epoch", "cache_namespace", "cache_label",
    "cache_hit", "cache_state", "cache_tally",
)  # fmt: skip


@pytest.fixture(scope="module")
def cache_database(postgres_server: str) -> Iterator[str]:
    """Make a database with the tables, once a module, and return its URL."""
    import psycopg

    name = f"c{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield make_url(postgres_server).set(database=name).render_as_string(hide_password=False)
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def emptied(url: str) -> str:
    """Delete all that earlier tests left in a PostgreSQL database, and return its URL."""
    import psycopg

    with closing(PostgresEntries(url)) as entries, psycopg.connect(url, autocommit=True) as connection:
        entries.counts()  # makes the tables
        connection.execute(f"TRUNCATE {', '.join(_TABLES)}")
    return url


def at(seconds: float) -> float:
    return NOW + seconds


def key_of(what: object) -> bytes:
    """Return 16 bytes for anything with a repr."""
    return blake2b(repr(what).encode(), digest_size=16).digest()


def unit(seed: int, *, dimension: int = 32) -> Vector:
    """Return a random unit vector."""
    vector = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def make_entry(i: int, **changes: Any) -> Entry:
    """Return entry *i* of the namespace "n" and the partition "p"; times rise with *i*."""
    entry = Entry(
        key=key_of(i),
        namespace="n",
        answer=CachedAnswer(text=f"answer {i}"),
        created_at=at(i),
        partition=key_of("p"),
        query=f"question {i}?",
        vector=unit(i),
        reading={"plain": f"question {i}", "words": ["question", str(i)], "numbers": [str(i)], "negated": False},
        signature={"plain": f"answer {i}"},
    )
    return replace(entry, **changes)


def make_hit(i: int, **changes: Any) -> HitRecord:
    """Return the record of a hit on entry *i*."""
    hit = HitRecord(
        id=f"hit-{i}", ts=at(i), seq=i, kind="semantic", namespace="n", query=f"question {i}?", similarity=0.97,
        features=(0.25, 1.0), age_s=2.0, saved_tokens=100, owner=Scope(user="u"),
    )  # fmt: skip
    return replace(hit, **changes)


def make_label(i: int) -> Label:
    """Return label *i*."""
    score = None if i % 3 else 0.5
    return Label(features=(i / 8, 1.0), same=bool(i % 2), ts=at(i), score=score, source="miss", embedder=f"e{i % 2}")
