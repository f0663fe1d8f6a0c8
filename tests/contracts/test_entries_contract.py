"""What every store of cache entries must do: in memory, in SQLite, in PostgreSQL."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.entries import NOW, at, cache_database, emptied, key_of, make_entry, make_hit, make_label, unit
from tests.postgres import postgres_server
from tokenwise_core.cache.entries import Codec, Entries, open_entries
from tokenwise_core.cache.entries.protocol import KEPT_HITS, KEPT_LABELS
from tokenwise_core.cache.entry import CachedAnswer, Entry, StoredAnswer
from tokenwise_core.errors import BadInput
from tokenwise_core.scoping import Scope
from tokenwise_core.usage.components import CountSource
from tokenwise_core.usage.events import Usage

__all__ = ["cache_database", "postgres_server"]  # fixtures

_TOLERANCE = 1e-3  # half floats


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'cache.db'}"
    return emptied(request.getfixturevalue("cache_database"))


@pytest.fixture
def entries(url: str) -> Iterator[Entries]:
    opened = open_entries(url)
    yield opened
    opened.close()


def same(one: Entry | None, other: Entry) -> None:
    """Assert that two entries are equal, up to the rounding of their vectors and the seq."""
    assert one is not None
    assert (one.vector is None) == (other.vector is None)
    if one.vector is not None and other.vector is not None:
        assert float(one.vector @ other.vector) > 1 - _TOLERANCE
        assert float(np.linalg.norm(one.vector)) == pytest.approx(1, abs=1e-5)
        assert one.vector.dtype == np.float32
    assert replace(one, vector=None, seq=None) == replace(other, vector=None, seq=None)


_ANSWERS = {
    "plain": CachedAnswer(text="tea"),
    "empty": CachedAnswer(text=""),
    "odd characters": CachedAnswer(text="a\0b \ud800 é 日本 🫖"),
    "a payload": CachedAnswer(text="x", payload={"a": [1, 2.5, None, True, {"b": "\ud83d", "": []}]}),
    "all facts": CachedAnswer(
        text="x", model="m", provider="p", finish_reason="tool_calls", tool_calls=True, refusal=True, complete=False,
        usage=Usage(
            input_tokens=10, output_tokens=0, cache_read=3, side_buckets={"": {"side_input": 4}}, service_tier="flex",
            reported_cost_usd=Decimal("0.10"), source=CountSource.ESTIMATED, unknown={"odd": 7},
        ),
    ),
}  # fmt: skip


class TestWritingAndReading:
    @pytest.mark.parametrize("answer", _ANSWERS.values(), ids=_ANSWERS)
    def test_an_entry_comes_back_as_it_went_in(self, entries: Entries, answer: CachedAnswer) -> None:
        entry = make_entry(
            1, answer=answer, category="billing", expires_at=NOW + 5, tags=("doc:1", "doc:2"),
            epochs={"tag:doc:1": 3}, capability=0.5, cost_nano=7, hits=2, right=3, wrong=1,
            owner=Scope(user="u\0", session="s", application="a", agent="g", labels={"k": "v"}),
        )  # fmt: skip
        [seq] = entries.put([entry])
        for found in (entries.get(entry.key, now=NOW), entries.entry(seq, now=NOW), *entries.iterate()):
            same(found, entry)
            assert found is not None
            assert found.seq == seq

    @pytest.mark.parametrize("answer", _ANSWERS.values(), ids=_ANSWERS)
    def test_the_answer_alone_is_that_of_the_whole_entry(self, entries: Entries, answer: CachedAnswer) -> None:
        facts = {"answer": answer, "epochs": {"tag:doc:1": 3}, "capability": 0.5, "cost_nano": 7}
        [seq, bare] = entries.put(
            [
                make_entry(1, expires_at=NOW + 5, tags=("doc:1",), **facts),
                make_entry(2, partition=None, vector=None, query=None, reading=None, signature=None),
            ]
        )
        found, plain = entries.answer(key_of(1), now=NOW), entries.answer(key_of(2), now=NOW)
        assert found is not None
        assert plain is not None
        assert found == StoredAnswer(seq=seq, created_at=at(1), expires_at=NOW + 5, text=found.text, **facts)
        none = {"expires_at": None, "epochs": {}, "capability": None, "cost_nano": None}
        said = CachedAnswer(text="answer 2")
        assert plain == StoredAnswer(seq=bare, created_at=at(2), answer=said, text=plain.text, **none)
        assert entries.answer(key_of(3), now=NOW) is None

    def test_the_answer_alone_is_gone_where_the_entry_is(self, entries: Entries) -> None:
        seqs = entries.put([make_entry(i, namespace="ab"[i % 2], owner=Scope(user=f"u{i}")) for i in range(5)])
        entries.delete(seqs[:1])
        entries.purge(user="u1")
        entries.clear(namespace="a")
        assert [i for i in range(5) if entries.answer(key_of(i), now=NOW)] == [3]
        entries.put([make_entry(3, answer=CachedAnswer(text="another"))])
        replaced = entries.answer(key_of(3), now=NOW)
        assert replaced is not None
        assert replaced.answer.text == "another"

    def test_an_entry_without_a_partition_is_found_by_its_key_only(self, entries: Entries) -> None:
        entry = make_entry(1, partition=None, vector=None, query=None, reading=None, signature=None)
        [seq] = entries.put([entry])
        same(entries.get(entry.key, now=NOW), entry)
        assert entries.candidates([seq], now=NOW) == []

    def test_what_is_returned_is_the_callers_own(self, entries: Entries) -> None:
        entry = make_entry(1, answer=CachedAnswer(text="x", payload={"list": [1]}), epochs={"tag:a": 1})
        [seq] = entries.put([entry])
        found: Any = entries.get(entry.key, now=NOW)
        candidate: Any = entries.candidates([seq], now=NOW)[0]
        found.answer.payload["list"].append(2)
        alone: Any = entries.answer(entry.key, now=NOW)
        alone.answer.payload["list"].append(3)
        alone.epochs["tag:a"] = 9
        for mine in (found, candidate):
            mine.vector[:] = 0
            mine.reading["words"].append("x")
            mine.epochs["tag:a"] = 9
        same(entries.get(entry.key, now=NOW), entry)
        assert entries.candidates([seq], now=NOW)[0].epochs == {"tag:a": 1}

    def test_seqs_rise_in_the_order_of_insertion(self, entries: Entries) -> None:
        seqs = entries.put([make_entry(i) for i in range(5)]) + entries.put([make_entry(9)])
        assert seqs == sorted(set(seqs))
        assert [entry.seq for entry in entries.iterate()] == seqs

    def test_nothing_is_put_by_nothing(self, entries: Entries) -> None:
        assert entries.put([]) == []
        assert list(entries.iterate()) == []

    def test_an_expired_entry_is_never_returned(self, entries: Entries) -> None:
        [seq] = entries.put([make_entry(1, expires_at=NOW + 10)])
        assert entries.get(key_of(1), now=NOW + 9.9) is not None
        assert entries.get(key_of(1), now=NOW + 10) is None
        assert entries.answer(key_of(1), now=NOW + 9.9) is not None
        assert entries.answer(key_of(1), now=NOW + 10) is None
        assert entries.entry(seq, now=NOW + 10) is None
        assert entries.candidates([seq], now=NOW + 10) == []

    def test_export_yields_one_namespace_or_all(self, entries: Entries) -> None:
        entries.put([make_entry(i, namespace="ab"[i % 2]) for i in range(1100)])
        assert [entry.key for entry in entries.iterate()] == [key_of(i) for i in range(1100)]
        assert [entry.key for entry in entries.iterate(namespace="b")] == [key_of(i) for i in range(1, 1100, 2)]

    @pytest.mark.parametrize("name", ["\0", "\ud800", '"', '"a"', "é", ""])
    def test_namespaces_with_odd_characters_stay_apart(self, entries: Entries, name: str) -> None:
        entries.put([make_entry(1, namespace=name), make_entry(2, namespace="other" + name)])
        assert [entry.key for entry in entries.iterate(namespace=name)] == [key_of(1)]
        assert {total.namespace for total in entries.totals()} == {name, "other" + name}
        assert entries.evict(name, max_entries=0) == 1
        assert entries.clear(namespace="other" + name) == 1

    @pytest.mark.parametrize(
        "broken",
        [
            {"vector": None}, {"partition": None}, {"query": None}, {"key": b"short"}, {"partition": b"short"},
            {"vector": np.zeros(4, np.float32)}, {"vector": np.array([np.nan, 1], np.float32)},
            {"answer": CachedAnswer(text="x", payload={"x": object()})},
            {"answer": CachedAnswer(text="x", payload={"x": float("nan")})},
        ],
    )  # fmt: skip
    def test_what_is_no_entry_is_refused_and_nothing_of_its_batch_is_kept(
        self, entries: Entries, broken: dict[str, Any]
    ) -> None:
        with pytest.raises(BadInput):
            entries.put([make_entry(1), make_entry(2, **broken)])
        assert list(entries.iterate()) == []


class TestReplacing:
    def test_an_equal_key_replaces_and_is_counted_once(self, entries: Entries) -> None:
        entries.put([make_entry(1, answer=CachedAnswer(text="old" * 50), hits=4), make_entry(2)])
        before = {total.namespace: total for total in entries.totals()}["n"]
        entries.put([make_entry(1, answer=CachedAnswer(text="new"))])
        found = entries.get(key_of(1), now=NOW)
        assert found is not None
        assert (found.answer.text, found.hits) == ("new", 0)
        [after] = entries.totals()
        assert (after.entries, after.semantic, after.hits) == (2, 2, 0)
        assert before.bytes - after.bytes == len("old" * 50) - len("new")

    def test_the_same_question_keeps_its_place_in_the_index(self, entries: Entries) -> None:
        [seq] = entries.put([make_entry(1)])
        moved = entries.generation()
        assert entries.put([make_entry(1, answer=CachedAnswer(text="new"))]) == [seq]
        assert entries.generation() == moved
        assert list(entries.vectors(key_of("p")).seqs) == [seq]

    @pytest.mark.parametrize("change", [{"partition": key_of("other")}, {"vector": unit(99)}])
    def test_another_question_under_the_key_gets_a_seq_of_its_own(
        self, entries: Entries, change: dict[str, Any]
    ) -> None:
        [old] = entries.put([make_entry(1)])
        before = entries.generation()
        [new] = entries.put([make_entry(1, **change)])
        assert new > old
        assert entries.generation() != before
        assert entries.entry(old, now=NOW) is None
        assert entries.candidates([old], now=NOW) == []

    def test_the_last_of_several_with_one_key_wins(self, entries: Entries) -> None:
        first, second, third = entries.put(
            [make_entry(1, answer=CachedAnswer(text="a")), make_entry(2), make_entry(1, answer=CachedAnswer(text="b"))]
        )
        assert first == third != second
        found = entries.get(key_of(1), now=NOW)
        assert found is not None
        assert found.answer.text == "b"
        assert entries.totals()[0].entries == 2


class TestPartitions:
    def test_vectors_are_those_of_one_partition_in_order(self, entries: Entries) -> None:
        mine, theirs = [make_entry(i) for i in range(0, 40, 2)], [make_entry(i, partition=key_of("q")) for i in (1, 3)]
        seqs = entries.put(mine[:10] + theirs + mine[10:])
        wanted = [seq for i, seq in enumerate(seqs) if i not in (10, 11)]
        rows = entries.vectors(key_of("p"))
        assert list(rows.seqs) == wanted
        assert rows.seqs.dtype == np.int64
        assert rows.vectors.dtype == np.float32
        np.testing.assert_allclose(rows.vectors, [entry.vector for entry in mine], atol=_TOLERANCE)
        assert list(entries.vectors(key_of("p"), after=wanted[3], limit=5).seqs) == wanted[4:9]
        assert list(entries.vectors(key_of("p"), after=wanted[-1]).seqs) == []
        assert entries.vectors(key_of("nowhere")).vectors.shape[0] == 0

    def test_counting_goes_no_further_than_asked(self, entries: Entries) -> None:
        entries.put([make_entry(i) for i in range(9)] + [make_entry(10, partition=key_of("q"))])
        assert entries.count(key_of("p"), at_most=100) == 9
        assert entries.count(key_of("p"), at_most=4) == 4
        assert entries.count(key_of("nowhere"), at_most=4) == 0

    def test_candidates_come_in_the_order_asked_for_without_those_that_are_gone(self, entries: Entries) -> None:
        drawn = [make_entry(i, epochs={"tag:a": i}, capability=i / 10, right=i, wrong=1) for i in range(5)]
        seqs = entries.put(drawn)
        entries.delete([seqs[1]])
        found = entries.candidates([seqs[3], seqs[1], seqs[0], 123, seqs[4]], now=NOW)
        assert [candidate.seq for candidate in found] == [seqs[3], seqs[0], seqs[4]]
        first, entry = found[0], drawn[3]
        assert (first.query, first.reading, first.signature) == (entry.query, entry.reading, entry.signature)
        assert (first.epochs, first.capability, first.right, first.wrong) == ({"tag:a": 3}, 0.3, 3, 1)
        assert (first.created_at, first.expires_at) == (entry.created_at, None)
        np.testing.assert_allclose(first.vector, entry.vector, atol=_TOLERANCE)

    def test_vectors_of_any_length_are_kept(self, entries: Entries) -> None:
        drawn = [
            make_entry(n, partition=key_of(("d", n)), vector=unit(n, dimension=n)) for n in (1, 3, 384, 1536, 3072)
        ]
        entries.put(drawn)
        for entry in drawn:
            assert entry.partition is not None
            np.testing.assert_allclose(entries.vectors(entry.partition).vectors[0], entry.vector, atol=_TOLERANCE)


class TestCounters:
    def test_hits_and_labels_are_added(self, entries: Entries) -> None:
        one, two = entries.put([make_entry(1), make_entry(2)])
        entries.touch({one: 2, two: 1, 99: 5}, now=NOW)
        entries.touch({one: 3}, now=NOW)
        entries.mark({one: (1, 0), two: (0, 2), 99: (1, 1)})
        entries.mark({one: (2, 1)})
        found = [entries.entry(seq, now=NOW) for seq in (one, two)]
        assert [(e.hits, e.right, e.wrong) for e in found if e] == [(5, 3, 1), (1, 0, 2)]
        assert entries.totals()[0].hits == 6
        entries.delete([one])
        assert entries.totals()[0].hits == 1

    def test_totals_are_the_sums_by_namespace(self, entries: Entries) -> None:
        exact = {"partition": None, "vector": None, "query": None, "reading": None, "signature": None}
        entries.put(
            [make_entry(1, namespace="b"), make_entry(2, namespace="a", created_at=at(-9)),
             make_entry(3, namespace="a", **exact)]
        )  # fmt: skip
        a, b = entries.totals()
        assert (a.namespace, a.entries, a.semantic, a.oldest, a.newest) == ("a", 2, 1, at(-9), at(3))
        assert (b.namespace, b.entries, b.semantic, b.oldest, b.newest) == ("b", 1, 1, at(1), at(1))
        assert a.bytes > b.bytes > 0

    def test_a_namespace_that_is_empty_is_forgotten(self, entries: Entries) -> None:
        entries.delete(entries.put([make_entry(1)]))
        assert entries.totals() == []


class TestDeleting:
    def test_deleting_says_how_many_there_were(self, entries: Entries) -> None:
        seqs = entries.put([make_entry(i) for i in range(4)])
        assert entries.delete([*seqs[:2], 12345]) == 2
        assert entries.delete(seqs[:2]) == 0
        assert entries.delete([]) == 0
        assert entries.get(key_of(0), now=NOW) is None
        assert list(entries.vectors(key_of("p")).seqs) == seqs[2:]

    def test_the_generation_moves_with_whatever_invalidates_and_with_nothing_else(self, entries: Entries) -> None:
        seqs = entries.put([make_entry(i, owner=Scope(user="u"), expires_at=NOW + i) for i in range(8)])
        still = entries.generation()
        entries.touch({seqs[0]: 1}, now=NOW)
        entries.mark({seqs[0]: (1, 0)})
        entries.set_state("x", "1")
        entries.add_labels([make_label(1)])
        entries.add_hits([make_hit(1)])
        assert entries.delete([99]) == 0
        assert entries.generation() == still
        for move in (
            lambda: entries.delete(seqs[7:]),
            lambda: entries.bump("tag:x"),
            lambda: entries.sweep(now=NOW + 3.5),
            lambda: entries.evict("n", max_entries=2),
            lambda: entries.purge(user="u"),
            entries.clear,
        ):
            move()
            assert entries.generation() != still
            still = entries.generation()

    def test_clearing_takes_one_namespace_or_all(self, entries: Entries) -> None:
        entries.put([make_entry(i, namespace="ab"[i % 2]) for i in range(7)])
        assert entries.clear(namespace="a") == 4
        assert {entry.namespace for entry in entries.iterate()} == {"b"}
        assert entries.clear() == 3
        assert list(entries.iterate()) == entries.totals() == []

    def test_clearing_takes_the_hit_records_with_it_for_they_hold_questions(self, entries: Entries) -> None:
        hits = [make_hit(n, id=f"h{n}", namespace="ab"[n % 2]) for n in range(4)]
        entries.add_hits(hits)
        entries.clear(namespace="a")
        assert [hit.id for hit in hits if entries.hit(hit.id)] == ["h1", "h3"]
        entries.clear()
        assert not any(entries.hit(hit.id) for hit in hits)

    def test_the_sweep_takes_what_has_expired_a_batch_at_a_time(self, entries: Entries) -> None:
        entries.put([make_entry(i, expires_at=NOW + i) for i in range(10)] + [make_entry(99)])
        assert entries.sweep(now=NOW + 5, limit=4) == 4
        assert entries.sweep(now=NOW + 5, limit=4) == 2
        assert entries.sweep(now=NOW + 5) == 0
        assert len(list(entries.iterate())) == 5

    @pytest.mark.parametrize("named", ["doc:1", "tag:doc:1"])
    def test_the_sweep_takes_what_stands_under_an_older_epoch(self, entries: Entries, named: str) -> None:
        assert entries.bump("tag:doc:1") == 1
        entries.put(
            [
                make_entry(1, tags=("doc:1",), epochs={named: 0}),
                make_entry(2, tags=("doc:1",), epochs={named: 1}),
                make_entry(3, tags=("doc:1", "doc:2"), epochs={named: 1, "tag:doc:2": 0}),
                make_entry(5),
                make_entry(6, tags=("doc:1",)),
            ]
        )
        assert entries.sweep(now=NOW) == 2
        assert [entry.key for entry in entries.iterate()] == [key_of(i) for i in (2, 3, 5)]
        entries.bump("tag:doc:2")
        assert entries.sweep(now=NOW) == 1
        assert [entry.key for entry in entries.iterate()] == [key_of(i) for i in (2, 5)]

    @pytest.mark.parametrize("name", ["n", '"\0'])
    def test_the_sweep_takes_what_stood_in_a_namespace_before_its_epoch_moved_on(
        self, entries: Entries, name: str
    ) -> None:
        entries.put([make_entry(i, namespace=name) for i in range(6)] + [make_entry(50, namespace="other")])
        entries.bump(f"ns:{name}")
        entries.put([make_entry(i, namespace=name) for i in (4, 5, 6)])
        assert [entries.sweep(now=NOW, limit=3), entries.sweep(now=NOW), entries.sweep(now=NOW)] == [3, 1, 0]
        assert {entry.key for entry in entries.iterate()} == {key_of(i) for i in (4, 5, 6, 50)}

    def test_epochs_rise_one_by_one(self, entries: Entries) -> None:
        assert entries.epochs() == {}
        assert [entries.bump("tag:a"), entries.bump("tag:a"), entries.bump('tag:\0"\ud800')] == [1, 2, 1]
        assert entries.epochs() == {"tag:a": 2, 'tag:\0"\ud800': 1}


class TestEviction:
    def test_what_saves_least_by_the_byte_goes_first(self, entries: Entries) -> None:
        entries.put(
            [make_entry(1, cost_nano=10), make_entry(2, cost_nano=9_000),
             make_entry(3, cost_nano=9_000, answer=CachedAnswer(text="long " * 5_000)), make_entry(4, cost_nano=8_000)]
        )  # fmt: skip
        assert entries.evict("n", max_entries=2) == 2
        assert {entry.key for entry in entries.iterate()} == {key_of(2), key_of(4)}

    def test_hits_keep_an_entry_and_fade(self, entries: Entries) -> None:
        year = 365 * 86_400.0
        seqs = entries.put([make_entry(i, cost_nano=100) for i in range(4)])
        entries.touch({seqs[0]: 5}, now=NOW)
        entries.touch({seqs[2]: 1}, now=NOW + year)
        entries.touch({seqs[0]: 1}, now=NOW + year)  # five hits of a year ago count for nearly nothing
        entries.touch({seqs[2]: 1}, now=NOW + year)
        assert entries.evict("n", max_entries=1) == 3
        assert [entry.seq for entry in entries.iterate()] == [seqs[2]]

    def test_what_was_not_used_for_long_is_overtaken(self, entries: Entries) -> None:
        [old] = entries.put([make_entry(0, cost_nano=250)])
        for i in range(1, 40):
            entries.put([make_entry(i, cost_nano=100)])
            entries.evict("n", max_entries=2)
        assert old not in {entry.seq for entry in entries.iterate()}

    def test_an_entry_without_a_price_is_neither_first_nor_last(self, entries: Entries) -> None:
        entries.put([make_entry(1, cost_nano=0), make_entry(2, cost_nano=None), make_entry(3, cost_nano=10**9)])
        entries.evict("n", max_entries=2)
        assert {entry.key for entry in entries.iterate()} == {key_of(2), key_of(3)}
        entries.evict("n", max_entries=1)
        assert {entry.key for entry in entries.iterate()} == {key_of(3)}

    def test_a_quota_of_bytes_is_kept_in_its_namespace_only(self, entries: Entries) -> None:
        entries.put([make_entry(i, namespace="ab"[i % 2]) for i in range(1400)])
        a, b = entries.totals()
        quota = a.bytes // 10
        gone = entries.evict("a", max_bytes=quota)
        after, other = entries.totals()
        assert after.entries == a.entries - gone
        assert quota - 2 * a.bytes / a.entries < after.bytes <= quota
        assert other == b
        assert entries.evict("a", max_bytes=quota, max_entries=1400) == entries.evict("a") == 0
        assert entries.evict("nowhere", max_entries=0) == 0


class TestPurging:
    @pytest.mark.parametrize(
        ("names", "left"),
        [
            ({"user": "u1"}, {2, 3, 4}),
            ({"user": "u1", "session": "s1"}, {1, 2, 3, 4}),
            ({"session": "s2"}, {0, 3, 4}),
            ({"application": "a"}, {3, 4}),
            ({"application": "a", "user": "u2"}, {0, 1, 3, 4}),
            ({"user": "nobody"}, {0, 1, 2, 3, 4}),
        ],
    )
    def test_nothing_is_left_of_what_was_purged_and_all_else_stays(
        self, entries: Entries, names: dict[str, str], left: set[int]
    ) -> None:
        owners = [
            Scope(application="a", session="s1", user="u1"), Scope(application="a", session="s2", user="u1"),
            Scope(application="a", session="s2", user="u2"), Scope(application="b", user="u3"), Scope(),
        ]  # fmt: skip
        entries.put([make_entry(i, owner=owner) for i, owner in enumerate(owners)])
        entries.add_hits([make_hit(i, owner=owner) for i, owner in enumerate(owners)])
        for i, owner in enumerate(owners):
            entries.set_state(f"state-{i}", "x", owner=owner)
        entries.add_labels([make_label(1)])
        assert entries.purge(**names) == 5 - len(left)
        assert {entry.key for entry in entries.iterate()} == {key_of(i) for i in left}
        assert {i for i in range(5) if entries.hit(f"hit-{i}")} == left
        assert {i for i in range(5) if entries.get_state(f"state-{i}")} == left
        assert len(entries.labels()[1]) == 1

    def test_a_purge_of_many_is_whole(self, entries: Entries) -> None:
        entries.put([make_entry(i, owner=Scope(user="u")) for i in range(1_000)])
        assert entries.purge(user="u") == 1_000

    def test_a_purge_names_somebody(self, entries: Entries) -> None:
        with pytest.raises(BadInput):
            entries.purge()


class TestLearning:
    def test_labels_are_read_on_from_where_one_stopped(self, entries: Entries) -> None:
        assert entries.labels()[1] == []
        entries.add_labels([make_label(i) for i in range(3)])
        last, found = entries.labels()
        assert found == [make_label(i) for i in range(3)]
        assert entries.labels(after=last) == (last, [])
        entries.add_labels([make_label(7), make_label(8)])
        assert entries.labels(after=last) == (last + 2, [make_label(7), make_label(8)])

    def test_only_the_newest_labels_are_kept(self, entries: Entries) -> None:
        entries.add_labels([make_label(i) for i in range(KEPT_LABELS)])
        entries.add_labels([make_label(i) for i in range(KEPT_LABELS, KEPT_LABELS + 100)])
        _, found = entries.labels()
        assert len(found) == KEPT_LABELS
        assert found[0] == make_label(100)

    def test_a_hit_record_comes_back_as_it_went_in(self, entries: Entries) -> None:
        plain, full = (
            make_hit(1, query=None, similarity=None, features=(), owner=Scope()),
            make_hit(
                2,
                embedder="mini",
                score=0.5,
                bound=0.02,
                agreement=1.0,
                saved_nano=5,
                owner=Scope(user="u", labels={"a": "b"}),
            ),
        )
        entries.add_hits([plain, full])
        assert (entries.hit("hit-1"), entries.hit("hit-2"), entries.hit("hit-3")) == (plain, full, None)
        entries.add_hits([replace(full, score=0.6)])
        assert entries.hit("hit-2") == replace(full, score=0.6)

    def test_only_the_newest_hit_records_are_kept(self, entries: Entries) -> None:
        entries.add_hits([make_hit(i) for i in range(KEPT_HITS)])
        entries.add_hits([make_hit(KEPT_HITS)])
        assert entries.hit("hit-0") is None
        assert entries.hit("hit-1") == make_hit(1)

    def test_state_is_kept_replaced_and_deleted(self, entries: Entries) -> None:
        assert entries.get_state("x") is None
        entries.set_state("x", "1")
        entries.set_state("x", '{"é": "\ud800\0"}')
        assert entries.get_state("x") == '{"é": "\ud800\0"}'
        entries.set_state("x", None)
        assert entries.get_state("x") is None

    def test_counts_are_added_up_by_name(self, entries: Entries) -> None:
        assert entries.counts() == {}
        entries.add_counts({"hit.exact": 2, "miss:\0": 1})
        entries.add_counts({"hit.exact": 3, "lookups": 0})
        entries.add_counts({})
        assert entries.counts() == {"hit.exact": 5, "miss:\0": 1, "lookups": 0}


class TestCodecs:
    def test_what_is_redacted_is_nowhere_in_what_comes_back(self, url: str) -> None:
        with_codec = open_entries(url, codec=Codec(redact=lambda text: text.replace("Bob Ross", "[name]")))
        entry = make_entry(
            1, query="Where does Bob Ross live?",
            answer=CachedAnswer(text="Bob Ross: Ohio", payload={"x": ["Bob Ross"]}),
            reading={"plain": "where does bob ross live", "words": ["where", "does", "bob", "ross", "live"],
                     "entities": ["Bob", "Ross"], "negated": False},
            signature={"plain": "bob ross ohio"},
        )  # fmt: skip
        [seq] = with_codec.put([entry])
        with_codec.add_hits([make_hit(1, query="Where does Bob Ross live?")])
        found, [candidate] = with_codec.entry(seq, now=NOW), with_codec.candidates([seq], now=NOW)
        assert found is not None
        assert found.answer.text == "[name]: Ohio"
        assert candidate.query == "Where does [name] live?"
        assert list(candidate.reading["words"]) == ["where", "does", "live"]
        assert candidate.reading["negated"] is False
        kept = json.dumps([found.query, found.reading, found.signature, found.answer.payload, found.answer.text])
        assert "bob" not in kept.casefold()
        hit = with_codec.hit("hit-1")
        assert hit is not None
        assert hit.query == "Where does [name] live?"
        with_codec.close()

    def test_what_is_sealed_comes_back_and_is_a_miss_without_the_key(self, url: str) -> None:
        def flip(body: bytes) -> bytes:
            return bytes(byte ^ 0x5A for byte in body)

        with_key = open_entries(url, codec=Codec(seal=flip, unseal=flip))
        [seq] = with_key.put([make_entry(1)])
        with_key.add_hits([make_hit(1)])
        same(with_key.entry(seq, now=NOW), make_entry(1))
        assert with_key.hit("hit-1") == make_hit(1)
        if url != "memory://":
            without = open_entries(url)
            assert without.get(key_of(1), now=NOW) is None
            assert without.candidates([seq], now=NOW) == []
            assert without.unreadable == 2
            without.sweep(now=NOW)
            without.close()
        same(with_key.entry(seq, now=NOW), make_entry(1))  # nobody deleted what is only not theirs to read
        with_key.close()

    def test_a_seal_needs_its_key(self) -> None:
        with pytest.raises(BadInput):
            Codec(seal=bytes)


class TestHandles:
    def test_a_store_can_be_closed_and_used_again(self, entries: Entries) -> None:
        entries.put([make_entry(1)])
        entries.close()
        same(entries.get(key_of(1), now=NOW), make_entry(1))

    def test_a_deep_copy_is_the_same_store(self, entries: Entries) -> None:
        other = copy.deepcopy(entries)
        other.put([make_entry(1)])
        same(entries.get(key_of(1), now=NOW), make_entry(1))
        other.close()

    def test_a_pickle_opens_what_the_original_holds(self, entries: Entries) -> None:
        entries.put([make_entry(1)])
        other = pickle.loads(pickle.dumps(entries))
        same(other.get(key_of(1), now=NOW), make_entry(1))
        assert other.url == entries.url
        other.close()

    def test_threads_at_the_same_time_lose_nothing_and_count_nothing_twice(self, entries: Entries) -> None:
        def work(k: int) -> None:
            for i in range(k * 20, k * 20 + 30):  # they overlap
                [seq] = entries.put([make_entry(i)])
                entries.touch({seq: 1}, now=NOW)
                entries.get(key_of(i), now=NOW)
                entries.candidates([seq], now=NOW)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = list(entries.iterate())
        assert len({entry.key for entry in found}) == len(found) == 90
        [total] = entries.totals()
        assert (total.entries, total.hits) == (90, sum(entry.hits for entry in found))
        assert entries.count(key_of("p"), at_most=1000) == 90

    def test_every_store_is_a_store(self, entries: Entries) -> None:
        assert isinstance(entries, Entries)
        assert entries.unreadable == 0
