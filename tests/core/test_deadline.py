"""Work under a deadline, and the breaker that turns a lever off."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from tokenwise_core.bell import FileInbox
from tokenwise_core.deadline import Breaker, TooBusy, TooLate, Workers
from tokenwise_core.scoping import current_scope, scope
from tokenwise_core.testing import FakeClock


def test_the_result_comes_back_and_an_error_too() -> None:
    workers = Workers()
    assert workers.run(lambda: 42, 5) == 42
    with pytest.raises(KeyError):
        workers.run(lambda: {}["absent"], 5)


def test_the_work_sees_the_callers_scope() -> None:
    with scope(user="ada"):
        assert Workers().run(lambda: current_scope().user, 5) == "ada"


def test_work_that_hangs_is_left_to_itself_and_others_go_on() -> None:
    workers, release = Workers(), threading.Event()
    with pytest.raises(TooLate):
        workers.run(release.wait, 0.01)
    assert workers.run(lambda: "next", 5) == "next"
    release.set()


def test_when_every_thread_hangs_new_work_is_refused_at_once() -> None:
    workers, release = Workers(max_threads=2), threading.Event()
    for _ in range(2):
        with pytest.raises(TooLate):
            workers.run(release.wait, 0.01)
    with pytest.raises(TooBusy):
        workers.run(lambda: 1, 5)
    assert not workers.submit(lambda: 1)
    release.set()


def test_threads_are_used_again() -> None:
    workers = Workers(max_threads=1)
    names = {workers.run(lambda: threading.current_thread().ident, 5) for _ in range(20)}
    assert len(names) == 1


async def test_a_task_waits_without_blocking_the_loop() -> None:
    workers, release = Workers(), threading.Event()
    waiting = asyncio.create_task(workers.arun(release.wait, 5))
    await asyncio.sleep(0)
    release.set()
    assert await waiting is True


async def test_a_task_that_is_late_or_fails_says_so() -> None:
    workers, release = Workers(), threading.Event()
    with pytest.raises(TooLate):
        await workers.arun(release.wait, 0.01)
    with pytest.raises(KeyError):
        await workers.arun(lambda: {}["absent"], 5)
    release.set()


def test_a_pickle_starts_with_threads_of_its_own() -> None:
    assert pickle.loads(pickle.dumps(Workers())).run(lambda: 1, 5) == 1


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_try_after_the_pause() -> None:
    clock = FakeClock()
    breaker = Breaker(clock=clock, failures=3, pause_s=30)
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    assert breaker.is_open
    clock.advance(31)
    assert not breaker.is_open  # one try
    assert breaker.is_open  # nobody else meanwhile
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.trips == 1


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = Breaker(clock=FakeClock(), failures=2)
    breaker.failed()
    breaker.succeeded()
    assert not breaker.failed()
    assert not breaker.is_open


def test_where_all_threads_are_at_work_more_work_waits_for_one() -> None:
    workers, release = Workers(max_threads=1), threading.Event()
    first = threading.Thread(target=lambda: workers.run(release.wait, 10))
    first.start()
    threading.Timer(0.05, release.set).start()
    assert workers.run(lambda: "next", 10) == "next"
    first.join()


def test_work_that_found_no_thread_in_time_was_not_begun() -> None:
    workers, release, begun = Workers(max_threads=1), threading.Event(), threading.Event()
    at_work = threading.Barrier(2)
    first = threading.Thread(target=lambda: workers.run(lambda: (at_work.wait(10), release.wait()), 10))
    first.start()
    at_work.wait(10)
    with pytest.raises(TooBusy):
        workers.run(begun.set, 0.02)
    release.set()
    first.join()
    assert workers.run(lambda: "next", 10) == "next"
    assert not begun.is_set()


def test_threads_that_hung_and_came_back_are_used_again() -> None:
    workers, release = Workers(max_threads=2), threading.Event()
    for _ in range(2):
        with pytest.raises(TooLate):
            workers.run(release.wait, 0.01)
    release.set()
    barrier = threading.Barrier(2)
    both = [threading.Thread(target=lambda: _retried(workers, barrier)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(10)
    assert not barrier.broken


def _retried(workers: Workers, barrier: threading.Barrier) -> None:
    while True:
        try:
            workers.run(lambda: barrier.wait(10), 10)
        except TooBusy:  # the threads are not back yet
            continue
        return


async def test_a_hundred_tasks_at_once_find_room() -> None:
    workers = Workers(max_threads=2)
    assert await asyncio.gather(*(workers.arun(lambda n=n: n, 10) for n in range(100))) == list(range(100))


def test_what_ran_side_by_side_fails_once() -> None:
    clock = FakeClock()
    breaker = Breaker(clock=clock, failures=2)
    began = breaker.now
    clock.advance(0.15)
    for _ in range(10):
        breaker.failed(since=began)
    assert not breaker.is_tripped
    clock.advance(0.15)
    breaker.failed(since=clock())
    assert breaker.is_tripped


def test_what_ends_too_late_wakes_nobody_else() -> None:
    workers, release = Workers(max_threads=2), threading.Event()
    for _ in range(3):
        with pytest.raises(TooLate):
            workers.run(release.wait, 0.01)
        release.set()  # what was given up ends, and rings its bell, while others wait
        assert workers.run(lambda: time.sleep(0.02) or "its own", 5) == "its own"
        release.clear()


def test_many_threads_get_their_own_results() -> None:
    workers, wrong = Workers(max_threads=4), []

    def ask(n: int) -> None:
        wrong.extend(i for i in range(200) if workers.run(lambda i=i: (n, i), 10) != (n, i))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not wrong


def test_without_a_file_to_be_had_work_comes_back_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> tuple[int, int]:
        raise OSError("too many open files")

    monkeypatch.setattr("tokenwise_core.bell.os.pipe", refused)
    monkeypatch.setattr("tokenwise_core.bell.os.eventfd", refused, raising=False)
    workers, release = Workers(), threading.Event()
    assert workers.run(lambda: 42, 5) == 42
    with pytest.raises(TooLate):
        workers.run(release.wait, 0.01)
    release.set()


def test_where_somebody_closed_all_files_one_call_goes_without_and_the_next_begins_anew() -> None:
    workers = Workers()
    assert workers.run(lambda: 1, 5) == 1
    if not isinstance(workers._queue, FileInbox):
        pytest.skip("no files to be waited at here")

    def closed(_: object) -> None:
        raise OSError("bad file descriptor")

    workers._queue = Mock(put=closed)
    with pytest.raises(TooBusy):
        workers.run(lambda: 2, 5)
    assert workers.run(lambda: 3, 5) == 3


def test_waiting_leaves_no_open_files() -> None:
    folder = Path("/dev/fd")
    if not folder.is_dir():
        pytest.skip("no list of open files here")
    workers, before = Workers(), len(list(folder.iterdir()))
    for _ in range(100):
        workers.run(lambda: 1, 5)
    assert len(list(folder.iterdir())) <= before + 2
    del workers
    gc.collect()
    assert len(list(folder.iterdir())) <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_ring_its_parents_bells() -> None:
    workers = Workers()
    assert workers.run(lambda: 1, 5) == 1
    child = os.fork()
    if child == 0:
        os._exit(0 if workers.run(lambda: 2, 5) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [workers.run(lambda n=n: n, 5) for n in range(5)] == list(range(5))
