"""The index finds what is nearest in its partition, whoever stored or deleted it, and never waits for its own work."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import time
from itertools import count
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.cache.neighbours import HERE, THERE, Trying, entry, fill, found, nearest, unit
from tokenwise_core.cache.entries import MemoryEntries, NearestNeighbours, SQLiteEntries
from tokenwise_core.cache.index import FaissIndex
from tokenwise_core.cache.index.partition import AUDIT_SEARCHES, SEAL
from tokenwise_core.cache.index.upkeep import REST
from tokenwise_core.storage.handles import CHECK_S

DIRECT = 200


def searched(index: FaissIndex, query: np.ndarray, k: int = 8, *, partition: bytes = HERE) -> list[int]:
    return found(index.search(partition, query, k))


def settled(index: FaissIndex, *, searches: int = 1) -> None:
    """Search until all work that is due has been found due, and wait until it is done."""
    for query in unit(searches, seed=99):
        index.search(HERE, query, 1)
    assert index.wait(30)


def large(n: int = 1_000) -> tuple[MemoryEntries, FaissIndex, np.ndarray, list[int]]:
    """Return an index that has quantised *n* entries."""
    store, vectors = MemoryEntries(), unit(n)
    seqs = fill(store, vectors)
    index = FaissIndex(store, direct=DIRECT)
    settled(index)
    assert index.stats().quantised == 1
    return store, index, vectors, seqs


def test_it_is_what_the_engine_asks_for() -> None:
    assert isinstance(FaissIndex(MemoryEntries()), NearestNeighbours)


def test_an_empty_partition_has_no_neighbours() -> None:
    assert FaissIndex(MemoryEntries()).search(HERE, unit(1)[0], 8) == []


@given(n=st.integers(1, 80), k=st.integers(0, 12), seed=st.integers(0, 1_000))
def test_a_small_partition_is_compared_exactly(n: int, k: int, seed: int) -> None:
    store, vectors, query = MemoryEntries(), unit(n, seed=seed), unit(1, seed=seed + 5_000)[0]
    seqs = fill(store, vectors)
    hits = FaissIndex(store).search(HERE, query, k)
    assert found(hits) == nearest(store.vectors(HERE).vectors, seqs, query, k)
    assert [cosine for _, cosine in hits] == pytest.approx(sorted(vectors @ query, reverse=True)[:k], abs=1e-3)


@given(data=st.data())
def test_only_entries_of_the_partition_are_found(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 60), min_size=2, max_size=5))
    store, everything = MemoryEntries(), unit(60)
    partitions = [bytes([i]) * 16 for i in range(len(sizes))]
    of = {name: fill(store, everything[:n], partition=name) for name, n in zip(partitions, sizes, strict=True)}
    index = FaissIndex(store, direct=30)
    for _ in range(2):
        for name in partitions:
            assert set(searched(index, everything[0], 60, partition=name)) <= set(of[name])
        assert index.wait(30)


def test_an_entry_stored_a_moment_ago_is_found() -> None:
    store, vectors = MemoryEntries(), unit(40)
    index = FaissIndex(store)
    for vector in vectors:
        index.search(HERE, vector, 1)
        (seq,) = fill(store, vector[None])
        assert searched(index, vector, 1) == [seq]


def test_what_another_process_stored_and_deleted_is_seen(tmp_path: Path) -> None:
    ours, theirs = SQLiteEntries(tmp_path / "cache.db"), SQLiteEntries(tmp_path / "cache.db")
    vectors = unit(20)
    index = FaissIndex(ours)
    seqs = fill(theirs, vectors)
    assert searched(index, vectors[3], 1) == [seqs[3]]
    theirs.delete([seqs[3]])
    assert seqs[3] not in searched(index, vectors[3], 20)


def test_a_deleted_entry_is_not_found_in_a_small_partition() -> None:
    store, vectors = MemoryEntries(), unit(50)
    seqs = fill(store, vectors)
    index = FaissIndex(store)
    for i in (49, 0, 20):  # the newest, the oldest, one between
        assert searched(index, vectors[i], 1) == [seqs[i]]
        store.delete([seqs[i]])
        assert seqs[i] not in searched(index, vectors[i], 50)
    assert index.stats().entries == 47


def test_a_store_that_was_begun_anew_is_read_anew(tmp_path: Path) -> None:
    path, vectors = tmp_path / "cache.db", unit(30)
    fill(SQLiteEntries(path), vectors)
    store = SQLiteEntries(path)
    index = FaissIndex(store)
    index.search(HERE, vectors[0], 1)
    for file in tmp_path.iterdir():
        file.unlink()
    time.sleep(CHECK_S)
    (seq,) = fill(SQLiteEntries(path), vectors[7:8])
    assert searched(index, vectors[0], 8) == [seq]


def test_a_large_partition_is_quantised_and_still_finds_the_nearest() -> None:
    _, index, vectors, seqs = large(3_000)
    queries = vectors[:200] + 0.05 * unit(200, seed=7)
    first = [searched(index, query, 1) == nearest(vectors, seqs, query, 1) for query in queries]
    assert np.mean(first) >= 0.99
    eight = [set(searched(index, query)) & set(nearest(vectors, seqs, query, 8)) for query in queries]
    assert np.mean([len(common) / 8 for common in eight]) >= 0.9


def test_quantised_cosines_are_nearly_exact() -> None:
    _, index, vectors, seqs = large()
    exact = dict(zip(seqs, (vectors @ vectors[5]).tolist(), strict=True))
    for seq, cosine in index.search(HERE, vectors[5], 50):
        assert cosine == pytest.approx(exact[seq], abs=0.02)  # 16 dimensions: 8 bits each say less than of 384


def test_no_search_waits_while_a_partition_is_built() -> None:
    store, vectors = Trying(), unit(600)
    seqs = fill(store, vectors)
    store.go.clear()
    index = FaissIndex(store, direct=DIRECT)
    assert searched(index, vectors[0], 1) == [seqs[0]]  # of the first ones, which were read
    assert store.reached.wait(10)
    assert searched(index, vectors[599], 1) != []
    assert not index.wait(0)
    store.go.set()
    settled(index)
    assert searched(index, vectors[599], 1) == [seqs[599]]


def test_what_is_stored_while_a_partition_is_built_is_found_after_it() -> None:
    store, vectors = Trying(), unit(700)
    fill(store, vectors[:600])
    store.go.clear()
    index = FaissIndex(store, direct=DIRECT)
    index.search(HERE, vectors[0], 1)
    assert store.reached.wait(10)
    late = fill(store, vectors[600:])
    store.go.set()
    settled(index)
    assert [searched(index, vector, 1)[0] for vector in vectors[600:]] == late


def test_new_entries_of_a_large_partition_are_found_before_and_after_they_are_sealed() -> None:
    store, index, _, seqs = large(2_000)
    new = unit(2 * SEAL, seed=5)
    for part in np.split(new, 8):
        seqs += fill(store, part)
        assert searched(index, part[-1], 1) == seqs[-1:]
    settled(index)
    assert [searched(index, vector, 1)[0] for vector in new[::50]] == seqs[2_000::50]
    assert index.stats().entries == len(seqs)
    assert index.stats().builds == 1


def test_a_bulk_of_new_entries_is_left_to_the_background() -> None:
    store, index, _, seqs = large(2_000)
    new = unit(5_500, seed=5)
    seqs += fill(store, new)
    settled(index)
    assert [searched(index, vector, 1)[0] for vector in new[::100]] == seqs[2_000::100]


def test_centroids_are_learnt_anew_when_a_partition_has_grown_fourfold() -> None:
    store, index, _, _ = large(600)
    fill(store, unit(3 * 600 + SEAL, seed=5))
    settled(index)
    assert index.stats().builds == 2


def test_a_deleted_entry_makes_room_for_the_next_nearest() -> None:
    store, vectors = MemoryEntries(), unit(1_000)
    vectors[:30] = vectors[0] + 0.02 * unit(30, seed=3)  # thirty answers to one question
    vectors[:30] /= np.linalg.norm(vectors[:30], axis=1, keepdims=True)
    order = nearest(vectors, fill(store, vectors), vectors[0], 30)
    index = FaissIndex(store, direct=DIRECT)
    settled(index)
    store.delete(order[:20])
    hits = searched(index, vectors[0], 8)
    assert len(hits) == 8
    assert set(hits) <= set(order[20:])


def test_cosines_are_exact_once_entries_were_deleted() -> None:
    store, index, vectors, seqs = large()
    store.delete([seqs[1]])
    rows = store.vectors(HERE)
    exact = dict(zip(rows.seqs.tolist(), (rows.vectors @ vectors[0]).tolist(), strict=True))
    for seq, cosine in index.search(HERE, vectors[0], 20):
        assert cosine == pytest.approx(exact[seq], abs=1e-6)


def test_dead_entries_are_cleared_out_when_they_are_many() -> None:
    store, index, vectors, seqs = large()
    before = index.stats().bytes
    store.delete(seqs[::2])
    settled(index, searches=AUDIT_SEARCHES)
    stats = index.stats()
    assert (stats.entries, stats.tombstones, stats.builds) == (500, 0, 1)
    assert stats.bytes < before
    assert searched(index, vectors[1], 1) == [seqs[1]]


def test_few_dead_entries_are_left_in_place() -> None:
    store, index, vectors, seqs = large()
    store.delete(seqs[:50])
    settled(index, searches=AUDIT_SEARCHES)
    assert index.stats().entries == 1_000
    assert not set(seqs[:50]) & {seq for vector in vectors[:50] for seq in searched(index, vector)}


def test_a_partition_that_has_shrunk_is_compared_directly_again() -> None:
    store, index, vectors, seqs = large()
    store.delete(seqs[100:])
    settled(index, searches=AUDIT_SEARCHES)
    assert searched(index, vectors[50], 8) == nearest(vectors[:100], seqs[:100], vectors[50], 8)
    assert index.stats().quantised == 0


def test_a_cleared_store_leaves_nothing_to_find() -> None:
    store, index, vectors, _ = large()
    store.clear()
    assert index.search(HERE, vectors[0], 8) == []


def test_work_that_fails_leaves_what_is_there_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    store, vectors = Trying(), unit(600)
    seqs = fill(store, vectors)
    store.broken = True
    index = FaissIndex(store, direct=DIRECT)
    settled(index, searches=2)
    assert searched(index, vectors[0], 1) == [seqs[0]]
    assert index.stats().failures == 1  # not once a search
    assert "no disk" in caplog.text
    store.broken = False
    settled(index, searches=4 * REST)
    assert index.stats().quantised == 1


def test_a_vector_of_another_dimension_finds_nothing() -> None:
    _, index, _, _ = large()
    assert index.search(HERE, unit(1, dimension=8)[0], 8) == []
    store = MemoryEntries()
    fill(store, unit(3))
    assert FaissIndex(store).search(HERE, unit(1, dimension=8)[0], 8) == []


def test_small_partitions_stay_resident_within_their_bytes() -> None:
    store, vectors = MemoryEntries(), unit(50)
    names = [bytes([i]) * 16 for i in range(100)]
    for name in names:
        fill(store, vectors, partition=name)
    index = FaissIndex(store, small_bytes=100_000)
    for name in names:
        index.search(name, vectors[0], 1)
    assert index.stats().bytes <= 100_000
    assert len(searched(index, vectors[0], 50, partition=names[0])) == 50


def test_large_partitions_stay_resident_within_their_bytes() -> None:
    store, vectors = MemoryEntries(), unit(600)
    for name in (HERE, THERE):
        fill(store, vectors, partition=name)
    index = FaissIndex(store, direct=DIRECT, large_bytes=1)
    for name in (HERE, THERE, THERE):
        index.search(name, vectors[0], 1)
        assert index.wait(30)
    assert index.stats().partitions == 1  # the one in use, however large


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_a_copy_begins_anew(copied: object, tmp_path: Path) -> None:
    store, vectors = SQLiteEntries(tmp_path / "cache.db"), unit(600)
    seqs = fill(store, vectors)
    index = FaissIndex(store, direct=DIRECT, folder=tmp_path / "index")
    settled(index)
    other = copied(index)  # type: ignore[operator]
    assert other.stats().partitions == 0
    assert searched(other, vectors[1], 1) == [seqs[1]]
    settled(other)
    assert other.stats().quantised == index.stats().quantised == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # it forks while other threads run: that is the point
def test_a_forked_child_begins_anew_even_if_a_build_was_under_way(tmp_path: Path) -> None:
    store, vectors = SQLiteEntries(tmp_path / "cache.db"), unit(2_000)
    seqs = fill(store, vectors)
    index = FaissIndex(store, direct=DIRECT)
    index.search(HERE, vectors[0], 1)
    child = os.fork()
    if not child:
        status = 1
        try:
            index.search(HERE, vectors[0], 1)
            status = int(not (index.wait(30) and searched(index, vectors[1_999], 1) == [seqs[1_999]]))
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    settled(index)
    assert searched(index, vectors[1_999], 1) == [seqs[1_999]]


def test_a_closed_index_opens_again() -> None:
    _, index, vectors, seqs = large()
    index.close()
    settled(index)
    assert searched(index, vectors[9], 1) == [seqs[9]]


def test_closing_gives_up_a_build_that_is_under_way() -> None:
    store = Trying()
    fill(store, unit(600))
    store.go.clear()
    index = FaissIndex(store, direct=DIRECT)
    index.search(HERE, unit(1)[0], 1)
    assert store.reached.wait(10)
    state = index._state()
    index.close()
    store.go.set()
    assert state.worker.wait(10)
    assert state.worker.failures == 0
    assert not any(partition.view.segments for partition in state.partitions())


def test_faiss_threads_of_the_application_are_left_alone() -> None:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    try:
        large()
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)


def test_threads_that_store_delete_and_search_get_in_nobodys_way() -> None:
    store, vectors = MemoryEntries(), unit(4_000)
    index, numbers = FaissIndex(store, direct=DIRECT), count()
    of: dict[bytes, set[int]] = {HERE: set(), THERE: set()}
    deleted: set[int] = set()
    strays: list[int] = []
    errors: list[BaseException] = []

    def writing() -> None:
        while (i := next(numbers)) < 400:
            for name in (HERE, THERE):
                seqs = fill(store, vectors[10 * i : 10 * i + 10], partition=name)
                of[name].update(seqs)
                if i % 3 == 0:
                    deleted.update(seqs[:2])
                    store.delete(seqs[:2])

    def searching(seed: int) -> None:
        dice = np.random.default_rng(seed)
        while writers_run.is_set():
            name = (HERE, THERE)[int(dice.integers(2))]
            seqs = searched(index, vectors[dice.integers(4_000)], partition=name)
            strays.extend(set(seqs) & of[HERE if name == THERE else THERE])

    def guarded(job: object, *args: object) -> None:
        try:
            job(*args)  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    writers_run = threading.Event()
    writers_run.set()
    writers = [threading.Thread(target=guarded, args=(writing,)) for _ in range(2)]
    readers = [threading.Thread(target=guarded, args=(searching, seed)) for seed in range(4)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join()
    writers_run.clear()
    for thread in readers:
        thread.join()
    for name in (HERE, THERE):
        for _ in range(3):
            index.search(name, vectors[0], 1)
            assert index.wait(30)
    assert errors == []
    assert strays == []
    for name in (HERE, THERE):
        rows = store.vectors(name)
        assert set(rows.seqs.tolist()) == of[name] - deleted
        assert all(
            searched(index, rows.vectors[i], 1, partition=name) == [rows.seqs[i]] for i in range(0, len(rows.seqs), 37)
        )


def test_the_newest_of_equal_keys_is_found_once() -> None:
    store, (vector, other) = MemoryEntries(), unit(2)
    index = FaissIndex(store)
    first = entry(vector)
    store.put([first])
    index.search(HERE, vector, 8)
    (seq,) = store.put([entry(other), first])[1:]
    assert searched(index, vector, 8).count(seq) == 1
