"""What keeping cached answers costs and survives: kill -9 while writing, mixed load, reads and writes."""

from __future__ import annotations

import multiprocessing
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tokenwise_core.cache.entries import SQLiteEntries
from tokenwise_core.cache.entry import CachedAnswer, Entry, Vector
from tokenwise_core.scoping import Scope
from tokenwise_core.usage.events import Usage

NOW = 1_790_000_000.0
DIMENSION, PARTITION_ROWS = 384, 100_000
PROCESSES, THREADS = 4, 8
_WORDS = (
    "how", "do", "i", "reset", "the", "password", "of", "my", "account", "when", "the", "old", "phone", "is", "lost",
    "and", "no", "code", "comes", "by", "mail",
)  # fmt: skip


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the rows of the storage figures; *data_dir* is not needed."""
    with TemporaryDirectory(prefix="tokenwise-bench-") as folder:
        work = Path(folder)
        return [
            *_crashes(work, kills=3 if quick else 200 if full else 20),
            *_load(work, calls=20 if quick else 150),
            *_reads(work, entries=1_000 if quick else 10_000),
            _streaming(work, rows=5_000 if quick else PARTITION_ROWS),
        ]


def make_entry(i: int, *, partition: int = 0, vector: Vector | None = None) -> Entry:
    """Return an answer of about a kilobyte to a question of a dozen words."""
    dice = random.Random(i)
    words = [*dice.sample(_WORDS, 12), str(i)]
    if vector is None:
        vector = np.random.default_rng(i).standard_normal(DIMENSION).astype(np.float32)
    query = " ".join(words)
    return Entry(
        key=key_of(i),
        namespace=f"tenant-{partition % 7}",
        answer=CachedAnswer(
            text=" ".join(dice.choices(_WORDS, k=200)), model="gpt-5-mini", provider="openai", finish_reason="stop",
            usage=Usage(input_tokens=400, output_tokens=250, cache_read=0),
        ),
        created_at=NOW + i,
        partition=key_of(("partition", partition)),
        query=query,
        vector=vector,
        reading={"plain": query, "words": words, "stems": words[:8], "numbers": [str(i)], "entities": [], "quotes": [],
                 "identifiers": [], "negated": False, "question_word": "how", "english": True},
        signature={"plain": query},
        tags=("doc:1",),
        epochs={"tag:doc:1": 0},
        owner=Scope(application="desk", session=f"s-{i // 7}", user=f"u-{i // 50}"),
        cost_nano=250_000,
    )  # fmt: skip


def key_of(what: object) -> bytes:
    """Return 16 bytes for anything with a repr."""
    return blake2b(repr(what).encode(), digest_size=16).digest()


def _crashes(work: Path, *, kills: int) -> list[dict[str, Any]]:
    """Kill a process that writes, again and again, and look at what it leaves; one file goes through ten kills."""
    lost = corrupt = acknowledged = 0
    first = 0
    for k in range(kills):
        path = work / f"crash-{k // 10}.db"
        first = 0 if k % 10 == 0 else first
        last = _killed(path, first=first, after_s=0.05 + 0.05 * (k % 5))
        with closing(SQLiteEntries(path)) as entries:
            found = {entry.key for entry in entries.iterate()}
            counted = sum(total.entries for total in entries.totals())
        lost += sum(key_of(i) not in found for i in range(first, last + 1))
        with closing(sqlite3.connect(path)) as connection:
            whole = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        corrupt += not whole or counted != len(found)
        acknowledged += last + 1 - first
        first = last + 2  # the one after the last may be there, or not
    note = f"{kills} kills -9; {acknowledged:,} acknowledged entries, one a transaction"
    return [
        _row("crash.lost", lost, must=0, goal=0, unit="entries", better="lower", n=kills, note=note),
        _row(
            "crash.corrupt", corrupt, must=0, goal=0, unit="files", better="lower", n=kills,
            note="integrity check, and totals equal to the entries",
        ),
    ]  # fmt: skip


def _killed(path: Path, *, first: int, after_s: float) -> int:
    """Run a writing process for a while, kill it, and return the last entry that it knew to be stored."""
    command = [sys.executable, "-m", "benchmarks.cache_storage", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        last = int(victim.stdout.readline())
        end = time.monotonic() + after_s
        while time.monotonic() < end:
            last = int(victim.stdout.readline())
        victim.send_signal(signal.SIGKILL)
        return max([last, *(int(line) for line in victim.stdout if line.endswith("\n"))])


def _write_until_killed(path: str, first: int) -> None:
    entries, i = SQLiteEntries(path), first
    while True:
        entries.put([make_entry(i, partition=i % 50)])
        print(i, flush=True)
        i += 1


def _load(work: Path, *, calls: int) -> list[dict[str, Any]]:
    """Read, write, count and sweep one file from several processes of several threads."""
    path = work / "load.db"
    with closing(SQLiteEntries(path)) as entries:
        entries.put([make_entry(i, partition=i % 50) for i in range(500)])
        context = multiprocessing.get_context("spawn")
        began = time.perf_counter()
        with context.Pool(PROCESSES) as pool:
            results = pool.starmap(_work, [(str(path), k, calls) for k in range(PROCESSES)])
        took = time.perf_counter() - began
        errors = sum(failed for failed, _ in results)
        found = list(entries.iterate())
        totals = entries.totals()
    wrong = sum(t.entries for t in totals) != len(found) or sum(t.hits for t in totals) != sum(e.hits for e in found)
    n = PROCESSES * THREADS * calls
    late = sorted(t for _, times in results for t in times)
    note = (
        f"{PROCESSES} processes x {THREADS} threads: 70% get, 10% candidates, 15% put, 5% touch, mark, sweep, evict;"
        f" {n / took:,.0f} calls a second with the processes' start; p99 {late[int(len(late) * 0.99)] * 1000:.0f} ms"
    )
    return [_row("load.errors", errors + wrong, must=0, goal=0, unit="errors", better="lower", n=n, note=note)]


def _work(path: str, process: int, calls: int) -> tuple[int, list[float]]:
    """Return how many calls failed or came back wrong, and how long each took."""
    entries = SQLiteEntries(path)

    def thread(t: int) -> tuple[int, list[float]]:
        dice, failed, took = random.Random(process * THREADS + t), 0, []
        for i in range(calls):
            began = time.perf_counter()
            try:
                failed += not _call(entries, dice, 1_000 + (process * THREADS + t) * calls + i)
            except Exception as error:
                print(f"load: {type(error).__name__}: {error}", file=sys.stderr)
                failed += 1
            took.append(time.perf_counter() - began)
        return failed, took

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(thread, range(THREADS)))
    entries.close()
    return sum(failed for failed, _ in results), [t for _, times in results for t in times]


def _call(entries: SQLiteEntries, dice: random.Random, i: int) -> bool:
    """Do one of the things that a cache does; say whether it came out right."""
    kind = dice.random()
    if kind < 0.70:
        key = key_of(dice.randrange(500))
        found = entries.get(key, now=NOW)
        return found is None or found.key == key
    if kind < 0.80:
        partition = key_of(("partition", dice.randrange(50)))
        seqs = [int(seq) for seq in entries.vectors(partition, limit=8).seqs]
        return {candidate.seq for candidate in entries.candidates(seqs, now=NOW)} <= set(seqs)
    if kind < 0.95:
        [seq] = entries.put([make_entry(i, partition=i % 50)])
        found = entries.entry(seq, now=NOW)
        return found is None or found.key == key_of(i)
    seqs = [int(seq) for seq in entries.vectors(key_of(("partition", i % 50)), limit=3).seqs]
    entries.touch(dict.fromkeys(seqs, 1), now=NOW)
    entries.mark(dict.fromkeys(seqs, (1, 0)))
    entries.sweep(now=NOW, limit=10)
    entries.evict("tenant-1", max_entries=60)
    return True


def _reads(work: Path, *, entries: int) -> list[dict[str, Any]]:
    """Time reads of a file of some thousand entries, then writes into it."""
    drawn = [make_entry(i, partition=i % 50) for i in range(entries)]
    with closing(SQLiteEntries(work / "reads.db")) as store:
        seqs: list[int] = []
        began = time.perf_counter()
        for at in range(0, entries, 500):
            seqs += store.put(drawn[at : at + 500])
        batched = entries / (time.perf_counter() - began)
        dice = random.Random(1)
        get = _times(lambda: store.get(key_of(dice.randrange(entries)), now=NOW), n=2_000)
        near = _times(lambda: store.candidates(dice.sample(seqs, 8), now=NOW), n=1_000)
        single = _times(lambda: store.put([drawn[dice.randrange(entries)]]), n=300)
    plain, peer = _plain_sqlite(work, drawn[:2_000]), "one table of rowid, key and JSON, by sqlite3"
    reported: dict[str, Any] = {"must": None, "goal": None}
    return [
        _row("store.get_us", get, unit="us", better="lower", n=2_000, peers={peer: plain}, **reported,
             note="an entry by its key, whole: answer, question, vector; the peer returns text and vector undecoded"),
        _row("store.candidates_us", near, unit="us", better="lower", n=1_000, **reported,
             note="8 neighbours by seq with question, reading, signature and vector"),
        _row("store.put_us", single, unit="us", better="lower", n=300, **reported,
             note="one entry replaced, committed"),
        _row("store.put_per_s", round(batched), unit="1/s", better="higher", n=entries, **reported,
             note="in transactions of 500"),
    ]  # fmt: skip


def _plain_sqlite(work: Path, drawn: Sequence[Entry]) -> float:
    with closing(sqlite3.connect(work / "plain.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE e (seq INTEGER PRIMARY KEY, key BLOB UNIQUE, body TEXT, vector BLOB)")
        connection.executemany(
            "INSERT INTO e (key, body, vector) VALUES (?, ?, ?)",
            [(e.key, e.answer.text + str(e.query), b"" if e.vector is None else e.vector.tobytes()) for e in drawn],
        )
        dice, select = random.Random(1), "SELECT body, vector FROM e WHERE key = ?"
        return _times(lambda: connection.execute(select, (key_of(dice.randrange(len(drawn))),)).fetchall(), n=2_000)


def _streaming(work: Path, *, rows: int) -> dict[str, Any]:
    """Fill one partition and read all its vectors, as an index does that is built anew."""
    with closing(SQLiteEntries(work / "stream.db")) as store:
        for batch in _batches(rows):
            store.put(batch)
        took = []
        for _ in range(3):
            began = time.thread_time()
            found = store.vectors(key_of(("partition", 0)))
            took.append(time.thread_time() - began)
    assert found.vectors.shape == (rows, DIMENSION)
    size = _size(work / "stream.db") / rows
    note = f"{rows:,} vectors of {DIMENSION} half floats; the store takes {size:,.0f} bytes an entry"
    return _row(
        "store.vectors_s", round(min(took), 3), unit="s", better="lower", n=rows, must=None, goal=None, note=note
    )


def _batches(rows: int, size: int = 1_000) -> Iterator[list[Entry]]:
    vectors = np.random.default_rng(0).standard_normal((size, DIMENSION)).astype(np.float32)
    pool = [make_entry(i, vector=vectors[i]) for i in range(size)]
    for at in range(0, rows, size):
        yield [_renamed(entry, at + i) for i, entry in enumerate(pool)]


def _renamed(entry: Entry, i: int) -> Entry:
    return replace(entry, key=key_of(i))


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))


def _times(call: Callable[[], object], *, n: int) -> float:
    """Return the median CPU time of a warm call, in microseconds."""
    took = []
    for i in range(n + n // 10):
        began = time.thread_time_ns()
        call()
        if i >= n // 10:
            took.append(time.thread_time_ns() - began)
    return round(sorted(took)[n // 2] / 1000, 1)


def _row(key: str, ours: float, **fields: Any) -> dict[str, Any]:
    return {"area": "cache", "key": key, "ours": ours, "peers": {}, **fields}


if __name__ == "__main__":
    _write_until_killed(sys.argv[1], int(sys.argv[2]))
