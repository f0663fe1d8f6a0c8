"""What a semantic lookup costs beyond the embedding: at ten thousand entries, at a million, in 300,000 partitions."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.cache_crowds import BLOCK, Prepared, Questions, Vectors, fill, partition_of, pattern, request
from benchmarks.timing import calmest_median_ns
from tokenwise_core.cache import SemanticCache, SQLiteEntries
from tokenwise_core.cache.index import FaissIndex
from tokenwise_core.cache.warming import snapshot_folder

LOOKUPS, ROUNDS = 800, 4
NEIGHBOURS = 8
SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
LIMITS = {"10k": (1.2, 0.5), "100k": (2.0, 1.0), "1m": (3.0, 2.0)}
PARTITIONS = 300_000
WAIT_S = 1_500.0
_GPTCACHE = "GPTCache 0.1.44"
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the figures of semantic lookups; without `cache/intents` the vectors are random directions."""
    crowd = Questions.load(data_dir, limit=100 if quick else 1_000)
    rows, at = [], {}
    for name, n in SIZES.items():
        if name == "1m" and not full:
            rows.append(_lookup_row(name, None, n=0, note="needs --full"))
            continue
        with TemporaryDirectory(prefix="tokenwise-bench-") as folder:
            at[name] = size = _measured(Path(folder), crowd, n // 10 if quick else n)
            peers = _peers(Path(folder), crowd, full=full) if name == "10k" else {}
        note = f"CPU time of all threads, {size.index_ms:.2f} ms of it the index's (built in {size.build_s:.1f} s)"
        note = f"{note}; {crowd.source}"
        rows.append(_lookup_row(name, size.lookup_ms, n=size.n, note=note, peers=peers))
    with TemporaryDirectory(prefix="tokenwise-bench-") as folder:
        rows.append(_many_partitions(Path(folder), crowd, 3_000 if quick else 1_000_000 if full else PARTITIONS))
    return [*rows, _recall_row(at), _memory_row(at), _open_row(at)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured in one partition of *n* entries."""

    n: int
    lookup_ms: float
    index_ms: float
    recall_at_1: float
    recall_at_8: float
    build_s: float
    built_bytes: float
    open_s: float
    opened_bytes: float


def _measured(folder: Path, crowd: Questions, n: int) -> Measured:
    """Fill one partition, let a fresh process index it, and look up from this one."""
    path = folder / "cache.sqlite"
    like = pattern(path)
    partition = partition_of(0, like)
    store = SQLiteEntries(path)
    fill(store, crowd, like, n=n, turns=[partition])
    first = int(store.vectors(partition, limit=1).seqs[0])
    built = _in_a_fresh_process(path, partition)
    opened = _in_a_fresh_process(path, partition)
    queries = crowd.queries(LOOKUPS, among=n)
    index_ms, found = _searched(store, partition, queries)
    exact = _exact(crowd, queries, n)
    shared = [len(set(ours) & set(best.tolist())) for ours, best in zip(found - first, exact, strict=True)]
    return Measured(
        n=n,
        lookup_ms=_looked_up(store, crowd, queries, [0] * LOOKUPS),
        index_ms=index_ms,
        recall_at_1=float(np.mean(found[:, 0] - first == exact[:, 0])),
        recall_at_8=float(np.mean(shared)) / NEIGHBOURS,
        build_s=built["seconds"],
        built_bytes=built["bytes"] / n,
        open_s=opened["seconds"],
        opened_bytes=opened["bytes"] / n,
    )


def _searched(store: SQLiteEntries, partition: bytes, queries: Vectors) -> tuple[float, np.ndarray]:
    """Return the median CPU time of a search in the index alone, and the seqs found."""
    index = FaissIndex(store, folder=snapshot_folder(store.url))
    _settle(index, partition, queries[0])
    took, found = [], []
    for query in queries:
        began = time.process_time_ns()
        hits = index.search(partition, query, NEIGHBOURS)
        took.append(time.process_time_ns() - began)
        found.append([seq for seq, _ in hits])
    return statistics.median(took) / 1e6, np.array(found)


def _settle(index: FaissIndex, partition: bytes, query: Vectors) -> None:
    for _ in range(2):
        index.search(partition, query, 1)
        if not index.wait(WAIT_S):
            raise TimeoutError("the index was not built in time")


def _exact(crowd: Questions, queries: Vectors, n: int) -> np.ndarray:
    """Return the rows of the nearest to each query, found by comparing with all *n*."""
    best, rows = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
    for start in range(0, n, BLOCK):
        cosines = queries @ crowd.block(start // BLOCK)[: n - start].T
        best = np.concatenate([best, cosines], axis=1)
        new = np.broadcast_to(np.arange(start, start + cosines.shape[1]), cosines.shape)
        rows = np.concatenate([rows, new], axis=1)
        kept = np.argsort(-best, axis=1)[:, :NEIGHBOURS]
        best, rows = np.take_along_axis(best, kept, axis=1), np.take_along_axis(rows, kept, axis=1)
    return rows


def _looked_up(store: SQLiteEntries, crowd: Questions, queries: Vectors, turns: Sequence[int]) -> float:
    """Return the median CPU time of a whole lookup in milliseconds, of all threads, without the embedding."""
    texts = [f"{crowd.texts[i % len(crowd.texts)]} {i}, please" for i in range(len(queries))]
    embedder = Prepared(vectors=dict(zip(texts, queries, strict=True)))
    asked = [request(text, turn=turn) for text, turn in zip(texts, turns, strict=True)]

    def look(one: Any) -> None:
        ticket = cache.lookup(one)
        assert ticket.neighbours, ticket.reason

    with SemanticCache(namespace="bench", entries=store, embedder=embedder, deadline_ms=60_000) as cache:
        cache.ready()
        for one in asked[:20]:
            cache.lookup(one)
        _settled(cache)
        return calmest_median_ns(look, asked, rounds=ROUNDS) / 1e6


def _settled(cache: SemanticCache) -> None:
    """Wait until the index behind a cache has no work."""
    searcher = cache._engine.parts.finder().searcher
    assert isinstance(searcher, FaissIndex)
    searcher.wait(WAIT_S)


def _many_partitions(folder: Path, crowd: Questions, n: int) -> dict[str, Any]:
    """Spread *n* entries over as many conversations as there are, and look up in some hundred of them once."""
    count, path = min(n, PARTITIONS), folder / "cache.sqlite"
    like = pattern(path)
    turns = [blake2b(b"%d" % i, digest_size=16).digest() for i in range(count)]
    chosen = np.random.default_rng(3).permutation(count)[:LOOKUPS].tolist()
    for turn in chosen:
        turns[turn] = partition_of(turn, like)
    store = SQLiteEntries(path)
    fill(store, crowd, like, n=n, turns=turns)
    took = _looked_up(store, crowd, crowd.queries(LOOKUPS, among=n), chosen)
    note = f"{n:,} entries over {count:,} partitions, a new one each lookup; CPU time of all threads"
    return _row("semantic.300k_partitions_ms", round(took, 3), must=1.2, goal=1.2, unit="ms", n=n, note=note)


def _in_a_fresh_process(path: Path, partition: bytes) -> dict[str, float]:
    """Return the seconds to the first answer out of the whole index, and the bytes by which the process grew."""
    command = [sys.executable, "-m", "benchmarks.cache_index", str(path), partition.hex()]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=WAIT_S)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _open_and_report(path: str, partition: bytes) -> None:
    store = SQLiteEntries(path)
    query, n = store.vectors(partition, limit=1).vectors[0], store.count(partition, at_most=1 << 62)
    began = time.perf_counter()
    import faiss  # what it takes to load counts as time, not as the index's memory

    loading = time.perf_counter() - began
    before = _resident_bytes()
    index = FaissIndex(store, folder=snapshot_folder(store.url))
    began = time.perf_counter()
    while index.stats().entries < n:
        index.search(partition, query, NEIGHBOURS)
        time.sleep(0.001)
    assert index.search(partition, query, NEIGHBOURS)
    seconds = time.perf_counter() - began + loading
    index.wait(WAIT_S)
    for _ in range(200):
        index.search(partition, query, NEIGHBOURS)
    grown = _resident_bytes() - before
    index.close()
    print(json.dumps({"seconds": seconds, "bytes": grown, "faiss": faiss.__version__}))


def _resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except FileNotFoundError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _peers(folder: Path, crowd: Questions, *, full: bool) -> dict[str, Any]:
    if importlib.util.find_spec("gptcache") is None:
        return {_GPTCACHE: "absent: pip install gptcache==0.1.44"}
    return {_GPTCACHE: round(_gptcache(folder, crowd), 2) if full else "needs --full"}


def _gptcache(folder: Path, crowd: Questions) -> float:
    """Return the median CPU time of GPTCache's `get` over its SQLite and FAISS stores, embedding precomputed."""
    from gptcache import Cache, Config
    from gptcache.adapter.api import get
    from gptcache.manager import CacheBase, VectorBase, get_data_manager
    from gptcache.processor.pre import get_prompt
    from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation

    n, queries = SIZES["10k"], crowd.queries(LOOKUPS, among=SIZES["10k"])
    known = {f"query {i}": query for i, query in enumerate(queries)}
    data = get_data_manager(
        CacheBase("sqlite", sql_url=f"sqlite:///{folder / 'gptcache.sqlite'}"),
        VectorBase("faiss", dimension=queries.shape[1], index_path=str(folder / "gptcache.index")),
        max_size=10 * n,
    )
    cache = Cache()
    cache.init(
        pre_embedding_func=get_prompt,
        embedding_func=lambda text, **_: known[text],
        data_manager=data,
        similarity_evaluation=SearchDistanceEvaluation(),
        config=Config(similarity_threshold=0.8),
    )
    rows = crowd.block(0)[:n]
    texts = [f"{crowd.texts[i % len(crowd.texts)]} ({i})" for i in range(n)]
    data.import_data(texts, ["x" * 700] * n, list(rows), [None] * n)
    took = calmest_median_ns(lambda text: get(text, cache_obj=cache), list(known)) / 1e6
    cache.data_manager = SimpleNamespace(close=lambda: None)  # it would write to the folder at the end of the process
    return took


def _lookup_row(
    name: str, took: float | None, *, n: int, note: str, peers: dict[str, Any] | None = None
) -> dict[str, Any]:
    must, goal = LIMITS[name]
    ours = None if took is None else round(took, 3)
    return _row(f"semantic.{name}_ms", ours, must=must, goal=goal, unit="ms", n=n, note=note, peers=peers or {})


def _recall_row(at: dict[str, Measured]) -> dict[str, Any]:
    worst = min(size.recall_at_1 for size in at.values())
    note = "the worst size; of the exact top 8: " + ", ".join(f"{s.recall_at_8:.3f} at {s.n:,}" for s in at.values())
    return _row(
        "semantic.recall@1", round(worst, 4), must=0.99, goal=0.99, unit="share", better="higher",
        n=LOOKUPS * len(at), note=f"{note}. Queries lie at cosine .93 to an entry",
    )  # fmt: skip


def _memory_row(at: dict[str, Measured]) -> dict[str, Any]:
    bytes_of = {size.n: (size.built_bytes, size.opened_bytes) for size in at.values()}
    note = "; ".join(
        f"{n:,}: {built:.0f} built, {opened:.0f} from the snapshot" for n, (built, opened) in bytes_of.items()
    )
    ours = round(max(bytes_of[at["1m"].n])) if "1m" in at else None
    return _row(
        "memory.bytes_per_entry", ours, must=600, goal=500, unit="bytes", n=SIZES["1m"] if ours else 0,
        note=f"growth of a fresh process's resident memory; {note}" + ("" if ours else "; the figure needs --full"),
    )  # fmt: skip


def _open_row(at: dict[str, Measured]) -> dict[str, Any]:
    size = at["100k"]
    note = (
        "wall time of a fresh process from its snapshot to the first answer out of all entries, loading FAISS included"
    )
    return _row("open.100k_s", round(size.open_s, 3), must=0.5, goal=0.5, unit="s", n=size.n, note=note)


def _row(key: str, ours: float | None, *, better: str = "lower", peers: Any = None, **fields: Any) -> dict[str, Any]:
    return {"area": "cache", "key": key, "ours": ours, "better": better, "peers": peers or {}, **fields}


if __name__ == "__main__":
    _open_and_report(sys.argv[1], bytes.fromhex(sys.argv[2]))
