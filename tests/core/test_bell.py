"""Who waits at a bell or an inbox is woken once for each time, through a file of the system or without one."""

from __future__ import annotations

import gc
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import pytest

from tokenwise_core.bell import Bell, EdgeBell, FileBell, FileInbox, Inbox, LockBell, new_inbox

BELLS = pytest.mark.parametrize("make", [FileBell, LockBell, *([EdgeBell] if hasattr(select, "epoll") else [])])
WIRES = pytest.mark.parametrize("has_eventfd", [True, False], ids=["eventfd", "pipe"])


@pytest.fixture
def wire(has_eventfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if has_eventfd and not hasattr(os, "eventfd"):
        pytest.skip("no eventfd here")
    if not has_eventfd:
        monkeypatch.delattr(os, "eventfd", raising=False)


@BELLS
@WIRES
@pytest.mark.usefixtures("wire")
def test_a_bell_wakes_once_for_each_ring(make: Callable[[], Bell]) -> None:
    bell = make()
    assert not bell.wait(0.001)
    threading.Timer(0.01, bell.ring).start()
    assert bell.wait(10)
    assert not bell.wait(0.001)


@WIRES
@pytest.mark.usefixtures("wire")
def test_what_many_put_in_is_taken_out_once_each() -> None:
    inbox: Inbox[int] = FileInbox()
    found: list[int] = []

    def take() -> None:
        while (item := inbox.get()) >= 0:
            found.append(item)

    takers = [threading.Thread(target=take) for _ in range(4)]
    putters = [threading.Thread(target=lambda n=n: [inbox.put(n * 500 + i) for i in range(500)]) for n in range(4)]
    for thread in takers + putters:
        thread.start()
    for thread in putters:
        thread.join(10)
    for _ in takers:
        inbox.put(-1)
    for thread in takers:
        thread.join(10)
    assert sorted(found) == list(range(2000))


@WIRES
@pytest.mark.usefixtures("wire")
def test_one_taker_gets_things_in_their_order() -> None:
    inbox: Inbox[int] = FileInbox()
    for n in range(100):
        inbox.put(n)
    assert [inbox.get() for _ in range(100)] == list(range(100))


def test_where_no_file_is_to_be_had_a_queue_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("too many open files")

    monkeypatch.setattr("tokenwise_core.bell.os.pipe", refused)
    monkeypatch.setattr("tokenwise_core.bell.os.eventfd", refused, raising=False)
    assert isinstance(new_inbox(), SimpleQueue)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_wakes_nobody_in_its_parent() -> None:
    inbox: Inbox[str] = FileInbox()
    child = os.fork()
    if child == 0:
        inbox.put("of the child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    inbox.put("of the parent")
    assert inbox.get() == "of the parent"


@WIRES
@pytest.mark.usefixtures("wire")
def test_what_is_let_go_leaves_no_open_file() -> None:
    folder = Path("/dev/fd")
    if not folder.is_dir():
        pytest.skip("no list of open files here")
    before = len(list(folder.iterdir()))
    kept = [FileBell(), FileInbox[int]()]
    assert len(list(folder.iterdir())) > before
    kept.clear()
    gc.collect()
    assert len(list(folder.iterdir())) == before
