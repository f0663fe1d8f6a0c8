"""Nothing in the cache can fail the caller's call, or keep it waiting beyond the deadline."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from tests.core.cache.harness import QUESTION, REPHRASED, Broken, Model, answer, asked, make_cache
from tokenwise_core.cache import MemoryEntries, SemanticCache
from tokenwise_core.testing import HashEmbedder

PARTS = [
    "answer", "get", "entry", "candidates", "vectors", "count", "put", "epochs", "generation", "labels", "add_labels",
    "mark", "touch", "add_hits", "add_counts", "sweep", "evict",
]  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("hangs", [False, True])
def test_a_store_that_fails_or_hangs_is_a_miss(part: str, hangs: bool) -> None:
    entries = Broken(MemoryEntries(), [part], hangs=hangs)
    cache = SemanticCache(namespace="desk", entries=entries, embedder=HashEmbedder(), deadline_ms=60, max_entries=10)
    model = Model()
    for text in (QUESTION, REPHRASED, QUESTION, "What is a bond?"):
        assert cache.run(asked(text), model).answer.text == "Press the button."
    entries.release.set()


@pytest.mark.parametrize("hangs", [False, True])
def test_an_embedder_that_fails_or_hangs_is_a_miss(hangs: bool) -> None:
    embedder = Broken(HashEmbedder(), ["embed"], hangs=hangs)
    cache = SemanticCache(namespace="desk", entries=MemoryEntries(), embedder=embedder, deadline_ms=60)
    model = Model()
    assert cache.run(asked(), model).hit is None
    assert cache.run(asked(), model).hit is not None  # the exact layer needs no embedder
    embedder.release.set()


def test_an_embedder_that_hangs_later_delays_nobody_beyond_the_deadline() -> None:
    embedder = Broken(HashEmbedder(), [], hangs=True)
    cache = SemanticCache(namespace="desk", entries=MemoryEntries(), embedder=embedder, deadline_ms=50)
    assert cache.ready()
    embedder._names.add("embed")
    ticket = cache.lookup(asked())
    assert (ticket.hit, ticket.reason) == (None, "timeout")
    embedder.release.set()


def test_after_failures_in_a_row_the_cache_is_off_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    cache = make_cache(entries=Broken(MemoryEntries(), ["answer"]))
    with caplog.at_level(logging.WARNING, logger="tokenwise.cache"):
        reasons = [cache.lookup(asked(f"question {n}")).reason for n in range(8)]
    assert reasons == ["error"] * 5 + ["off"] * 3
    assert cache.stats().is_off
    assert sum("off for a while" in record.message for record in caplog.records) == 1
    assert len(caplog.records) <= 3


def test_no_text_of_the_users_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="tokenwise"):
        cache = make_cache(entries=Broken(MemoryEntries(), ["put", "answer"]))
        cache.run(asked("my secret plan"), lambda: answer("a secret answer"))
        cache.flush()
    assert "secret" not in caplog.text


def test_a_namespace_that_fails_is_no_cache() -> None:
    def broken(_: object) -> str:
        raise RuntimeError

    cache, model = make_cache(namespace=broken), Model()
    assert cache.run(asked(), model).reason == "no_namespace"


def test_what_cannot_be_hashed_or_stored_is_a_miss() -> None:
    cache, model = make_cache(), Model()
    loop: dict[str, object] = {}
    loop["self"] = loop
    assert cache.run(asked(parameters=loop), model).hit is None
    cache.run(asked("other"), lambda: answer(payload={"a": object()}))
    assert cache.run(asked("other"), model).hit is None


async def test_no_call_blocks_the_event_loop() -> None:
    cache = make_cache(entries=Broken(MemoryEntries(), ["answer"], hangs=True), deadline_ms=100)
    longest, done = 0.0, False

    async def watch() -> None:
        nonlocal longest
        while not done:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began)

    watching = asyncio.create_task(watch())
    tickets = await asyncio.gather(*(cache.alookup(asked(f"question {n}")) for n in range(4)))
    done = True
    await watching
    assert all(ticket.hit is None for ticket in tickets)
    assert longest < 0.09  # far below the 100 ms that a blocked loop would show
    cache.entries.release.set()  # type: ignore[attr-defined]
