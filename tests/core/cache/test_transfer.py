from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.cache.harness import REPHRASED, answer, asked, make_cache
from tokenwise_core.cache.entries import Codec, Entries, MemoryEntries, SQLiteEntries
from tokenwise_core.cache.entry import CachedAnswer, Entry, Label
from tokenwise_core.cache.transfer import KEPT_BAD, Imported, export_lines, import_lines
from tokenwise_core.scoping import Scope
from tokenwise_core.testing import HashEmbedder
from tokenwise_core.usage.events import Usage

NOW = 1_800_000_000.0


def entry(i: int = 1, **kwargs: Any) -> Entry:
    given = {
        "key": bytes([i]) * 16,
        "namespace": "ns/acme",
        "answer": CachedAnswer(text=f"answer {i}", payload={"content": f"answer {i}"}),
        "created_at": NOW - 100,
    }
    return Entry(**{**given, **kwargs})


def full(i: int = 1) -> Entry:
    usage = Usage(input_tokens=9, input_uncached=9, output_tokens=1, output_text=1)
    return entry(
        i,
        answer=CachedAnswer(
            text="Zürich\u2028\n\x00 \ud800", payload={"a": [1, 2.5, None]}, model="m", provider="p", usage=usage,
            finish_reason="stop",
        ),
        partition=b"p" * 16,
        query="where?",
        vector=HashEmbedder().embed(["where?"])[0],
        reading={"v": 1},
        signature={"n": 2},
        category="faq",
        expires_at=NOW + 50,
        tags=("doc:1",),
        epochs={"doc:1": 0},
        owner=Scope(user="ann", session="s-1", labels={"team": "north"}),
        capability=0.5,
        cost_nano=1234,
        hits=7,
        right=2,
        wrong=1,
    )  # fmt: skip


