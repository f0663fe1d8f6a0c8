"""Logs that an adapter keeps open: the oldest go, none whose messages the store has not taken."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path

from tokenwise_core.memory import Memory, Session
from tokenwise_core.memory.logs import Logs
from tokenwise_core.memory.sessions import SQLiteSessions
from tokenwise_core.messages import Message


@dataclass
class Log:
    waits: bool = False


def test_a_log_is_the_same_for_all_who_ask() -> None:
    logs = Logs()
    assert logs.get("a", Log) is logs.get("a", Log)
    assert logs.get("a", Log) is not logs.get("b", Log)


def test_the_log_that_was_not_used_for_the_longest_time_goes() -> None:
    logs = Logs(kept=2)
    first, second = logs.get("a", Log), logs.get("b", Log)
    assert logs.get("a", Log) is first
    logs.get("c", Log)
    assert logs.get("a", Log) is first
    assert logs.get("b", Log) is not second


def test_a_log_whose_messages_wait_for_the_store_stays_until_they_are_stored() -> None:
    logs = Logs(kept=2)
    waiting = [logs.get(name, lambda: Log(waits=True)) for name in "abcd"]
    assert [logs.get(name, Log) for name in "abcd"] == waiting
    assert len(logs) == 4
    for log in waiting:
        log.waits = False
    logs.get("e", Log)
    assert len(logs) == 2


def _open(memory: Memory) -> None:
    memory.log("s", lambda: Session(memory, "s", project=lambda written, at: Message(role="user", text="")))


def test_a_memory_is_not_kept_alive_by_its_logs() -> None:
    memory = Memory()
    _open(memory)
    assert memory._workers.rest(10)
    known = weakref.ref(memory)
    del memory
    gc.collect()
    assert known() is None


PROGRAM = """
import logging
import sys
from tokenwise_core.errors import StoreError
from tokenwise_core.memory import Memory, Session
from tokenwise_core.memory.sessions import SQLiteSessions
from tokenwise_core.messages import Message

logging.basicConfig()

class Down(SQLiteSessions):
    is_down = True
    def append(self, session, items, *, owner=None):
        if self.is_down:
            raise StoreError("it is down", url="x")
        super().append(session, items, owner=owner)

store = Down(sys.argv[1])
session = Session(Memory(sessions=store), "s", project=lambda written, at: Message(role="user", text=""))
session.append([{"text": "said while the store was down"}])
store.is_down = sys.argv[2] == "down"
"""


def _ended(path: Path, then: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), then], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stderr


def test_what_waits_is_stored_when_the_process_ends_if_the_store_answers_again(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    assert "never stored" not in _ended(path, "up")
    assert [row.data["text"] for row in SQLiteSessions(path).read("s")] == ["said while the store was down"]


def test_what_is_lost_with_the_process_is_said(tmp_path: Path) -> None:
    assert "messages of 1 sessions were never stored" in _ended(tmp_path / "sessions.sqlite", "down")
