"""Entries in PostgreSQL: neighbours inside one partition, indexes of their own, connections that break."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import psycopg
import pytest

from tests.entries import NOW, cache_database, emptied, key_of, make_entry, unit
from tests.postgres import postgres_server
from tokenwise_core.cache.entries import NearestNeighbours, PostgresEntries, open_entries, partition_indexes
from tokenwise_core.cache.entries.wire import from_wire, to_wire
from tokenwise_core.errors import StoreError, StoreTooNew

__all__ = ["cache_database", "postgres_server"]  # fixtures
pytestmark = pytest.mark.postgres
_FEW = 60


@pytest.fixture
def entries(cache_database: str) -> Iterator[PostgresEntries]:
    opened = PostgresEntries(emptied(cache_database), exact_up_to=_FEW)
    yield opened
    with opened._reading() as session:
        for partition in partition_indexes.existing(session):
            session.run(f"DROP INDEX {partition_indexes._NAME}{partition.hex()}")
    opened.close()


def _indexed(entries: PostgresEntries) -> frozenset[bytes]:
    with entries._reading() as session:
        return partition_indexes.existing(session)


class TestSearching:
    def test_it_finds_neighbours_itself(self, entries: PostgresEntries) -> None:
        assert isinstance(entries, NearestNeighbours)
        assert entries.searches

    def test_only_entries_of_the_partition_come_up_however_near_others_are(self, entries: PostgresEntries) -> None:
        mine = entries.put([make_entry(i, vector=unit(i)) for i in range(5)])
        entries.put([make_entry(100 + i, partition=key_of("q"), vector=unit(7)) for i in range(50)])
        found = entries.search(key_of("p"), unit(7), 8)
        assert {seq for seq, _ in found} == set(mine)
        wanted = sorted((float(unit(i) @ unit(7)) for i in range(5)), reverse=True)
        np.testing.assert_allclose([cosine for _, cosine in found], wanted, atol=1e-5)
        assert entries.search(key_of("nowhere"), unit(7), 8) == []

    def test_an_entry_that_is_gone_does_not_come_up(self, entries: PostgresEntries) -> None:
        seqs = entries.put([make_entry(i) for i in range(5)])
        entries.delete(seqs[:2])
        assert {seq for seq, _ in entries.search(key_of("p"), unit(0), 8)} == set(seqs[2:])

    def test_partitions_may_have_vectors_of_different_lengths(self, entries: PostgresEntries) -> None:
        for n in (3, 384, 3072):
            [seq] = entries.put([make_entry(n, partition=key_of(("d", n)), vector=unit(n, dimension=n))])
            [(found, cosine)] = entries.search(key_of(("d", n)), unit(n, dimension=n), 3)
            assert found == seq
            assert cosine == pytest.approx(1, abs=1e-5)


class TestLargePartitions:
    @pytest.mark.parametrize("dimension", [16, 2048])
    def test_a_large_partition_gets_an_index_that_finds_the_nearest_of_it_alone(
        self, entries: PostgresEntries, dimension: int
    ) -> None:
        near = [make_entry(i, vector=unit(i, dimension=dimension)) for i in range(_FEW + 20)]
        other = [make_entry(900 + i, partition=key_of("q"), vector=unit(3, dimension=dimension)) for i in range(_FEW)]
        seqs = entries.put(near + other)
        entries.sweep(now=NOW)
        assert _indexed(entries) == {key_of("p")}
        for i in (0, 3, 50):
            [(seq, cosine), *_] = found = entries.search(key_of("p"), unit(i, dimension=dimension), 8)
            assert seq == seqs[i]
            assert cosine == pytest.approx(1, abs=1e-3)
            assert {seq for seq, _ in found} <= set(seqs[: len(near)])

    def test_entries_put_after_the_index_was_made_are_found_through_it(self, entries: PostgresEntries) -> None:
        entries.put([make_entry(i) for i in range(_FEW + 1)])
        entries.sweep(now=NOW)
        [seq] = entries.put([make_entry(500)])
        assert entries.search(key_of("p"), unit(500), 1)[0][0] == seq

    def test_the_plan_uses_the_index(self, entries: PostgresEntries) -> None:
        entries.put([make_entry(i) for i in range(_FEW + 1)])
        entries.sweep(now=NOW)
        with entries._reading() as session:
            session.run("SET enable_seqscan = off")
            session.run("SET enable_sort = off")
            plan = session.all(
                "EXPLAIN SELECT seq, data::vector(32) <#> ?::vector(32) AS distance FROM cache_vector"
                f" WHERE partition = '\\x{key_of('p').hex()}'::bytea ORDER BY distance LIMIT 8",
                (to_wire(unit(1)),),
            )
            session.run("RESET enable_seqscan")
            session.run("RESET enable_sort")
        assert f"Index Scan using cache_vector_of_{key_of('p').hex()}" in str(plan)

    def test_the_index_of_a_partition_that_shrank_is_dropped(self, entries: PostgresEntries) -> None:
        seqs = entries.put([make_entry(i) for i in range(_FEW + 1)])
        entries.sweep(now=NOW)
        entries.delete(seqs[: _FEW - 5])
        entries._upkeep_due = 0.0
        entries.sweep(now=NOW)
        assert _indexed(entries) == frozenset()
        assert len(entries.search(key_of("p"), unit(1), 8)) == 6


class TestConnections:
    def test_a_server_that_is_not_there_is_an_error_of_the_store_without_the_password(self) -> None:
        entries = PostgresEntries("postgresql://user:plum@127.0.0.1:1/cache")
        with pytest.raises(StoreError) as caught:
            entries.get(key_of(1), now=NOW)
        assert "plum" not in str(caught.value)
        assert caught.value.url == "postgresql://user:***@127.0.0.1:1/cache"

    def test_connections_that_the_server_closed_are_made_anew(
        self, entries: PostgresEntries, cache_database: str
    ) -> None:
        entries.put([make_entry(1)])
        with psycopg.connect(cache_database, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        failures = 0
        for _ in range(20):
            try:
                entries.get(key_of(1), now=NOW)
            except StoreError:
                failures += 1
        assert failures in (0, 1)
        assert entries.get(key_of(1), now=NOW) is not None

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_store_used_before_a_fork_works_on_both_sides(self, entries: PostgresEntries) -> None:
        entries.put([make_entry(1)])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                entries.put([make_entry(2)])
                code = 0 if entries.get(key_of(1), now=NOW) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        entries.put([make_entry(3)])
        assert {entry.key for entry in entries.iterate()} == {key_of(i) for i in (1, 2, 3)}

    def test_a_newer_release_that_broke_with_ours_is_named(self, cache_database: str) -> None:
        emptied(cache_database)
        with psycopg.connect(cache_database, autocommit=True) as admin:
            admin.execute("INSERT INTO cache_schema_version VALUES (901, 'breaking')")
            try:
                with closing(open_entries(cache_database)) as entries, pytest.raises(StoreTooNew) as caught:
                    entries.get(key_of(1), now=NOW)
                assert caught.value.found == 901
            finally:
                admin.execute("DELETE FROM cache_schema_version WHERE version = 901")


def test_vectors_travel_as_they_are() -> None:
    drawn = [unit(i) for i in range(4)]
    np.testing.assert_allclose(from_wire([to_wire(vector) for vector in drawn]), drawn, atol=1e-6)
    with pytest.raises(ValueError, match="lengths"):
        from_wire([to_wire(unit(1)), to_wire(unit(1, dimension=3))])
