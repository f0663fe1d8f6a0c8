"""A session whose store fails: nothing that was put is lost, and all of it is stored as soon as the store answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tokenwise_core.errors import StoreError
from tokenwise_core.memory import Memory, Session
from tokenwise_core.memory.sessions import LogItem, MemorySessions, Owner
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


@pytest.fixture
def session(store: Failing) -> Session:
    return Session(Memory(sessions=store), "s", project=lambda data, at: Message(role="user", text=data["t"], index=at))


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
