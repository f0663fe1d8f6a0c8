"""What a memory does beside an event loop stays beside it, also where all of its threads are taken."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tokenwise_core.memory import Memory, Request, View
from tokenwise_core.memory.threads import Threads
from tokenwise_core.tokens import TokenCounter
from tokenwise_core.usage.components import CountSource


@pytest.fixture
def taken() -> Iterator[Threads]:
    """Threads of which the only worker is at work until the test is over."""
    threads, go = Threads(max_threads=1), threading.Event()
    assert threads.workers.submit(lambda: go.wait(30))
    yield threads
    go.set()


async def test_on_an_event_loop_work_behind_finds_a_spare_thread(taken: Threads) -> None:
    ran: list[int] = []
    done = threading.Event()
    assert taken.behind(lambda: (ran.append(threading.get_ident()), done.set()))
    assert done.wait(10)
    assert ran != [threading.get_ident()]


def test_without_an_event_loop_work_behind_is_done_at_once_where_no_thread_is_free(taken: Threads) -> None:
    ran: list[int] = []
    assert not taken.behind(lambda: ran.append(threading.get_ident()))
    assert ran == [threading.get_ident()]


async def test_awaited_work_finds_a_spare_thread_where_all_workers_hang(taken: Threads) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(taken.workers.arun(lambda: threading.Event().wait(0), 30), 0.01)
    taken.workers._hanging = 1  # as after the budget of the work that the worker is at
    assert await taken.work(threading.get_ident) != threading.get_ident()


class Loading(TokenCounter):
    """A counter whose tokeniser is loaded by the first who asks for it."""

    def __init__(self) -> None:
        super().__init__(len)
        self.loaded_by: list[int] = []

    @property
    def is_loaded(self) -> bool:
        return bool(self.loaded_by)

    @property
    def source(self) -> CountSource:
        self.loaded_by.append(threading.get_ident())
        return CountSource.EXACT


async def test_a_request_that_is_awaited_waits_for_the_tokeniser_beside_the_event_loop() -> None:
    counter = Loading()
    memory = Memory(counter=counter)
    assert await memory.adrain()
    counter.loaded_by.clear()
    with memory.using("c") as conversation:
        await memory.aprepare(conversation, View(), Request())
    assert counter.loaded_by
    assert threading.get_ident() not in counter.loaded_by
