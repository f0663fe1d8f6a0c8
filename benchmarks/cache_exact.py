"""Exact hits in memory and in the store: CPU time from the request to the answer, its key included."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenwise_core.cache import CachedAnswer, CacheRequest, SemanticCache, SQLiteEntries
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.usage.events import Usage

CALLS, ROUNDS, PAUSE_S = 8_000, 20, 0.5
SYSTEM = "You answer questions about the Fernwood handbook. Be brief, name the page, and never guess. " * 8


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the exact layer's figures; *data_dir* is not needed."""
    calls = 200 if quick else CALLS
    with TemporaryDirectory(prefix="tokenwise-bench-") as folder:
        return [_memory(Path(folder), calls), _store(Path(folder), calls)]


def request(n: int) -> CacheRequest:
    """Return a request of about 1 kB: system prompt, a short history, the question."""
    messages = (
        Message(role="system", text=SYSTEM),
        Message(role="user", text="Good morning, I have a question about my plan."),
        Message(role="assistant", text="Of course. What would you like to know?"),
        Message(role="user", text=f"How many seats does plan number {n} have, and what does one more cost?"),
    )
    return CacheRequest(prompt=Prompt(messages=messages), model="gpt-4o", parameters={"temperature": 0.2, "seed": 7})


def answer(n: int) -> CachedAnswer:
    text = f"Plan number {n} has {n % 40} seats; one more costs {n % 9} dollars a month (page {n % 300})."
    payload = {"content": text, "type": "ai", "response_metadata": {"model_name": "gpt-4o", "finish_reason": "stop"}}
    usage = Usage(input_tokens=260, input_uncached=260, output_tokens=30, output_text=30)
    return CachedAnswer(text=text, payload=payload, model="gpt-4o", usage=usage, finish_reason="stop")


def _memory(folder: Path, calls: int) -> dict[str, Any]:
    with SemanticCache(
        namespace="bench", entries=SQLiteEntries(folder / "memory.sqlite"), embedder=None, deadline_ms=60_000
    ) as cache:
        cache.warm([(request(n), answer(n)) for n in range(100)], progress=False)
        requests = [request(n) for n in range(100)]
        took = _timed(lambda n: cache.lookup(requests[n % 100]), calls, kind="exact")
    peers = {"langchain InMemoryCache, its own key": _langchain(calls)}
    return _figure("exact.memory_us", took, must=30, peers=peers, n=calls)


def _store(folder: Path, calls: int) -> dict[str, Any]:
    entries = SQLiteEntries(folder / "store.sqlite")
    with SemanticCache(namespace="bench", entries=entries, embedder=None, memory_bytes=1, deadline_ms=60_000) as cache:
        cache.warm([(request(n), answer(n)) for n in range(1000)], progress=False)
        requests = [request(n) for n in range(1000)]
        took = _timed(lambda n: cache.lookup(requests[n % 1000]), calls, kind="exact")
    note = (
        "CPU time of all threads on one core, the calmest of twenty rounds; with the hand-over to the thread that reads"
    )
    return _figure("exact.store_us", took, must=60, peers={}, n=calls, note=note)


def _timed(look: Callable[[int], Any], calls: int, *, kind: str) -> float:
    """Return the median CPU time of a lookup in microseconds, of all threads; each must be a hit of that *kind*."""

    def checked(n: int) -> None:
        ticket = look(n)
        assert ticket.hit is not None, ticket.reason
        assert ticket.hit.kind == kind

    return _calmest(checked, calls)


def _calmest(work: Callable[[int], object], calls: int) -> float:
    """Return the median CPU time of a call in microseconds, in the calmest of several rounds, on one core.

    The machine's speed swings by half from second to second, and waking a thread on another core costs as much again.
    """
    medians = []
    with _one_core():
        for begin in range(0, calls, calls // ROUNDS):
            took = []
            for n in range(begin, begin + calls // ROUNDS):
                began = time.process_time_ns()
                work(n)
                took.append(time.process_time_ns() - began)
            medians.append(statistics.median(took))
            time.sleep(PAUSE_S)
    return min(medians) / 1000


@contextmanager
def _one_core() -> Iterator[None]:
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _langchain(calls: int) -> float | None:
    """Time LangChain's own exact cache with the key that its chat models make of the same messages."""
    try:
        from langchain_core.caches import InMemoryCache
        from langchain_core.load import dumps
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
        from langchain_core.outputs import ChatGeneration
    except ImportError:
        return None
    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    cache = InMemoryCache()
    prompts = [[kinds[m.role](content=m.text) for m in request(n).prompt.messages] for n in range(100)]
    for messages in prompts:
        cache.update(dumps(messages), "model", [ChatGeneration(message=AIMessage(content="x"))])

    def look(n: int) -> None:
        assert cache.lookup(dumps([m.model_copy(update={"id": None}) for m in prompts[n % 100]]), "model")

    return round(_calmest(look, calls), 1)


def _figure(key: str, took: float, *, must: float, peers: dict[str, Any], n: int, note: str = "") -> dict[str, Any]:
    return {
        "area": "cache", "key": key, "ours": round(took, 1), "must": must, "goal": must, "unit": "us",
        "better": "lower", "peers": {k: v for k, v in peers.items() if v is not None}, "n": n, "note": note,
    }  # fmt: skip
