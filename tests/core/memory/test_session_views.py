"""The view of a session is saved behind the requests, and never falls back behind what this process has shown."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Any

from tokenwise_core.memory import Memory, Request, Session
from tokenwise_core.memory.sessions import MemorySessions, Owner
from tokenwise_core.messages import Message


class Uneven(MemorySessions):
    """A store whose saves take now longer, now shorter."""

    def save_view(self, session: str, data: Mapping[str, Any], *, expected: int, owner: Owner | None = None) -> bool:
        time.sleep(random.random() * 0.004)
        return super().save_view(session, data, expected=expected, owner=owner)


def opened(memory: Memory) -> Session:
    return Session(memory, "s", project=lambda data, at: Message(role=data["r"], text=data["t"], index=at))


def test_saves_that_overtake_each_other_lose_no_request() -> None:
    memory = Memory(sessions=Uneven(), recall=None, deadline_ms=5_000)
    session = opened(memory)
    for number in range(60):
        session.append([{"r": "user", "t": f"message {number}"}])
        prepared, _ = session.prepare(Request(summariser=None))
        assert prepared.view.account.requests == number + 1
    assert memory._workers.rest(5)
    stored = memory.sessions.view("s")
    assert stored is not None
    assert stored.data["account"]["requests"] == 60


def test_a_view_that_another_process_saved_goes_on() -> None:
    store = MemorySessions()
    memory, other = (Memory(sessions=store, recall=None, deadline_ms=5_000) for _ in range(2))
    here, there = opened(memory), opened(other)
    for number in range(4):
        for session in (here, there):
            session.append([{"r": "user", "t": f"message {number}"}])
            prepared, _ = session.prepare(Request(summariser=None))
            assert session.memory._workers.rest(5)
    assert prepared.view.account.requests == 8
