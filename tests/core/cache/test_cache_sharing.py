"""What is held in memory or in flight is served only where the store, asked now and as strictly, would serve it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.core.cache.harness import QUESTION, REPHRASED, Broken, Model, answer, asked, make_cache
from tokenwise_core.cache import CacheRequest, MemoryEntries, SemanticCache, SQLiteEntries
from tokenwise_core.cache.exact import ExactCache, Kept
from tokenwise_core.cache.finder import REFRESH_S, Finder
from tokenwise_core.cache.key import ContextMode, request_key
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.storage.codec import Codec
from tokenwise_core.testing import FakeClock


def two_processes(path: Path) -> tuple[SemanticCache, SemanticCache]:
    """Return two caches over one file that share nothing else, as two processes do."""
    here, there = (make_cache(entries=SQLiteEntries(path / "cache.sqlite")) for _ in range(2))
    here.put(asked(tags=("doc:1",)), answer())
    here.flush()
    assert here.lookup(asked(tags=("doc:1",))).hit is not None
    return here, there


def grow_stale(cache: SemanticCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let more time pass than deletions elsewhere may go unseen, without asking for anything."""
    now = time.monotonic() + 2 * REFRESH_S
    monkeypatch.setattr("tokenwise_core.cache.finder.time.monotonic", lambda: now)


