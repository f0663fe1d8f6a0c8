"""What is written behind the caller's back: in order, in batches, dropped where there is no room."""

from __future__ import annotations

import gc
import threading
from collections.abc import Sequence

from tokenwise_core.cache.behind import Behind


class Desk:
    """Something that writes behind, and remembers what it wrote."""

    def __init__(self, *, held: bool = False, **kwargs: int) -> None:
        self.written: list[object] = []
        self.idled = 0
        self.go = threading.Event()
        if not held:
            self.go.set()
        self.behind = Behind(self.write, self.idle, **kwargs)

    def write(self, items: Sequence[object]) -> None:
        self.go.wait(10)
        self.written.extend(items)

    def idle(self) -> None:
        self.idled += 1


def test_all_is_written_in_order() -> None:
    desk = Desk()
    for n in range(1000):
        assert desk.behind.put(n)
    assert desk.behind.flush(10)
    assert desk.written == list(range(1000))


def test_what_can_wait_is_written_at_the_latest_by_a_flush() -> None:
    desk = Desk()
    desk.behind.later("note")
    desk.behind.put("entry")
    assert desk.behind.flush(10)
    assert desk.written == ["entry", "note"]
    assert desk.idled >= 1


def test_without_room_the_newest_is_dropped_and_counted() -> None:
    desk = Desk(held=True, queue_size=5)
    taken = [desk.behind.put(n) for n in range(50)]
    assert not all(taken)
    assert desk.behind.dropped == taken.count(False)
    desk.go.set()
    assert desk.behind.flush(10)
    assert len(desk.written) == taken.count(True)


def test_a_flush_that_takes_too_long_says_so() -> None:
    desk = Desk(held=True)
    desk.behind.put(1)
    assert not desk.behind.flush(0.02)
    desk.go.set()


def test_stopping_writes_what_waits() -> None:
    desk = Desk()
    desk.behind.later("note")
    desk.behind.put("entry")
    desk.behind.stop(10)
    assert sorted(map(str, desk.written)) == ["entry", "note"]
    assert not desk.behind.put("late")


def test_a_flush_calls_idle_even_where_nothing_was_queued() -> None:
    desk = Desk()
    assert desk.behind.flush(10)
    assert desk.idled == 1


def test_the_thread_does_not_outlive_a_forgotten_owner() -> None:
    desk = Desk(interval_s=0)  # looks about all the time
    desk.behind.put(1)
    desk.behind.flush(10)
    thread = desk.behind._thread
    del desk
    gc.collect()
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
