"""Exact hits in memory and in the store: CPU time from the request to the answer, its key included."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenwise_core.cache import CachedAnswer, CacheRequest, SemanticCache, SQLiteEntries
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.usage.events import Usage

CALLS = 2_000
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
    with SemanticCache(namespace="bench", entries=SQLiteEntries(folder / "memory.sqlite"), embedder=None) as cache:
        cache.warm([(request(n), answer(n)) for n in range(100)], progress=False)
        requests = [request(n % 100) for n in range(calls)]
        took = _timed(lambda n: cache.lookup(requests[n]), calls, kind="exact")
    peers = {"langchain InMemoryCache, its own key": _langchain(calls)}
    return _figure("exact.memory_us", took, must=30, peers=peers, n=calls)


def _store(folder: Path, calls: int) -> dict[str, Any]:
    entries = SQLiteEntries(folder / "store.sqlite")
    with SemanticCache(namespace="bench", entries=entries, embedder=None, memory_bytes=1) as cache:
        cache.warm([(request(n), answer(n)) for n in range(1000)], progress=False)
        requests = [request(n % 1000) for n in range(calls)]
        took = _timed(lambda n: cache.lookup(requests[n]), calls, kind="exact")
    note = "with the hand-over to the thread that reads under the deadline"
    return _figure("exact.store_us", took, must=60, peers={}, n=calls, note=note)


def _timed(look: Callable[[int], Any], calls: int, *, kind: str) -> float:
    """Return the median CPU time of a lookup in microseconds, of all threads; each must be a hit of that *kind*."""
    took = []
    for n in range(calls):
        began = time.process_time_ns()
        ticket = look(n)
        took.append(time.process_time_ns() - began)
        assert ticket.hit is not None, ticket.reason
        assert ticket.hit.kind == kind
    return statistics.median(took) / 1000


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
    cache, took = InMemoryCache(), []
    prompts = [[kinds[m.role](content=m.text) for m in request(n).prompt.messages] for n in range(100)]
    for messages in prompts:
        cache.update(dumps(messages), "model", [ChatGeneration(message=AIMessage(content="x"))])
    for n in range(calls):
        began = time.process_time_ns()
        found = cache.lookup(dumps([m.model_copy(update={"id": None}) for m in prompts[n % 100]]), "model")
        took.append(time.process_time_ns() - began)
        assert found
    return round(statistics.median(took) / 1000, 1)


def _figure(key: str, took: float, *, must: float, peers: dict[str, Any], n: int, note: str = "") -> dict[str, Any]:
    return {
        "area": "cache", "key": key, "ours": round(took, 1), "must": must, "goal": must, "unit": "us",
        "better": "lower", "peers": {k: v for k, v in peers.items() if v is not None}, "n": n, "note": note,
    }  # fmt: skip
