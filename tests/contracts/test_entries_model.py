"""Whatever is done to a durable store of entries, it holds what the store in memory holds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.entries import cache_database, emptied, key_of, make_entry, make_hit, make_label, unit
from tests.postgres import postgres_server
from tokenwise_core.cache.entries import Codec, Entries, MemoryEntries, PostgresEntries, SQLiteEntries
from tokenwise_core.cache.entries.rows import to_row
from tokenwise_core.cache.entry import CachedAnswer, Entry
from tokenwise_core.scoping import Scope

__all__ = ["cache_database", "postgres_server"]  # fixtures

_TOLERANCE = 2e-3  # half floats on one side, full ones on the other
_KEYS, _PARTITIONS, _NAMESPACES = range(6), "pq", ["n", "é", '"\0']
_NAMES = st.sampled_from(["a", "b", None])
_OWNERS = st.builds(lambda u, s, a: Scope(user=u, session=s, application=a), _NAMES, _NAMES, _NAMES)
_TAGS = st.lists(st.sampled_from(["x", "y"]), unique=True, max_size=2)
_SEVERAL = st.lists(st.integers(0, 7), min_size=1, max_size=4)


@st.composite
def drawn_entries(draw: st.DrawFn) -> Entry:
    """Draw an entry from a few keys, partitions and vectors, so that they meet."""
    semantic: dict[str, Any] = {"partition": None, "vector": None, "query": None, "reading": None, "signature": None}
    if draw(st.booleans()):
        semantic = {"partition": key_of(draw(st.sampled_from(_PARTITIONS))), "vector": unit(draw(st.integers(0, 3)))}
    tags = draw(_TAGS)
    epochs = {f"tag:{tag}": draw(st.integers(0, 2)) for tag in tags if draw(st.booleans())}
    return make_entry(
        draw(st.sampled_from(_KEYS)),
        **semantic,
        namespace=draw(st.sampled_from(_NAMESPACES)),
        answer=CachedAnswer(text="x" * draw(st.integers(0, 400))),
        created_at=float(draw(st.integers(0, 9))),
        expires_at=draw(st.one_of(st.none(), st.integers(1, 30).map(float))),
        tags=tuple(tags),
        epochs=epochs,
        owner=draw(_OWNERS),
        cost_nano=draw(st.sampled_from([None, 0, 100, 10_000])),
        hits=draw(st.integers(0, 3)),
    )


class Machine(RuleBasedStateMachine):
    """Does the same to both; the durable store is reached through two objects in turn, as by two processes."""

    def __init__(self, open_store: Callable[[], Entries]) -> None:
        super().__init__()
        self.model: Entries = MemoryEntries()
        self.stores = [open_store(), open_store()]
        self.turn = 0
        self.seqs: dict[int, int] = {}  # the model's to the store's
        self.now = 0.0
        self.generations = (self.model.generation(), self.store.generation())

    @property
    def store(self) -> Entries:
        return self.stores[self.turn]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()

    def both(self, do: Callable[[Entries], Any]) -> Any:
        wanted = do(self.model)
        assert do(self.store) == wanted
        return wanted

    def known(self, places: Iterable[int]) -> list[int]:
        """Return seqs of the model, some of them gone."""
        seqs = sorted(self.seqs)
        return [seqs[-1 - place] for place in places if place < len(seqs)]

    @rule(turn=st.integers(0, 1), seconds=st.integers(0, 3))
    def another_process_has_its_turn(self, turn: int, seconds: int) -> None:
        self.turn, self.now = turn, self.now + seconds

    @rule()
    def the_store_is_closed(self) -> None:
        self.store.close()

    @rule(batch=st.lists(drawn_entries(), max_size=4))
    def put(self, batch: list[Entry]) -> None:
        for mine, theirs in zip(self.model.put(batch), self.store.put(batch), strict=True):
            assert self.seqs.setdefault(mine, theirs) == theirs

    @rule(places=_SEVERAL)
    def delete(self, places: list[int]) -> None:
        gone = self.known(places)
        assert self.store.delete([self.seqs[seq] for seq in gone]) == self.model.delete(gone)

    @rule(places=_SEVERAL, n=st.integers(1, 5))
    def touch(self, places: list[int], n: int) -> None:
        hit = self.known(places)
        self.model.touch(dict.fromkeys(hit, n), now=self.now)
        self.store.touch({self.seqs[seq]: n for seq in hit}, now=self.now)

    @rule(places=_SEVERAL)
    def mark(self, places: list[int]) -> None:
        seqs = self.known(places)
        self.model.mark(dict.fromkeys(seqs, (1, 2)))
        self.store.mark({self.seqs[seq]: (1, 2) for seq in seqs})

    @rule(name=st.sampled_from(["tag:x", "tag:y", "ns:n"]))
    def bump(self, name: str) -> None:
        self.both(lambda entries: entries.bump(name))

    @rule()
    def sweep(self) -> None:
        self.both(lambda entries: entries.sweep(now=self.now))

    @rule(
        namespace=st.sampled_from(_NAMESPACES),
        entries=st.one_of(st.none(), st.integers(0, 3)),
        size=st.one_of(st.none(), st.integers(0, 2_000)),
    )
    def evict(self, namespace: str, entries: int | None, size: int | None) -> None:
        self.both(lambda e: e.evict(namespace, max_entries=entries, max_bytes=size))

    @rule(owner=_OWNERS)
    def purge(self, owner: Scope) -> None:
        names = {"user": owner.user, "session": owner.session, "application": owner.application}
        if any(names.values()):
            self.both(lambda entries: entries.purge(**names))

    @rule(namespace=st.one_of(st.none(), st.sampled_from(_NAMESPACES)))
    def clear(self, namespace: str | None) -> None:
        self.both(lambda entries: entries.clear(namespace=namespace))

    @rule(i=st.integers(0, 3), owner=_OWNERS)
    def look_back(self, i: int, owner: Scope) -> None:
        self.both(lambda entries: entries.add_hits([make_hit(i, owner=owner)]))
        self.both(lambda entries: entries.add_labels([make_label(i)]))
        self.both(lambda entries: entries.set_state(f"s{i}", str(i), owner=owner))
        self.both(lambda entries: entries.add_counts({f"c{i}": i}))

    @rule(places=_SEVERAL)
    def candidates_are_the_same(self, places: list[int]) -> None:
        seqs = self.known(places)
        mine = self.model.candidates(seqs, now=self.now)
        theirs = self.store.candidates([self.seqs[seq] for seq in seqs], now=self.now)
        assert [self.seqs[c.seq] for c in mine] == [c.seq for c in theirs]
        assert [replace(c, seq=0, vector=None) for c in mine] == [replace(c, seq=0, vector=None) for c in theirs]

    @precondition(lambda self: self.stores[0].searches)
    @rule(partition=st.sampled_from(_PARTITIONS), seed=st.integers(0, 5))
    def a_search_finds_the_nearest_of_its_partition(self, partition: str, seed: int) -> None:
        assert isinstance(self.store, PostgresEntries)
        rows, vector = self.model.vectors(key_of(partition)), unit(seed)
        found = self.store.search(key_of(partition), vector, 3)
        wanted = (
            dict(zip((self.seqs[seq] for seq in rows.seqs), rows.vectors @ vector, strict=True))
            if len(rows.seqs)
            else {}
        )
        assert len(found) == min(3, len(wanted))
        for (seq, cosine), best in zip(found, sorted(wanted.values(), reverse=True), strict=False):
            assert cosine == pytest.approx(best, abs=_TOLERANCE)
            assert cosine == pytest.approx(wanted[seq], abs=_TOLERANCE)

    @invariant()
    def all_entries_are_the_same(self) -> None:
        mine, theirs = list(self.model.iterate()), list(self.store.iterate())
        assert [self.seqs[entry.seq] for entry in mine if entry.seq] == [entry.seq for entry in theirs]
        for one, other in zip(mine, theirs, strict=True):
            assert replace(one, seq=0, vector=None) == replace(other, seq=0, vector=None)
            assert (one.vector is None) == (other.vector is None)
            if one.vector is not None and other.vector is not None:
                np.testing.assert_allclose(one.vector, other.vector, atol=_TOLERANCE)

    @invariant()
    def a_key_leads_to_its_own_entry_while_it_lives(self) -> None:
        for i in _KEYS:
            mine, theirs = (entries.get(key_of(i), now=self.now) for entries in (self.model, self.store))
            assert (mine is None) == (theirs is None)
            alone = self.store.answer(key_of(i), now=self.now)
            assert (alone and (alone.seq, alone.answer)) == (theirs and (theirs.seq, theirs.answer))
            if mine is not None and theirs is not None and mine.seq is not None:
                assert theirs.key == key_of(i)
                assert theirs.seq == self.seqs[mine.seq]

    @invariant()
    def partitions_hold_their_own_vectors(self) -> None:
        for name in _PARTITIONS:
            mine, theirs = (entries.vectors(key_of(name)) for entries in (self.model, self.store))
            assert [self.seqs[seq] for seq in mine.seqs] == list(theirs.seqs)
            assert self.store.count(key_of(name), at_most=9) == len(theirs.seqs)

    @invariant()
    def totals_are_the_sums_of_the_rows(self) -> None:
        totals = self.both(lambda entries: entries.totals())
        held = list(self.store.iterate())
        assert {t.namespace: t.bytes for t in totals} == {
            name: sum(to_row(entry, Codec()).size for entry in held if entry.namespace == name)
            for name in {entry.namespace for entry in held}
        }
        assert sum(t.hits for t in totals) == sum(entry.hits for entry in held)

    @invariant()
    def what_stands_beside_the_entries_is_the_same(self) -> None:
        self.both(lambda entries: [entries.hit(f"hit-{i}") for i in range(4)])
        self.both(lambda entries: [entries.get_state(f"s{i}") for i in range(4)])
        self.both(lambda entries: (entries.labels()[1], entries.counts(), entries.epochs()))

    @invariant()
    def the_generation_moves_together(self) -> None:
        before, self.generations = self.generations, (self.model.generation(), self.store.generation())
        assert (before[0] != self.generations[0]) == (before[1] != self.generations[1])


_SETTINGS = settings(stateful_step_count=20, suppress_health_check=list(HealthCheck))


def test_sqlite_does_what_memory_does() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = iter(range(1_000_000))

        def machine() -> Machine:
            path = Path(folder) / f"{next(paths)}.db"
            return Machine(lambda: SQLiteEntries(path))

        run_state_machine_as_test(machine, settings=_SETTINGS)


@pytest.mark.postgres
def test_postgres_does_what_memory_does(cache_database: str) -> None:
    def machine() -> Machine:
        emptied(cache_database)
        return Machine(lambda: PostgresEntries(cache_database))

    run_state_machine_as_test(machine, settings=settings(_SETTINGS, max_examples=max(10, _SETTINGS.max_examples // 5)))
