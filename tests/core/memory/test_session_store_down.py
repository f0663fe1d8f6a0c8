"""A session whose store fails: nothing that was put is lost, and all of it is stored as soon as the store answers."""

from __future__ import annotations

import gc
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.memory import Memory, Session, store_access
from tokenwise_core.memory.sessions import LogItem, MemorySessions, Owner, SQLiteSessions
from tokenwise_core.messages import Message


class Failing(MemorySessions):
    """A store that can be taken down."""

    down = False

    def append(self, session: str, items: Sequence[LogItem], *, owner: Owner | None = None) -> None:
        self._check()
        super().append(session, items, owner=owner)

    def replace(self, session: str, items: Sequence[LogItem], *, owner: Owner | None = None) -> None:
        self._check()
        super().replace(session, items, owner=owner)

    def clear(self, session: str) -> None:
        self._check()
        super().clear(session)

    def _check(self) -> None:
        if self.down:
            raise StoreError("it is down", url=self.url)


@contextmanager
def down(store: Failing) -> Iterator[None]:
    store.down = True
    try:
        yield
    finally:
        store.down = False


@pytest.fixture
def store() -> Failing:
    return Failing()


def made(store: Failing | SQLiteSessions, id: str = "s") -> Session:
    return Session(Memory(sessions=store), id, project=lambda data, at: Message(role="user", text=data["t"], index=at))


@pytest.fixture
def session(store: Failing) -> Session:
    return made(store)


def texts(session: Session) -> list[str]:
    return [data["t"] for data in session.messages()]


def test_a_history_that_is_replaced_while_the_store_is_down_is_the_history_from_then_on(
    session: Session, store: Failing
) -> None:
    session.append([{"t": "old"}])
    with down(store):
        session.replace([{"t": "a"}])
        session.append([{"t": "b"}])
        assert texts(session) == ["a", "b"]
        assert [view.text for view in session.views()] == ["a", "b"]
    assert texts(session) == ["a", "b"]
    assert [row.data["t"] for row in store.read("s")] == ["a", "b"]


def test_a_history_that_is_emptied_while_the_store_is_down_stays_empty(session: Session, store: Failing) -> None:
    session.append([{"t": "old"}])
    with down(store):
        session.replace([])
        assert not texts(session)
    assert not texts(session)
    assert not store.read("s")


def test_a_session_that_cannot_be_forgotten_says_so_and_is_still_there(session: Session, store: Failing) -> None:
    session.append([{"t": "old"}])
    with down(store), pytest.raises(StoreError):
        session.clear()
    assert texts(session) == ["old"]
    session.clear()
    assert not texts(session)


def test_what_waits_is_seen_by_another_history_of_the_session(store: Failing) -> None:
    made(store).append([{"t": "stored"}])
    with down(store):
        first = made(store)
        first.append([{"t": "waits"}])
        del first
        gc.collect()
        other = made(store)
        other.append([{"t": "behind it"}])
        assert texts(other) == ["stored", "waits", "behind it"]
    assert texts(made(store)) == ["stored", "waits", "behind it"]
    assert [row.data["t"] for row in store.read("s")] == ["stored", "waits", "behind it"]


def test_a_history_that_is_gone_is_stored_once_another_finds_the_store_again(store: Failing) -> None:
    with down(store):
        made(store, "gone").append([{"t": "of one that is gone"}])
        gc.collect()
        other = made(store, "other")
        other.append([{"t": "of another"}])
    other.append([{"t": "more"}])
    assert _soon(lambda: [row.data["t"] for row in store.read("gone")] == ["of one that is gone"])


def test_what_waits_for_one_store_in_memory_is_not_another_ones(store: Failing) -> None:
    with down(store):
        made(store).append([{"t": "of the first"}])
        second = Failing()
        made(second).append([{"t": "of the second"}])
    assert [row.data["t"] for row in second.read("s")] == ["of the second"]
    assert texts(made(second)) == ["of the second"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_what_waits_to_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "sessions.db"
    path.mkdir()  # no database can be there
    session = made(SQLiteSessions(path))
    session.append([{"t": "of the parent"}])
    child = os.fork()
    if child == 0:
        os._exit(len(made(SQLiteSessions(path)).messages()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert texts(session) == ["of the parent"]
    path.rmdir()
    assert texts(made(SQLiteSessions(path))) == ["of the parent"]


class Locked:
    """A file of sessions that somebody else is writing to."""

    def __init__(self, path: Path) -> None:
        self.store = SQLiteSessions(path)
        self.store.append("other", [LogItem(id="1", data={"t": "x"}, at=0.0)])
        self._connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> SQLiteSessions:
        self._connection.execute("BEGIN IMMEDIATE")
        return self.store

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locked:
    monkeypatch.setattr(store_access, "PATIENCE_S", 0.3)
    return Locked(tmp_path / "sessions.db")


def test_a_locked_store_is_waited_for_a_few_times_then_left_alone(locked: Locked) -> None:
    with locked as store:
        session = made(store)
        for n in range(store_access.FAILURES):
            session.append([{"t": f"{n}"}])
        asked = session.memory.stats().failures["store: append"]
        session.append([{"t": "last"}])
        assert session.memory.stats().failures["store: append"] == asked == store_access.FAILURES
        assert texts(session) == ["0", "1", "2", "last"]


def test_what_was_stored_too_late_comes_once(locked: Locked) -> None:
    with locked as store:
        session = made(store)
        session.append([{"t": "late"}])
    assert _soon(lambda: [row.data["t"] for row in store.read("s")] == ["late"])
    assert texts(session) == ["late"]
    assert texts(made(store)) == ["late"]
    session.append([{"t": "next"}])
    assert texts(made(store)) == ["late", "next"]


@pytest.mark.parametrize("put", [Session.append, Session.replace])
def test_what_is_no_json_is_refused_and_stands_in_nobodys_way(
    put: Callable[[Session, list[dict[str, object]]], None], tmp_path: Path
) -> None:
    session = made(SQLiteSessions(tmp_path / "sessions.db"))
    session.append([{"t": "before"}])
    with pytest.raises(BadInput, match="JSON"):
        put(session, [{"t": "good"}, {"t": float("nan")}])
    assert texts(session) == ["before"]
    session.append([{"t": "after"}])
    assert texts(made(SQLiteSessions(tmp_path / "sessions.db"))) == ["before", "after"]


def test_a_store_of_somebodys_own_that_breaks_is_a_store_that_fails(
    session: Session, store: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(store, "append", broken)
    session.append([{"t": "a"}])
    assert texts(session) == ["a"]
    assert session.memory.stats().failures["store: append"]


def test_a_failing_store_is_counted(session: Session, store: Failing) -> None:
    with down(store):
        session.append([{"t": "a"}])
    assert session.memory.stats().failures == {"store: append": 1}


def _soon(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()