@pytest.mark.parametrize("what", ["invalidate", "clear"])
def test_the_first_question_after_a_quiet_hour_sees_what_others_deleted(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two_processes(tmp_path)
    there.invalidate("doc:1") if what == "invalidate" else there.clear()
    grow_stale(here, monkeypatch)
    assert here.lookup(asked(tags=("doc:1",))).hit is None


def test_a_deletion_that_an_invalidation_happens_to_notice_empties_memory_too(tmp_path: Path) -> None:
    here, there = two_processes(tmp_path)
    there.clear()
    here.invalidate("something else")
    assert here.lookup(asked(tags=("doc:1",))).hit is None


def test_a_look_at_the_epochs_that_failed_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = MemoryEntries()
    cache = make_cache(entries=entries)
    cache.put(asked(tags=("doc:1",)), answer())
    cache.flush()
    finder: Finder = cache._engine.parts.finder()
    entries.bump("tag:doc:1")
    with monkeypatch.context() as patch:
        patch.setattr(entries, "epochs", lambda: {}["broken"])
        with pytest.raises(KeyError):
            finder.refresh()
    assert finder.is_stale or finder.refresh()
    assert cache.lookup(asked(tags=("doc:1",))).hit is None


def rephrased_hit() -> SemanticCache:
    cache = make_cache()
    cache.put(asked(QUESTION), answer())
    cache.flush()
    hit = cache.lookup(asked(REPHRASED)).hit
    assert hit is not None
    assert hit.kind == "semantic"
    return cache


@pytest.mark.parametrize("stricter", [{"semantic": False}, {"max_error": 0.0}], ids=str)
def test_a_rephrased_hit_in_memory_is_not_for_a_stricter_request(stricter: dict[str, Any]) -> None:
    assert rephrased_hit().lookup(replace(asked(REPHRASED), **stricter)).hit is None


def test_a_rephrased_hit_in_memory_is_not_for_a_category_with_other_vetoes() -> None:
    cache = make_cache(vetoes_off={"lax": ("negation",)})
    cache.put(asked(QUESTION), answer())
    cache.flush()
    finder = cache._engine.parts.finder()
    assert cache.lookup(asked(REPHRASED, category="lax")).hit is not None
    finder.entries.candidates = lambda *_, **__: []  # type: ignore[method-assign]  # what is not in memory is not found
    assert cache.lookup(asked(REPHRASED, category="lax")).hit is not None
    assert cache.lookup(asked(REPHRASED)).hit is None


@pytest.mark.parametrize("stricter", [{"semantic": False}, {"max_error": 0.0}], ids=str)
def test_a_stricter_request_does_not_share_the_rephrased_hit_of_an_equal_one(stricter: dict[str, Any]) -> None:
    cache = make_cache()
    leader = cache.begin(asked(REPHRASED))
    other = cache.begin(replace(asked(REPHRASED), **stricter))
    assert other.flight is not None  # leads a flight of its own
    leader.abandon()
    other.abandon()


def test_a_call_begun_after_an_invalidation_does_not_share_one_begun_before() -> None:
    cache, request, out = make_cache(), asked(tags=("doc:1",)), []
    old, new = Model("old", held=True), Model("new")
    first = threading.Thread(target=lambda: cache.run(request, old))
    first.start()
    while not old.calls:
        time.sleep(0.001)
    cache.invalidate("doc:1")
    second = threading.Thread(target=lambda: out.append(cache.run(request, new).answer.text))
    second.start()
    old.go.set()
    first.join(10)
    second.join(10)
    assert out == ["new"]


def test_in_the_shadow_equal_calls_are_made_side_by_side() -> None:
    cache, model, served = make_cache(shadow=True), Model(held=True), []
    threads = [threading.Thread(target=lambda: served.append(cache.run(asked(), model))) for _ in range(3)]
    for thread in threads:
        thread.start()
    while model.calls < 3:
        time.sleep(0.001)
    model.go.set()
    for thread in threads:
        thread.join(10)
    assert [one.hit for one in served] == [None] * 3


def test_what_was_read_before_memory_was_emptied_is_not_kept_after() -> None:
    memory = ExactCache()
    kept = Kept(
        text="t", payload="{}", model=None, provider=None, usage=None, finish_reason=None, tool_calls=False,
        saved=None, created_at=0.0,  # type: ignore[arg-type]  # not looked at
    )  # fmt: skip
    edition = memory.edition
    memory.clear()
    memory.put(b"key", kept, edition=edition)
    assert memory.get(b"key") is None


def test_what_is_not_written_yet_survives_what_others_deleted() -> None:
    cache = make_cache(entries=Broken(MemoryEntries(), ["put"], hangs=True))
    cache.put(asked(), answer())
    cache.invalidate("something else")
    assert cache.lookup(asked()).hit is not None
    cache.entries.release.set()  # type: ignore[attr-defined]


def test_questions_asked_without_messages_are_told_apart() -> None:
    cache = make_cache()
    one, two = (CacheRequest(prompt=Prompt(), model="gpt-4o", query=query) for query in ("one?", "two?"))
    cache.put(one, answer())
    assert cache.lookup(one).hit is not None
    assert cache.lookup(two).hit is None


def test_windows_of_two_sizes_have_partitions_of_their_own() -> None:
    before = (Message(role="user", text="Hello"), Message(role="assistant", text="Hi"))
    keys = [
        request_key(asked(QUESTION, *before), namespace="n", context=ContextMode.parse(mode))
        for mode in ("window:2", "window:3")
    ]
    assert keys[0].partition != keys[1].partition
    assert keys[0].exact == keys[1].exact


def test_after_the_pause_neither_memory_nor_a_store_uses_up_the_try() -> None:
    cache = make_cache()
    clock = FakeClock()
    breaker = cache._engine.breaker
    breaker._clock = clock
    cache.put(asked(), answer())
    cache.flush()
    for _ in range(5):
        breaker.failed()
    assert cache.lookup(asked()).reason == "off"
    clock.advance(31)
    cache.put(asked("What is a bond?"), answer())
    assert cache.lookup(asked()).hit is not None  # tried the store, which works
    assert not cache.stats().is_off


def test_many_questions_at_once_are_no_fault() -> None:
    cache = make_cache()
    threads = [threading.Thread(target=lambda n=n: cache.lookup(asked(f"question {n}"))) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert cache.stats().failures == {}
    assert cache.stats().misses == {"cold": 60}


def test_an_answer_corrected_by_hand_replaces_the_older_one_in_every_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two_processes(tmp_path)
    questions = [asked(tags=("doc:1",)), asked(REPHRASED, tags=("doc:1",))]
    for cache in (here, there):
        assert [bool(cache.lookup(question).hit) for question in questions] == [True, True]
    there.put(questions[0], answer("Call us."))
    there.flush()
    for cache in (here, there):
        with monkeypatch.context() as patch:
            grow_stale(cache, patch)
            hits = [cache.lookup(question).hit for question in questions]
        assert [hit.answer.text for hit in hits if hit is not None] == ["Call us."] * 2


def test_an_answer_that_was_redacted_is_found_by_its_very_words_and_disturbs_nobody(tmp_path: Path) -> None:
    codec = Codec(redact=lambda text: text.replace("4711", "…"))
    cache = make_cache(entries=SQLiteEntries(tmp_path / "cache.sqlite", codec=codec))
    cache.put(asked(QUESTION), answer("Dial 4711."))
    cache.flush()
    cache._engine.exact.clear()
    ticket = cache.lookup(asked(REPHRASED))
    assert (ticket.hit, ticket.reason) == (None, "cold")
    hit = cache.lookup(asked(QUESTION)).hit
    assert hit is not None
    assert hit.answer.text == "Dial …."
    assert cache.stats().failures == {}


def test_an_answer_read_from_the_store_is_each_callers_own(tmp_path: Path) -> None:
    payload = {"content": "Press the button.", "list": [1, {"deep": True}]}
    for seal in (None, lambda body: bytes(byte ^ 0x5A for byte in body)):
        entries = SQLiteEntries(tmp_path / f"{bool(seal)}.sqlite", codec=Codec(seal=seal, unseal=seal))
        cache = make_cache(entries=entries)
        cache.put(asked(), answer(payload=payload))
        cache.put(asked("bare"), answer(payload={}))
        cache.flush()
        cache._engine.exact.clear()
        for _ in range(3):  # of the store, then of memory
            hit: Any = cache.lookup(asked()).hit
            assert hit.answer.payload == payload
            hit.answer.payload["list"][1]["deep"] = "changed"
            bare: Any = cache.lookup(asked("bare")).hit
            assert bare.answer.payload == {}