@pytest.fixture(params=["memory", "sqlite"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Entries]:
    opened: Entries = MemoryEntries() if request.param == "memory" else SQLiteEntries(tmp_path / "cache.sqlite")
    yield opened
    opened.close()


def holding(*entries: Entry) -> MemoryEntries:
    store = MemoryEntries()
    store.put(entries)
    return store


def exported(store: Entries, **kwargs: Any) -> list[str]:
    return list(export_lines(store, now=NOW, **kwargs))


def imported(store: Entries, lines: list[str]) -> Imported:
    return import_lines(store, lines, now=NOW)


def plain(found: Entry) -> dict[str, Any]:
    fields = {name: getattr(found, name) for name in Entry.__slots__ if name not in ("vector", "seq")}
    return {**fields, "vector": None if found.vector is None else np.round(found.vector, 2).tolist()}


def test_an_entry_comes_back_with_all_that_it_holds(target: Entries) -> None:
    source = holding(full(), entry(2))
    result = imported(target, exported(source))
    assert (result.entries, result.bad) == (2, 0)
    assert [plain(found) for found in target.iterate()] == [plain(found) for found in source.iterate()]


def test_a_hit_is_a_hit_on_the_other_side(target: Entries) -> None:
    source = MemoryEntries()
    with make_cache(entries=source) as cache:
        cache.put(asked(), answer())
        assert cache.flush()
    with make_cache(entries=source) as cache:
        kinds = [cache.lookup(asked(text)).hit for text in (asked().prompt.messages[-1].text, REPHRASED)]
    imported(target, list(export_lines(source, now=0)))
    with make_cache(entries=target) as cache:
        for before, text in zip(kinds, (asked().prompt.messages[-1].text, REPHRASED), strict=True):
            hit = cache.lookup(asked(text)).hit
            assert (hit and hit.kind) == (before and before.kind)
            assert hit is None or hit.answer.text == "Press the button."


def test_each_line_is_one_line_and_says_its_version() -> None:
    (line,) = exported(holding(full()))
    assert line.splitlines() == [line]
    assert json.loads(line)["v"] == 1


def test_one_namespace_can_be_taken_alone() -> None:
    source = holding(entry(1), entry(2, namespace="ns/other"))
    source.add_labels([Label(features=(1.0,), same=True, ts=1.0)])
    lines = exported(source, namespace="ns/other")
    assert [json.loads(line)["entry"]["namespace"] for line in lines] == ["ns/other"]


def test_what_is_dead_is_not_exported() -> None:
    source = holding(
        entry(1, expires_at=NOW - 1), entry(2, tags=("doc:1",), epochs={"doc:1": 0}), entry(3, tags=("doc:2",))
    )
    source.bump("tag:doc:1")
    assert [json.loads(line)["entry"]["key"] for line in exported(source)] == ["03" * 16]


def test_importing_twice_changes_nothing(target: Entries) -> None:
    source = holding(full(), entry(2))
    source.add_labels([Label(features=(1.0, 0.5), same=True, ts=1.0, score=0.9, embedder="e")])
    lines = exported(source)
    first, second = imported(target, lines), imported(target, lines + lines)
    assert (first.entries, first.labels, first.known) == (2, 1, 0)
    assert (second.entries, second.labels, second.known) == (0, 0, 6)
    assert len(list(target.iterate())) == 2
    assert len(target.labels()[1]) == 1


def test_a_newer_answer_is_never_replaced_by_an_older_one(target: Entries) -> None:
    newer, older = entry(1, created_at=NOW - 1), entry(1, answer=CachedAnswer(text="old"))
    target.put([newer])
    result = imported(target, exported(holding(older)))
    assert (result.entries, result.known) == (0, 1)
    assert [found.answer.text for found in target.iterate()] == ["answer 1"]
    fresh = replace(older, created_at=NOW, answer=CachedAnswer(text="newest"))
    lines = exported(holding(older)) + exported(holding(fresh)) + exported(holding(older))
    result = imported(target, lines)
    assert (result.entries, result.known) == (1, 2)
    assert [found.answer.text for found in target.iterate()] == ["newest"]


def test_what_has_expired_on_the_way_is_left_out(target: Entries) -> None:
    lines = exported(holding(entry(1, expires_at=NOW + 5)))
    result = import_lines(target, lines, now=NOW + 6)
    assert (result.entries, result.expired) == (0, 1)


def test_an_invalidation_is_not_undone_by_a_copy_from_before(target: Entries) -> None:
    target.put([entry(1, tags=("doc:1",), epochs={"doc:1": 0}), entry(2)])
    lines = exported(target)
    target.bump("tag:doc:1")
    target.clear()
    result = imported(target, lines)
    assert (result.entries, result.outdated) == (1, 1)
    target.bump("ns:ns/acme")
    target.clear()
    assert imported(target, lines).outdated == 2


def test_an_invalidation_here_reaches_what_was_imported_from_a_longer_history(target: Entries) -> None:
    source = MemoryEntries()
    for _ in range(3):
        source.bump("tag:doc:1")
    source.put([entry(1, tags=("doc:1",), epochs={"doc:1": 3})])
    imported(target, exported(source))
    (found,) = target.iterate()
    assert found.epochs == {"doc:1": 0}
    target.bump("tag:doc:1")
    assert target.sweep(now=NOW) == 1


def test_an_empty_namespace_takes_over_the_history_of_the_source(target: Entries) -> None:
    source = MemoryEntries()
    source.bump("ns:ns/acme")
    source.put([entry(1), entry(2)])
    assert imported(target, exported(source)).entries == 2
    assert target.epochs()["ns:ns/acme"] == 1


def test_a_namespace_with_another_history_is_not_touched(target: Entries) -> None:
    source = MemoryEntries()
    source.bump("ns:ns/acme")
    source.put([entry(1)])
    target.put([entry(2)])
    assert imported(target, exported(source)).outdated == 1
    assert "ns:ns/acme" not in target.epochs()


GOOD = exported(holding(full()))[0]


def broken(**changes: Any) -> str:
    data = json.loads(GOOD)
    data["entry"].update(changes)
    return json.dumps(data)


BAD = {
    "": 0,
    "no json": 1,
    "[]": 1,
    '"text"': 1,
    "{}": 1,
    '{"v":1}': 1,
    '{"v":2,"entry":{}}': 1,
    '{"v":"1","entry":{}}': 1,
    '{"v":1,"entry":{}}': 1,
    '{"v":1,"label":{"features":["x"],"same":true,"ts":1}}': 1,
    '{"v":1,"label":{"features":[NaN],"same":true,"ts":1}}': 1,
    "[" * 100_000: 1,
    GOOD[: len(GOOD) // 2]: 1,
    broken(key="zz"): 1,
    broken(key="00"): 1,
    broken(vector="***"): 1,
    broken(vector=""): 1,
    broken(vector="AAAAAA=="): 1,
    broken(vector="AADAfw=="): 1,  # NaN
    broken(partition=None): 1,
    broken(namespace=5): 1,
    broken(created_at="now"): 1,
    broken(created_at=10**400): 1,
    broken(cost_nano=2**70): 1,
    broken(hits=-1): 1,
    broken(hits=True): 1,
    broken(epoch=-1): 1,
    broken(answer={}): 1,
    broken(answer={"text": 5}): 1,
    broken(answer={"text": "x", "usage": {"input_tokens": "many"}}): 1,
    broken(owner={"user": 5}): 1,
    broken(tags="doc"): 1,
    broken(epochs={"doc:1": "x"}): 1,
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_line_is_counted_and_named_and_the_others_are_stored(target: Entries, line: str) -> None:
    good = exported(holding(entry(9)))[0]
    result = imported(target, [line, good])
    assert (result.entries, result.bad) == (1, BAD[line])
    assert [bad.number for bad in result.bad_lines] == [1] * BAD[line]


def test_fields_of_a_newer_release_are_left_out(target: Entries) -> None:
    assert imported(target, [broken(colour="green")]).entries == 1


def test_only_the_first_bad_lines_are_named(target: Entries) -> None:
    result = imported(target, ["no json"] * (KEPT_BAD + 10))
    assert (result.bad, len(result.bad_lines)) == (KEPT_BAD + 10, KEPT_BAD)


def test_an_absurd_epoch_does_not_keep_the_store_busy(target: Entries) -> None:
    assert imported(target, [broken(epoch=10**9)]).outdated == 1


@given(st.lists(st.text() | st.sampled_from([*BAD, GOOD]), max_size=12))
def test_every_line_is_accounted_for(lines: list[str]) -> None:
    result = imported(MemoryEntries(), lines)
    assert result.lines == sum(bool(line.strip()) for line in lines)


def test_sealed_entries_are_exported_by_who_has_the_key_and_by_nobody_else() -> None:
    flip = Codec(seal=lambda data: data[::-1], unseal=lambda data: data[::-1])
    sealed = MemoryEntries(codec=flip)
    sealed.put([entry(1)])
    assert len(exported(sealed)) == 1


def test_progress_is_told() -> None:
    told: list[int] = []
    lines = [line for i in range(1, 4) for line in exported(holding(entry(i)))] * 400
    import_lines(MemoryEntries(), lines, now=NOW, seen=told.append)
    assert told == sorted(told)
    assert told[-1] == 1_200
    assert len(told) > 1


def test_a_label_comes_back_with_all_that_it_holds(target: Entries) -> None:
    source = MemoryEntries()
    labels = [
        Label(features=(1.0, 0.25), same=True, ts=1.5, score=0.9, source="feedback", embedder="mini@1"),
        Label(features=(), same=False, ts=2.0),
    ]
    source.add_labels(labels)
    assert imported(target, exported(source)).labels == 2
    assert target.labels()[1] == labels
