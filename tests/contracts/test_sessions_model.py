"""Whatever is done to a durable store of sessions, it holds what the store in memory holds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.postgres import postgres_server
from tests.sessions import NOW, emptied, sessions_database
from tokenwise_core.memory.sessions import (
    LogItem,
    MemorySessions,
    Owner,
    PostgresSessions,
    Sessions,
    SQLiteSessions,
)
from tokenwise_core.protocols import Clock
from tokenwise_core.testing import FakeClock

__all__ = ["postgres_server", "sessions_database"]  # fixtures

_NAMES, _BLOCKS, _HOLDERS = ["s", "é\0", '"\ud800'], ["b", "c"], ["one", "two"]
_SESSIONS, _IDS = st.sampled_from(_NAMES), st.sampled_from(["x", "y", "z\0", "w"])
_OWNERS = st.one_of(
    st.none(),
    st.builds(
        lambda a, u: Owner(application=a, user=u),
        st.sampled_from([None, "", "desk"]),
        st.sampled_from([None, "ann", "bob"]),
    ),
)
_DATA = st.dictionaries(
    st.sampled_from(["text", "v", ""]), st.one_of(st.text(max_size=5), st.integers(), st.none()), max_size=2
)
_ITEMS = st.lists(
    st.builds(lambda name, data, at: LogItem(id=name, data=data, at=float(at)), _IDS, _DATA, st.integers(0, 9)),
    max_size=4,
)


class Machine(RuleBasedStateMachine):
    """Does the same to both; the durable store is reached through two objects in turn, as by two processes."""

    def __init__(self, open_store: Callable[[Clock], Sessions]) -> None:
        super().__init__()
        self.clock = FakeClock(NOW)
        self.model: Sessions = MemorySessions(clock=self.clock)
        self.stores = [open_store(self.clock), open_store(self.clock)]
        self.turn = 0
        self.read_up_to = dict.fromkeys(_NAMES, (0, 0, 0))  # seq, the model's epoch, the store's

    @property
    def store(self) -> Sessions:
        return self.stores[self.turn]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()

    def both(self, do: Callable[[Sessions], Any]) -> Any:
        wanted = do(self.model)
        assert do(self.store) == wanted
        return wanted

    @rule(turn=st.integers(0, 1), seconds=st.integers(0, 3))
    def another_process_has_its_turn(self, turn: int, seconds: int) -> None:
        self.turn = turn
        self.clock.advance(seconds)

    @rule()
    def the_store_is_closed(self) -> None:
        self.store.close()

    @rule(name=_SESSIONS, items=_ITEMS, owner=_OWNERS)
    def append(self, name: str, items: list[LogItem], owner: Owner | None) -> None:
        self.both(lambda sessions: sessions.append(name, items, owner=owner))

    @rule(name=_SESSIONS, items=_ITEMS, owner=_OWNERS)
    def replace(self, name: str, items: list[LogItem], owner: Owner | None) -> None:
        self.both(lambda sessions: sessions.replace(name, items, owner=owner))

    @rule(name=_SESSIONS)
    def clear(self, name: str) -> None:
        self.both(lambda sessions: sessions.clear(name))

    @rule(name=_SESSIONS, data=_DATA, expected=st.integers(0, 3), owner=_OWNERS)
    def save_a_view(self, name: str, data: dict[str, Any], expected: int, owner: Owner | None) -> None:
        self.both(lambda sessions: sessions.save_view(name, data, expected=expected, owner=owner))

    @rule(name=_SESSIONS, block=st.sampled_from(_BLOCKS), holder=st.sampled_from(_HOLDERS), seconds=st.integers(1, 4))
    def lease(self, name: str, block: str, holder: str, seconds: int) -> None:
        self.both(lambda sessions: sessions.lease(name, block, holder=holder, seconds=seconds))

    @rule(name=_SESSIONS, block=st.sampled_from(_BLOCKS), holder=st.sampled_from(_HOLDERS), data=_DATA)
    def finish(self, name: str, block: str, holder: str, data: dict[str, Any]) -> None:
        self.both(lambda sessions: sessions.finish(name, block, holder, data))

    @rule(name=_SESSIONS, block=st.sampled_from(_BLOCKS), holder=st.sampled_from(_HOLDERS))
    def release(self, name: str, block: str, holder: str) -> None:
        self.both(lambda sessions: sessions.release(name, block, holder))

    @rule(name=_SESSIONS, blocks=st.lists(st.sampled_from(_BLOCKS), max_size=2))
    def forget(self, name: str, blocks: list[str]) -> None:
        self.both(lambda sessions: sessions.forget(name, blocks))

    @rule(name=_SESSIONS, id=_IDS, text=st.text(max_size=5), owner=_OWNERS)
    def keep(self, name: str, id: str, text: str, owner: Owner | None) -> None:
        self.both(lambda sessions: sessions.keep(name, id, text, owner=owner))

    @rule(
        session=st.one_of(st.none(), _SESSIONS),
        user=st.sampled_from([None, "ann", "bob"]),
        application=st.sampled_from([None, "desk"]),
        age=st.one_of(st.none(), st.integers(0, 9)),
    )
    def purge(self, session: str | None, user: str | None, application: str | None, age: int | None) -> None:
        before = None if age is None else self.clock.now - age
        if (session, user, application, before) != (None, None, None, None):
            self.both(
                lambda sessions: sessions.purge(session=session, user=user, application=application, before=before)
            )

    @rule(name=_SESSIONS)
    def a_turn_is_free(self, name: str) -> None:
        with self.store.turn(name, timeout_s=1.0):
            pass

    @rule(name=_SESSIONS)
    def a_reader_looks_again(self, name: str) -> None:
        seq, mine, theirs = self.read_up_to[name]
        wanted = self.model.changes(name, after=seq, epoch=mine)
        found = self.store.changes(name, after=seq, epoch=theirs)
        assert replace(found, epoch=0) == replace(wanted, epoch=0)
        assert (found.epoch == 0) == (wanted.epoch == 0)
        assert list(found.rows) == self.store.read(name, after=0 if found.replaced else seq)
        self.read_up_to[name] = (found.last_seq, wanted.epoch, found.epoch)

    @invariant()
    def all_logs_are_the_same_and_hold_each_id_once(self) -> None:
        for name in _NAMES:
            rows = self.both(lambda sessions: sessions.read(name))  # noqa: B023 - called at once
            assert self.both(lambda sessions: sessions.length(name)) == len(rows)  # noqa: B023
            assert len({row.id for row in rows}) == len(rows)

    @invariant()
    def what_is_derived_is_the_same(self) -> None:
        for name in _NAMES:
            self.both(lambda sessions: (sessions.view(name), sessions.results(name)))  # noqa: B023
            self.both(lambda sessions: [sessions.original(name, key) for key in ("x", "y", "z\0", "w")])  # noqa: B023

    @invariant()
    def lists_and_totals_are_the_same(self) -> None:
        self.both(lambda sessions: (sessions.sessions(), sessions.sessions(limit=1, offset=1), sessions.stats()))


_SETTINGS = settings(stateful_step_count=25, suppress_health_check=list(HealthCheck))


def test_sqlite_does_what_memory_does() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = iter(range(1_000_000))

        def machine() -> Machine:
            path = Path(folder) / f"{next(paths)}.db"
            return Machine(lambda clock: SQLiteSessions(path, clock=clock))

        run_state_machine_as_test(machine, settings=_SETTINGS)


@pytest.mark.postgres
def test_postgres_does_what_memory_does(sessions_database: str) -> None:
    def machine() -> Machine:
        emptied(sessions_database)
        return Machine(lambda clock: PostgresSessions(sessions_database, clock=clock))

    run_state_machine_as_test(machine, settings=settings(_SETTINGS, max_examples=max(10, _SETTINGS.max_examples // 5)))
