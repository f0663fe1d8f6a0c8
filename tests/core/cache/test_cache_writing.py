"""What is stored when something else does not work: the exact answer always, at the latest when the process ends."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.core.cache.harness import REPHRASED, Broken, answer, asked, make_cache
from tokenwise_core.cache import MemoryEntries, SemanticCache, SQLiteEntries, warming
from tokenwise_core.errors import StoreError
from tokenwise_core.testing import HashEmbedder


def is_stored(entries: Any) -> bool:
    return make_cache(entries=entries).lookup(asked()).hit is not None


@pytest.mark.parametrize("loaded", [True, False])
def test_an_embedder_that_fails_leaves_the_answer_for_the_same_words(loaded: bool) -> None:
    entries = MemoryEntries()
    embedder = Broken(HashEmbedder(), [] if loaded else ["embed"])
    cache = SemanticCache(namespace="desk", entries=entries, embedder=embedder)
    if loaded:
        assert cache.ready()
        embedder._names.add("embed")
    cache.lookup(asked()).complete(answer("A long answer, which is prose and would be embedded too."))
    assert cache.flush()
    assert cache.stats().stored == 1
    assert is_stored(entries)


def test_an_embedder_that_hangs_while_it_loads_holds_the_writer_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "LOAD_S", 0.01)
    entries, embedder = MemoryEntries(), Broken(HashEmbedder(), ["embed"], hangs=True)
    cache = SemanticCache(namespace="desk", entries=entries, embedder=embedder)
    cache.put(asked(), answer())
    assert cache.flush()
    assert is_stored(entries)
    embedder.release.set()


def test_an_embedder_that_hangs_at_writing_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, embedder = MemoryEntries(), Broken(HashEmbedder(), [], hangs=True)
    cache = make_cache(entries=entries, embedder=embedder)
    monkeypatch.setattr("tokenwise_core.cache.engine.EMBED_S", 0.02)
    embedder._names.add("embed")
    for n in range(3):
        cache.put(asked(f"question {n}"), answer())
        assert cache.flush()
    assert cache.stats().failures == {"embedder": 1}
    assert cache.stats().stored == 3
    embedder.release.set()


def test_the_same_failure_of_writing_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    cache = make_cache(entries=Broken(MemoryEntries(), ["put"]))
    for n in range(5):
        cache.put(asked(f"question {n}"), answer())
        cache.flush()
    assert cache.stats().dropped == 5
    assert len([record for record in caplog.records if "could not write (write)" in record.message]) == 1


def test_counts_of_hits_that_could_not_be_written_are_written_later() -> None:
    entries = Broken(MemoryEntries(), [])
    cache = make_cache(entries=entries)
    cache.put(asked(), answer())
    cache.flush()
    entries._names.add("touch")
    assert cache.lookup(asked()).hit is not None
    cache.flush()
    assert cache.lookup(asked()).hit is not None
    entries._names.clear()
    cache.flush()
    assert sum(totals.hits for totals in cache.totals()) == 2


def test_what_only_missed_is_counted_in_the_store_when_the_cache_is_closed() -> None:
    entries = MemoryEntries()
    cache = make_cache(entries=entries)
    cache.lookup(asked())
    cache.close()
    assert entries.counts()["miss:cold"] == 1


SCRIPT = """
    from tests.core.cache.harness import answer, asked
    from tokenwise_core.cache import SemanticCache, SQLiteEntries
    from tokenwise_core.testing import HashEmbedder

    cache = SemanticCache(namespace="desk", entries=SQLiteEntries({path!r}), embedder=HashEmbedder())
    cache.lookup(asked()).complete(answer())
"""


def test_a_script_that_ends_without_closing_has_stored_its_answer(tmp_path: Path) -> None:
    path = str(tmp_path / "cache.sqlite")
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", textwrap.dedent(SCRIPT).format(path=path)], check=True, cwd=root, timeout=60)
    assert is_stored(SQLiteEntries(path))


def _work(path: str) -> None:
    cache = SemanticCache(namespace="desk", entries=SQLiteEntries(path), embedder=HashEmbedder())
    cache.lookup(asked()).complete(answer())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_process_that_ends_has_stored_its_answer(method: str, tmp_path: Path) -> None:
    path = str(tmp_path / "cache.sqlite")
    process = multiprocessing.get_context(method).Process(target=_work, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert is_stored(SQLiteEntries(path))


def test_a_store_that_is_damaged_when_it_is_opened_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"no database" * 1000)
    cache = make_cache(entries=SQLiteEntries(path))
    cache.lookup(asked()).complete(answer())
    assert cache.flush()
    assert is_stored(SQLiteEntries(path))
    assert cache.lookup(asked(REPHRASED)).hit is not None


def test_a_purge_that_cannot_reach_what_waits_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenwise_core.cache.semantic.ADMIN_S", 0.02)
    entries = Broken(MemoryEntries(), ["put"], hangs=True)
    cache = make_cache(entries=entries)
    cache.put(asked(), answer())
    for delete in (lambda: cache.purge(user="ada"), cache.clear):
        with pytest.raises(StoreError):
            delete()
    entries.release.set()


def test_warming_tells_how_many_answers_were_handed_to_the_store() -> None:
    pairs = [(asked("a?"), answer()), (asked("b?"), answer(complete=False))]
    assert make_cache().warm(pairs, progress=False) == 1
