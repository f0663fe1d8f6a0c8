from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tokenwise_core.errors import StoreError
from tokenwise_core.memory.sessions import MemorySessions, Sessions, SQLiteSessions, open_sessions
from tokenwise_core.memory.summarising import LEASE_S, Made, Summariser
from tokenwise_core.memory.view import Block

BLOCK = Block(start=1, stop=9, digest="d")
MADE = {"text": "- facts", "pins": [], "left_out": [], "by": "model"}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Down(MemorySessions):
    def lease(self, *_: object, **__: object) -> bool:
        raise StoreError("it is down", url=self.url)

    finish = results = release = forget = lease  # type: ignore[assignment]


def failing() -> Made:
    raise ConnectionError("no line")


def test_a_summary_is_made_behind_and_found_when_it_is_ready() -> None:
    summariser, go = Summariser(MemorySessions()), threading.Event()

    def make() -> Made:
        go.wait(5)
        return MADE

    assert summariser.begin("s", BLOCK, make)
    assert summariser.ready("s", BLOCK) is None
    assert not summariser.begin("s", BLOCK, make)  # it is under way
    go.set()
    assert summariser.drain()
    assert summariser.ready("s", BLOCK) == MADE
    assert not summariser.may_begin("s", BLOCK)


def test_two_workers_on_one_store_never_make_the_same_summary_and_either_finds_it(tmp_path: Path) -> None:
    url, calls, go = f"sqlite:///{tmp_path}/s.db", [], threading.Event()

    def make(name: str) -> Callable[[], Made]:
        def made() -> Made:
            calls.append(name)
            go.wait(5)
            return {**MADE, "text": name}

        return made

    a, b = (Summariser(open_sessions(url)) for _ in "ab")
    assert a.begin("s", BLOCK, make("a"))
    while not calls:
        pass
    assert b.make("s", BLOCK, make("b")) is None
    assert b.counts["taken"] == 1
    go.set()
    assert a.drain()
    assert calls == ["a"]
    assert b.ready("s", BLOCK) == {**MADE, "text": "a"}


def test_the_lease_of_a_worker_that_died_runs_out() -> None:
    clock = Clock()
    sessions = MemorySessions(clock=clock)
    sessions.lease("s", BLOCK.key, holder="dead", seconds=LEASE_S)
    summariser = Summariser(sessions, clock=clock)
    assert summariser.make("s", BLOCK, lambda: MADE) is None
    clock.now = LEASE_S + 1
    assert summariser.make("s", BLOCK, lambda: MADE) == MADE


@pytest.mark.parametrize("make", [failing, lambda: None])
def test_a_summary_that_failed_rests_and_is_tried_again(make: Callable[[], Made | None]) -> None:
    clock = Clock()
    summariser = Summariser(MemorySessions(clock=clock), clock=clock)
    assert summariser.make("s", BLOCK, make) is None
    assert summariser.failures("s", BLOCK) == 1
    assert not summariser.may_begin("s", BLOCK)
    clock.now = 3.0
    assert summariser.make("s", BLOCK, lambda: MADE) == MADE
    assert summariser.failures("s", BLOCK) == 0
    assert summariser.counts == {"failed": 1, "made": 1}


def test_what_failed_here_another_worker_may_begin_at_once() -> None:
    sessions = MemorySessions()
    assert Summariser(sessions).make("s", BLOCK, failing) is None
    assert Summariser(sessions).make("s", BLOCK, lambda: MADE) == MADE


def test_while_the_store_is_down_summaries_stay_in_this_process() -> None:
    summariser = Summariser(Down())
    assert summariser.make("s", BLOCK, lambda: MADE) == MADE
    assert summariser.ready("s", BLOCK) == MADE
    assert summariser.ready("s", Block(start=0, stop=1, digest="e")) is None
    assert summariser.counts["store"] >= 2


def test_a_committed_summary_is_forgotten_here_and_in_the_store() -> None:
    sessions = MemorySessions()
    summariser = Summariser(sessions)
    summariser.make("s", BLOCK, lambda: MADE)
    summariser.forget("s", BLOCK)
    assert summariser._workers.rest(5)
    assert sessions.results("s") == {}
    assert summariser.ready("s", BLOCK) is None


def test_a_block_that_spares_a_question_has_another_name_than_one_that_does_not() -> None:
    assert BLOCK.key != Block(start=1, stop=9, digest="d", spared=4).key


def test_a_pickled_summariser_begins_anew_on_the_same_store(tmp_path: Path) -> None:
    summariser = Summariser(SQLiteSessions(str(tmp_path / "s.db")))
    summariser.make("s", BLOCK, lambda: MADE)
    twin: Summariser = pickle.loads(pickle.dumps(summariser))
    assert twin._holder != summariser._holder
    assert twin.ready("s", BLOCK) == MADE


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_begins_anew_whatever_was_held_when_it_was_made(tmp_path: Path) -> None:
    sessions: Sessions = open_sessions(f"sqlite:///{tmp_path}/s.db")
    summariser, started, go = Summariser(sessions), threading.Event(), threading.Event()

    def make() -> Made:
        started.set()
        go.wait(30)
        return MADE

    summariser.begin("s", BLOCK, make)
    assert started.wait(5)  # no thread is inside SQLite, which has locks of its own that a fork does not free
    held, forked = threading.Event(), threading.Event()
    threading.Thread(target=_hold, args=(summariser, held, forked), daemon=True).start()
    assert held.wait(5)
    context = multiprocessing.get_context("fork")
    pipe, end = context.Pipe()
    child = context.Process(target=_in_child, args=(summariser, end))
    child.start()
    forked.set()
    assert pipe.poll(20), "the child hangs"
    assert pipe.recv() == (0, MADE, True)
    child.join(10)
    go.set()
    assert summariser.drain()


def _hold(summariser: Summariser, held: threading.Event, forked: threading.Event) -> None:
    """Hold the lock at the moment of the fork: in the child nobody lets it go."""
    with summariser._changed:
        held.set()
        forked.wait(10)


def _in_child(summariser: Summariser, end: multiprocessing.connection.Connection) -> None:  # type: ignore[name-defined]
    other = Block(start=9, stop=12, digest="e")
    failures = summariser.failures("s", other)
    made = summariser.make("s", other, lambda: MADE)
    summariser.forget("s", other)
    end.send((failures, made, summariser.drain(5)))
