"""Texts as they are stored: any JSON comes back, nothing redacted or sealed stays behind."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.entries import NOW, key_of, make_entry
from tokenwise_core.cache.entries import Codec, MemoryEntries
from tokenwise_core.cache.entries.eviction import HALF_LIFE_S, heated, priority
from tokenwise_core.cache.entries.fields import ANSWER, HIT, SCOPE, USAGE
from tokenwise_core.cache.entries.rows import to_entry, to_row
from tokenwise_core.cache.entry import CachedAnswer, HitRecord
from tokenwise_core.errors import BadInput
from tokenwise_core.scoping import Scope
from tokenwise_core.storage.codec import DamagedError, ForeignError, from_json, to_json
from tokenwise_core.storage.names import restored, storable
from tokenwise_core.usage.events import Usage

_TEXT = st.text(st.characters(), max_size=20)  # with NUL and lone surrogates
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(payload=st.dictionaries(_TEXT, _JSON, max_size=4), text=_TEXT, query=_TEXT)
def test_any_json_and_any_text_comes_back(payload: dict[str, Any], text: str, query: str) -> None:
    entry = make_entry(1, query=query, answer=CachedAnswer(text=text, payload=payload), reading=payload)
    found = to_entry(1, to_row(entry, Codec()), Codec())
    assert (found.answer, found.query, found.reading) == (entry.answer, query, payload)


@given(text=_TEXT | st.builds('"{}'.format, _TEXT))
def test_names_that_databases_cannot_keep_come_back(text: str) -> None:
    kept = storable(text)
    assert restored(kept) == text
    assert "\0" not in kept
    kept.encode()


@given(one=_TEXT | st.just('"'), other=_TEXT | st.just('"\\""'))
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (storable(one) == storable(other)) == (one == other)


@given(before=_TEXT, after=_TEXT)
def test_nothing_of_what_is_redacted_is_stored(before: str, after: str) -> None:
    query = f"{before} Alice Plum {after}"
    codec = Codec(redact=lambda text: text.replace("Alice Plum", "…"))
    words = query.casefold().split()
    entry = make_entry(
        1, query=query, reading={"plain": " ".join(words), "words": words, "entities": ["Alice Plum", "Alice", "Plum"]},
        answer=CachedAnswer(text=f"Alice Plum {after}", payload={"parts": [{"text": query}]}),
        signature={"plain": "alice plum"},
    )  # fmt: skip
    row = to_row(entry, codec)
    kept = (row.question or b"") + row.body
    assert b"lice" not in kept or "lice" in (before + after).casefold()
    assert b"lum" not in kept or "lum" in (before + after).casefold()


def test_a_text_that_redaction_leaves_alone_keeps_its_reading_and_signature() -> None:
    codec = Codec(redact=lambda text: text.replace("Plum", "…"))
    found = to_entry(1, to_row(make_entry(1), codec), codec)
    assert (found.reading, found.signature) == (make_entry(1).reading, make_entry(1).signature)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"v":"1"}', b'{"v":true}', b'{"v":1}x', b'{"v":1,"x":NaN}', b"\xff"]
)
def test_what_is_no_versioned_json_is_damage(body: bytes) -> None:
    with pytest.raises(DamagedError):
        Codec().read(body)


def test_json_nested_beyond_reason_is_damage_and_no_crash() -> None:
    with pytest.raises(DamagedError):
        from_json(b'{"v":1,"x":' + b"[" * 100_000)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadInput):
        to_json(deep)


def test_what_is_sealed_with_another_key_is_foreign_and_not_damaged() -> None:
    def refuse(body: bytes) -> bytes:
        raise ValueError("another key")

    sealed = Codec(seal=lambda body: body[::-1], unseal=refuse)
    with pytest.raises(ForeignError):
        sealed.read(sealed.write({"text": "x"}))
    with pytest.raises(ForeignError):
        Codec().read(sealed.write({"text": "x"}))
    with pytest.raises(ForeignError):
        Codec().read(json.dumps({"v": 2}).encode())


@pytest.mark.parametrize(
    ("kind", "allowed"), [(CachedAnswer, ANSWER), (HitRecord, HIT), (Usage, USAGE), (Scope, SCOPE)]
)
def test_every_field_that_is_written_may_be_read(kind: Any, allowed: dict[str, Any]) -> None:
    kept_with_the_entry = {"tags"} if kind is CachedAnswer else set()
    assert {field.name for field in fields(kind)} - kept_with_the_entry == set(allowed)


@given(heat=st.floats(0, 1e6), weeks=st.floats(0, 100), hits=st.integers(0, 100))
def test_heat_fades_by_half_a_week_and_hits_add_to_it(heat: float, weeks: float, hits: int) -> None:
    assert heated(heat, seconds=weeks * HALF_LIFE_S, hits=hits) == pytest.approx(heat * 0.5**weeks + hits)
    assert heated(heat, seconds=-1.0, hits=0) == heat  # a clock set back makes nothing hotter


@given(st.integers(0, 10**9), st.floats(1, 100), st.integers(1, 10**6))
def test_priority_rises_with_cost_and_heat_and_falls_with_size(cost: int, heat: float, size: int) -> None:
    def of(cost: int, heat: float, size: int) -> float:
        return priority(inflation=1.0, cost_nano=cost, heat=heat, size=size)

    here = of(cost, heat, size)
    assert of(cost + 1000, heat, size) >= here
    assert of(cost, heat + 1, size) >= here
    assert of(cost, heat, size + 1000) <= here


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_memory_is_locked_does_not_hang() -> None:
    entries = MemoryEntries()
    entries.put([make_entry(1)])
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with entries._lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if entries.get(key_of(1), now=NOW) else 1)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
