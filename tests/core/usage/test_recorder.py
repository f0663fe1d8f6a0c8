"""The recorder: what is handed over is stored once, and nothing of ours reaches the caller."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.events import make_event
from tokenwise_core.errors import StoreError
from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.recorder import Recorder
from tokenwise_core.usage.store import MemoryStore, Retention, SQLiteStore
from tokenwise_core.usage.store.protocol import DAY

SOON_S = 20.0
_IN_A_WORKER = "import multiprocessing as m; p = m.get_context('fork').Process(target=more); p.start(); p.join()"


class Gate(MemoryStore):
    """A store that is slow until it is let go, or broken until it is mended."""

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__()
        self.entered, self.open, self.broken = threading.Event(), threading.Event(), broken

    def add(self, events: Sequence[UsageEvent]) -> int:
        self.entered.set()
        if self.broken:
            raise StoreError("the disk is full", url="gate://")
        self.open.wait(SOON_S)
        return super().add(events)


@pytest.fixture
def record() -> Iterator[Callable[..., Recorder]]:
    made: list[Recorder] = []

    def make(store: object = None, **options: object) -> Recorder:
        made.append(Recorder(store, **{"interval_s": 0.01, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for recorder in made:
        recorder.close(1.0)


def _ids(store: MemoryStore | SQLiteStore) -> list[str]:
    return [event.id for event in store.events()]


class TestWriting:
    def test_what_is_submitted_is_stored_after_a_flush(self, record) -> None:
        recorder = record(store := MemoryStore())
        for i in range(10):
            recorder.submit(make_event(i))
        assert recorder.flush(SOON_S)
        assert _ids(store) == [f"call-{i}" for i in range(10)]

    def test_it_is_stored_soon_without_a_flush(self, record) -> None:
        store = Gate()
        store.open.set()
        recorder = record(store)
        recorder.submit(make_event(0))
        assert store.entered.wait(SOON_S)

    def test_work_runs_in_the_writer_thread(self, record) -> None:
        recorder = record(store := MemoryStore())
        ran_in: list[str] = []

        def work() -> UsageEvent:
            ran_in.append(threading.current_thread().name)
            return make_event(1)

        recorder.submit(work)
        recorder.submit(lambda: None)
        recorder.flush(SOON_S)
        assert ran_in == ["tokenwise-recorder"]
        assert _ids(store) == ["call-1"]
        assert recorder.stats().skipped == 1

    def test_many_threads_lose_nothing(self, record) -> None:
        recorder = record(store := MemoryStore(), batch=50)
        threads = [
            threading.Thread(target=lambda t=t: [recorder.submit(make_event(1000 * t + i)) for i in range(200)])
            for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert recorder.flush(SOON_S)
        assert len(_ids(store)) == recorder.stats().written == 1600

    def test_the_counts_add_up(self, record) -> None:
        recorder = record(MemoryStore())
        for work in (make_event(1), make_event(1), lambda: None, lambda: 1 / 0):
            recorder.submit(work)
        recorder.close()
        recorder.submit(make_event(2))
        stats = recorder.stats()
        assert (stats.written, stats.duplicates, stats.skipped, stats.failed, stats.dropped) == (1, 1, 1, 1, 1)
        assert (stats.submitted, stats.queued) == (5, 0)


class TestTrouble:
    def test_work_that_fails_costs_its_own_event_alone(self, record, caplog) -> None:
        recorder = record(store := MemoryStore())
        recorder.submit(make_event(0))
        for _ in range(3):
            recorder.submit(lambda: {}["a secret prompt"])  # type: ignore[arg-type,return-value]
        recorder.submit(make_event(1))
        recorder.flush(SOON_S)
        assert _ids(store) == ["call-0", "call-1"]
        assert recorder.stats().failed == 3
        assert [r.name for r in caplog.records] == ["tokenwise.recorder"]  # once, however often
        assert "secret" not in caplog.text

    def test_an_event_that_no_store_can_keep_costs_itself_alone(self, record, tmp_path) -> None:
        recorder = record(store := SQLiteStore(tmp_path / "usage.db"))
        recorder.submit(make_event(0))
        recorder.submit(make_event(1, estimate_before=2**70))
        recorder.submit(make_event(2))
        recorder.flush(SOON_S)
        assert _ids(store) == ["call-0", "call-2"]
        assert recorder.stats().failed == 1

    def test_a_full_queue_drops_with_a_count_and_one_warning(self, record, caplog) -> None:
        store = Gate()
        recorder = record(store, queue_size=5, batch=1)
        recorder.submit(make_event(0))
        assert store.entered.wait(SOON_S)  # the writer is stuck with the first
        for i in range(1, 20):
            recorder.submit(make_event(i))
        assert recorder.stats().dropped == 14
        assert [r.levelno for r in caplog.records] == [logging.WARNING]
        store.open.set()
        assert recorder.flush(SOON_S)
        assert _ids(store) == [f"call-{i}" for i in range(6)]

    def test_a_store_that_comes_back_gets_what_waited(self, record) -> None:
        store = Gate(broken=True)
        recorder = record(store)
        recorder.submit(make_event(0))
        assert store.entered.wait(SOON_S)
        store.open.set()
        store.broken = False
        assert recorder.flush(SOON_S)
        assert _ids(store) == ["call-0"]

    def test_a_store_that_stays_broken_costs_events_and_nothing_else(self, record, caplog) -> None:
        recorder = record(Gate(broken=True), retry_s=0.05)
        for i in range(3):
            recorder.submit(make_event(i))
        assert recorder.flush(SOON_S)
        assert recorder.stats().dropped == 3
        assert "the disk is full" in caplog.text
        started = time.monotonic()
        recorder.submit(make_event(4))
        assert recorder.flush(SOON_S)  # given up once, it is not waited for again
        assert time.monotonic() - started < SOON_S / 2

    def test_a_broken_store_that_is_mended_is_used_again(self, record) -> None:
        store = Gate(broken=True)
        recorder = record(store, retry_s=0)
        recorder.submit(make_event(0))
        recorder.flush(SOON_S)
        store.broken = False
        store.open.set()
        recorder.submit(make_event(1))
        recorder.flush(SOON_S)
        assert _ids(store) == ["call-1"]

    def test_a_flush_that_takes_too_long_says_so(self, record) -> None:
        store = Gate()
        recorder = record(store)
        recorder.submit(make_event(0))
        assert not recorder.flush(0.05)
        store.open.set()
        assert recorder.flush(SOON_S)


class TestSubscribers:
    def test_each_sees_every_finished_event_whatever_the_others_do(self, record) -> None:
        recorder = record()
        seen: list[str] = []
        recorder.subscribe(lambda event: 1 / 0)
        unsubscribe = recorder.subscribe(lambda event: seen.append(event.id))
        recorder.submit(make_event(0))
        recorder.submit(lambda: make_event(1))
        recorder.flush(SOON_S)
        unsubscribe()
        recorder.submit(make_event(2))
        recorder.flush(SOON_S)
        assert seen == ["call-0", "call-1"]

    def test_a_subscriber_may_flush_without_a_deadlock(self, record) -> None:
        recorder = record(MemoryStore())
        answers: list[bool] = []
        recorder.subscribe(lambda event: answers.append(recorder.flush()))
        recorder.submit(make_event(0))
        assert recorder.flush(SOON_S)
        assert answers == [False]


class TestText:
    @pytest.mark.parametrize(("redact", "kept"), [(None, "call me"), (str.upper, "CALL ME"), (lambda text: None, None)])
    def test_text_goes_through_the_hook_before_anybody_sees_it(self, record, redact, kept) -> None:
        recorder = record(store := MemoryStore(), redact=redact)
        seen: list[str | None] = []
        recorder.subscribe(lambda event: seen.append(event.text))
        recorder.submit(make_event(0, text="call me"))
        recorder.flush(SOON_S)
        assert [event.text for event in store.events()] == seen == [kept]

    def test_a_hook_that_fails_costs_the_text_and_not_the_event(self, record, caplog) -> None:
        recorder = record(store := MemoryStore(), redact=lambda text: {}[text])
        recorder.submit(make_event(0, text="my password"))
        recorder.flush(SOON_S)
        assert [event.text for event in store.events()] == [None]
        assert "password" not in caplog.text


class TestRetention:
    def test_old_events_are_deleted_as_the_recorder_goes_along(self, record) -> None:
        old, new = make_event(0), make_event(1, ts=make_event(0).ts + 40 * DAY)
        store = MemoryStore()
        store.add([old])
        recorder = record(store, retention=Retention(raw_days=30), clock=lambda: new.ts)
        recorder.submit(new)
        recorder.close()
        assert _ids(store) == [new.id]


class TestLife:
    def test_closing_writes_what_is_queued(self) -> None:
        store = MemoryStore()
        with Recorder(store, interval_s=60) as recorder:
            recorder.submit(make_event(0))
        assert _ids(store) == ["call-0"]

    async def test_closing_does_not_block_the_event_loop(self) -> None:
        store = Gate()
        async with Recorder(store, interval_s=0.01) as recorder:
            recorder.submit(make_event(0))
            flushing = asyncio.ensure_future(recorder.aflush(SOON_S))
            await asyncio.sleep(0.05)
            assert not flushing.done()
            store.open.set()
            assert await flushing
        assert _ids(store) == ["call-0"]

    def test_a_copy_is_the_same_recorder_and_a_pickle_a_new_one(self, record, tmp_path) -> None:
        recorder = record(SQLiteStore(tmp_path / "usage.db"))
        recorder.submit(make_event(0))
        recorder.flush(SOON_S)
        assert copy.deepcopy(recorder) is recorder
        other = pickle.loads(pickle.dumps(recorder))
        other.submit(make_event(1))
        other.close()
        assert _ids(recorder.store) == ["call-0", "call-1"]

    def test_a_forgotten_recorder_ends_its_thread(self) -> None:
        recorder = Recorder(store := MemoryStore(), interval_s=0.01)
        recorder.submit(make_event(0))
        recorder.flush(SOON_S)
        thread, gone = recorder._writer.thread, weakref.ref(recorder)
        del recorder
        gc.collect()
        assert gone() is None
        thread.join(SOON_S)
        assert not thread.is_alive()
        assert _ids(store) == ["call-0"]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_a_forked_child_writes_its_own_events_and_not_the_parents(self, record, tmp_path) -> None:
        recorder = record(store := SQLiteStore(tmp_path / "usage.db"), interval_s=0.2)
        recorder.submit(make_event(0))
        recorder.flush(SOON_S)
        recorder.submit(make_event(1))  # still queued when the child is born
        child = os.fork()
        if child == 0:
            recorder.submit(make_event(2))
            ok = recorder.flush(SOON_S) and recorder.stats().written == 1
            os._exit(0 if ok else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert recorder.flush(SOON_S)
        assert _ids(store) == ["call-0", "call-1", "call-2"]
        assert recorder.stats().written == 2

    @pytest.mark.parametrize("ending", ["", "raise SystemExit(3)", "1 / 0", _IN_A_WORKER])
    def test_what_is_queued_is_written_when_the_interpreter_ends(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / "usage.db"
        program = (
            "from tests.events import make_event\n"
            "from tokenwise_core.usage.recorder import Recorder\n"
            "from tokenwise_core.usage.store import SQLiteStore\n"
            f"recorder = Recorder(SQLiteStore({str(path)!r}), interval_s=60)\n"
            "recorder.submit(make_event(0))\n"
            "def more(): recorder.submit(make_event(1))\n"
            f"{ending}\n"
        )
        root = Path(__file__).parents[3]
        subprocess.run([sys.executable, "-c", program], cwd=root, check=False, capture_output=True, timeout=60)
        assert _ids(SQLiteStore(path)) == (["call-0", "call-1"] if "more" in ending else ["call-0"])
