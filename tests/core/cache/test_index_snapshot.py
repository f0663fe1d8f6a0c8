"""Snapshots of the index: they spare the next process a build, and one that does not fit the store heals itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.core.cache.neighbours import HERE, THERE, fill, found, unit
from tokenwise_core.cache.entries import MemoryEntries, SQLiteEntries
from tokenwise_core.cache.index import FaissIndex
from tokenwise_core.cache.index.partition import SEAL

DIRECT = 200


def opened(store: SQLiteEntries | MemoryEntries, folder: Path, *, partition: bytes = HERE) -> FaissIndex:
    """Return an index that has done all that is due when it is first asked."""
    index = FaissIndex(store, direct=DIRECT, folder=folder)
    for _ in range(2):
        index.search(partition, unit(1)[0], 1)
        assert index.wait(30)
    return index


@pytest.fixture
def store() -> MemoryEntries:
    return MemoryEntries()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


@pytest.fixture
def snapshot(store: MemoryEntries, folder: Path) -> Path:
    """Return the snapshot of a thousand entries."""
    fill(store, unit(1_000))
    opened(store, folder).close()
    (path,) = folder.iterdir()
    return path


def finds_all(index: FaissIndex, store: MemoryEntries | SQLiteEntries) -> bool:
    rows = store.vectors(HERE)
    return all(found(index.search(HERE, rows.vectors[i], 1)) == [rows.seqs[i]] for i in range(0, len(rows.seqs), 25))


def test_the_next_process_need_not_build(tmp_path: Path, folder: Path) -> None:
    fill(SQLiteEntries(tmp_path / "cache.db"), unit(1_000))
    opened(SQLiteEntries(tmp_path / "cache.db"), folder).close()
    store = SQLiteEntries(tmp_path / "cache.db")
    index = opened(store, folder)
    assert index.stats().quantised == 1
    assert index.stats().builds == 0
    assert finds_all(index, store)


def test_what_was_stored_since_is_read_from_the_store(store: MemoryEntries, snapshot: Path) -> None:
    fill(store, unit(2 * SEAL, seed=8))
    index = opened(store, snapshot.parent)
    assert index.stats().builds == 0
    assert index.stats().entries == 1_000 + 2 * SEAL
    assert finds_all(index, store)


def test_what_was_deleted_since_is_not_found(store: MemoryEntries, snapshot: Path) -> None:
    vectors = unit(1_000)
    gone = [found(opened(store, snapshot.parent).search(HERE, vector, 1))[0] for vector in vectors[:5]]
    store.delete(gone)
    index = opened(store, snapshot.parent)
    assert index.stats().builds == 0
    assert not {seq for vector in vectors[:5] for seq in found(index.search(HERE, vector, 8))} & set(gone)


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda data: data[: int(share * len(data))]


def flip(at: float) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        place = int(at * len(data))
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return flipped


DAMAGES = {
    "empty": cut(0),
    "nothing but its beginning": cut(0.001),
    "half of it": cut(0.5),
    "without its last bytes": lambda data: data[:-3],
    "longer": lambda data: data + b"\0" * 8,
    "another file": lambda data: b"#!/bin/sh\n" * 500,
    "zeros": lambda data: bytes(len(data)),
    **{f"a bit flipped at {at}": flip(at) for at in (0, 0.0005, 0.002, 0.1, 0.5, 0.9999)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_snapshot_is_built_anew(
    damage: Callable[[bytes], bytes], store: MemoryEntries, snapshot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = snapshot.read_bytes()
    snapshot.write_bytes(damage(whole))
    index = opened(store, snapshot.parent)
    assert index.stats().builds == 1
    assert index.stats().failures == 0
    assert finds_all(index, store)
    assert "rebuilt from the store" in caplog.text
    assert len(snapshot.read_bytes()) == len(whole)  # and written anew
    assert opened(store, snapshot.parent).stats().builds == 0


def test_a_snapshot_of_another_partition_is_not_used(store: MemoryEntries, snapshot: Path) -> None:
    fill(store, unit(500, seed=4), partition=THERE)
    snapshot.rename(snapshot.with_name(f"{THERE.hex()}.index"))
    index = opened(store, snapshot.parent, partition=THERE)
    assert index.stats().builds == 1
    own = set(store.vectors(THERE).seqs.tolist())
    assert all(set(found(index.search(THERE, vector, 8))) <= own for vector in unit(20))


def test_a_snapshot_that_the_store_has_not_reached_is_not_used(snapshot: Path) -> None:
    shorter = MemoryEntries()
    fill(shorter, unit(700))
    index = opened(shorter, snapshot.parent)
    assert index.stats().builds == 1
    assert finds_all(index, shorter)


def test_a_snapshot_of_another_store_is_not_used(snapshot: Path) -> None:
    other = MemoryEntries()
    fill(other, unit(1_200, seed=77))
    index = opened(other, snapshot.parent)
    assert index.stats().builds == 1
    assert finds_all(index, other)


def test_a_snapshot_most_of_whose_entries_have_died_is_not_used(store: MemoryEntries, snapshot: Path) -> None:
    store.delete(store.vectors(HERE).seqs[:700].tolist())
    index = opened(store, snapshot.parent)
    assert index.stats().builds == 1
    assert index.stats().entries == 300
    assert finds_all(index, store)


def test_a_snapshot_is_written_again_once_a_tenth_is_new(store: MemoryEntries, snapshot: Path) -> None:
    size = snapshot.stat().st_size
    index = opened(store, snapshot.parent)
    fill(store, unit(SEAL, seed=8))
    index.search(HERE, unit(1)[0], 1)
    assert index.wait(30)
    assert snapshot.stat().st_size > 1.5 * size


def test_saving_writes_what_is_not_yet_saved(store: MemoryEntries, snapshot: Path) -> None:
    index = opened(store, snapshot.parent)
    before = snapshot.stat().st_ino
    index.save()
    assert snapshot.stat().st_ino == before  # it says all
    snapshot.unlink()
    fill(store, unit(SEAL, seed=8))
    index.search(HERE, unit(1)[0], 1)
    index.wait(30)
    index.save()
    assert opened(store, snapshot.parent).stats().entries == 1_000 + SEAL


def test_a_partition_that_has_shrunk_leaves_no_snapshot(store: MemoryEntries, snapshot: Path) -> None:
    index = opened(store, snapshot.parent)
    store.delete(store.vectors(HERE).seqs[100:].tolist())
    for vector in unit(100):
        index.search(HERE, vector, 1)
    assert index.wait(30)
    assert not snapshot.exists()


def test_small_partitions_need_no_snapshot(store: MemoryEntries, folder: Path) -> None:
    fill(store, unit(DIRECT))
    opened(store, folder).close()
    assert not folder.exists()


def test_what_a_killed_process_left_half_written_is_removed(store: MemoryEntries, folder: Path) -> None:
    folder.mkdir()
    (folder / f"{HERE.hex()}.index.abc.tmp").write_bytes(b"half")
    fill(store, unit(1_000))
    opened(store, folder).close()
    assert [path.name for path in folder.iterdir()] == [f"{HERE.hex()}.index"]


def test_clearing_leaves_no_vectors_on_the_disk(store: MemoryEntries, snapshot: Path) -> None:
    (snapshot.parent / f"{snapshot.name}.abc.tmp").write_bytes(b"half")
    index = opened(store, snapshot.parent)
    index.clear()
    assert list(snapshot.parent.iterdir()) == []
    assert index.stats().partitions == 0


def test_a_folder_that_cannot_be_written_costs_only_the_snapshot(
    store: MemoryEntries, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("in the way")
    fill(store, unit(1_000))
    index = opened(store, folder)
    assert "no more snapshots" in caplog.text
    assert index.stats().failures == 0
    index.save()
    index.close()
    assert finds_all(opened(store, folder), store)


def test_snapshots_of_partitions_that_are_gone_are_deleted(store: MemoryEntries, snapshot: Path) -> None:
    gone = snapshot.with_name(f"{THERE.hex()}.index")
    gone.write_bytes(snapshot.read_bytes())
    notes = snapshot.with_name("notes.index")
    notes.write_text("not ours")
    fill(store, unit(SEAL, seed=8))
    opened(store, snapshot.parent)
    assert not gone.exists()
    assert snapshot.exists()
    assert notes.exists()


def test_nobody_else_may_read_a_snapshot(snapshot: Path) -> None:
    assert snapshot.stat().st_mode & 0o077 == 0


def test_snapshots_hold_no_text_and_no_pickle(snapshot: Path) -> None:
    data = snapshot.read_bytes()
    assert data.startswith(b"tokenwise index\n")
    assert b"Is it?" not in data
    assert data[:64].count(b"\x80\x04") == 0


def test_segments_restored_and_grown_keep_the_codes_of_the_first(store: MemoryEntries, snapshot: Path) -> None:
    index = opened(store, snapshot.parent)
    fill(store, unit(SEAL, seed=8))
    index.search(HERE, unit(1)[0], 1)
    index.wait(30)
    index.close()
    again = opened(store, snapshot.parent)
    query = unit(1, seed=3)[0]
    (best, cosine), *_ = again.search(HERE, query, 1)
    rows = store.vectors(HERE)
    assert cosine == pytest.approx(float(rows.vectors[np.searchsorted(rows.seqs, best)] @ query), abs=0.02)
