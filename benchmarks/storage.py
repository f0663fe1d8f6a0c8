"""What recording costs: the hand-off, events a second into SQLite, a report over a million events, kill -9."""

from __future__ import annotations

import gc
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sqlalchemy import create_engine

from tokenwise_core.analytics.report import make_report
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.scoping import Scope
from tokenwise_core.usage.accountant import Accountant, Call
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.components import Breakdown, Component
from tokenwise_core.usage.events import Cost, Usage, UsageEvent
from tokenwise_core.usage.recorder import Recorder, Work
from tokenwise_core.usage.store import Query, SQLiteStore
from tokenwise_core.usage.store.rows import CallRow, to_row
from tokenwise_core.usage.store.schema import EVENT, insert_sql
from tokenwise_core.usage.store.writing import to_batch

START = 1_790_000_000.0
DAYS, MILLION = 30, 1_000_000
ROUNDS = 5
CRASH_BATCH, CRASH_PACE_S = 500, 0.002
T = TypeVar("T")
_INPUTS = (
    Component.SYSTEM_PROMPT, Component.TOOL_DEFINITIONS, Component.RETRIEVED_CONTEXT, Component.HISTORY,
    Component.USER_INPUT, Component.OVERHEAD,
)  # fmt: skip


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the rows of the storage figures; *data_dir* is not needed."""
    with TemporaryDirectory(prefix="tokenwise-bench-") as folder:
        work = Path(folder)
        return [
            _handoff(work, calls=2_000 if quick else 20_000),
            _throughput(work, events=4_000 if quick else 40_000),
            _report(work, events=20_000 if quick else MILLION),
            *_crashes(work, kills=2 if quick else 20 if full else 4),
        ]


def make_event(i: int, ts: float) -> UsageEvent:
    """Return a pre-counted call: six input components, two output components, cached tokens, a price by bucket."""
    dice = random.Random(i)
    tokens = {component: dice.randint(1, 2_000) for component in _INPUTS}
    total, read = sum(tokens.values()), tokens[Component.SYSTEM_PROMPT]
    nano = {
        "input_uncached": (total - read) * 250, "cache_read": read * 25, "output_text": 200 * 2_000,
        "reasoning": 100 * 2_000,
    }  # fmt: skip
    return UsageEvent(
        id=f"{dice.getrandbits(128):032x}",
        ts=ts,
        scope=Scope(
            application="desk", agent=f"agent-{i % 20}", task="answer", session=f"session-{i // 7}",
            user=f"user-{i // 50}", trace=f"trace-{i // 2}", variant="AB"[i // 7 % 2],
        ),
        framework="langchain",
        provider="openai",
        request_model="gpt-5-mini",
        response_model=("gpt-5-mini", "gpt-5-mini", "gpt-5")[i % 3],
        latency_ms=dice.lognormvariate(7, 0.6),
        ttft_ms=dice.lognormvariate(5, 0.4),
        finish_reason="stop",
        messages=13,
        tools_offered=24,
        usage=Usage(
            input_tokens=total, output_tokens=300, input_uncached=total - read, cache_read=read, output_text=200,
            reasoning=100,
        ),
        breakdown=Breakdown(
            tokens={**tokens, Component.RESPONSE: 200, Component.REASONING: 100},
            cached={Component.SYSTEM_PROMPT: read},
            calls=1,
        ),
        estimate_before=total + 3,
        scale=total / (total + 3),
        cost=Cost(nano=sum(nano.values()), by_bucket=nano, price_version="2026-11-01"),
        fingerprint=f"{i % 20:016x}",
        stable_prefix_tokens=read,
    )  # fmt: skip


def _handoff(work: Path, *, calls: int) -> dict[str, Any]:
    """Time each hand-over alone, while the writer writes what came before."""
    events = [make_event(i, START + i) for i in range(calls)]
    with Recorder(SQLiteStore(work / "handoff.db")) as recorder:
        recorder.submit(events[0])
        took = []
        for event in events:
            began = time.perf_counter_ns()
            recorder.submit(event)
            took.append(time.perf_counter_ns() - began)
        recorder.flush()
    peers = {
        "INSERT a call, autocommit": _plain_inserts(work, events),
        "SQLAlchemy, a transaction a call": _by_sqlalchemy(work, events),
    }
    return _row(
        "recorder.handoff.p99_us", _p99(took), must=5, goal=5, unit="us", better="lower", n=calls, peers=peers,
        note=f"wall time; median {sorted(took)[calls // 2] / 1000:.1f} us",
    )  # fmt: skip


def _plain_inserts(work: Path, events: Sequence[UsageEvent]) -> float:
    """Return the p99 of what handlers do that write themselves: one INSERT a call (WAL, synchronous NORMAL)."""
    SQLiteStore(work / "plain.db").get_state("")  # makes the tables
    took = []
    with closing(sqlite3.connect(work / "plain.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        for event in events[:2_000]:
            batch = to_batch([to_row(event)])
            sql, values = insert_sql(EVENT, "?", batch.columns), batch.values[0]
            began = time.perf_counter_ns()
            connection.execute(sql, values)
            took.append(time.perf_counter_ns() - began)
    return _p99(took)


def _by_sqlalchemy(work: Path, events: Sequence[UsageEvent]) -> float:
    SQLiteStore(work / "sqlalchemy.db").get_state("")
    engine, took = create_engine(f"sqlite:///{work / 'sqlalchemy.db'}"), []
    for event in events[:2_000]:
        batch = to_batch([to_row(event)])
        sql, values = insert_sql(EVENT, "?", batch.columns), batch.values[0]
        began = time.perf_counter_ns()
        with engine.begin() as connection:
            connection.exec_driver_sql(sql, values)
        took.append(time.perf_counter_ns() - began)
    engine.dispose()
    return _p99(took)


def _throughput(work: Path, *, events: int) -> dict[str, Any]:
    """Hand over pre-counted events as fast as they are taken, and wait until the last is stored.

    Beside it: calls that the writer still has to count, as the handlers hand them over.
    """
    made = [make_event(i, START + i / 50) for i in range(events)]
    counted, per_cpu_second = sorted(_rates(work / f"pre-counted-{k}.db", made) for k in range(ROUNDS))[ROUNDS // 2]
    with_counting, _ = _rates(work / "counting.db", _calls_to_count(events // 20))
    return _row(
        "store.sqlite.events_per_s", round(counted), must=20_000, goal=40_000, unit="1/s", better="higher", n=events,
        peers={"with counting in the writer": round(with_counting)},
        note=f"wall time, roll-ups included, median of {ROUNDS} rounds; {round(per_cpu_second)} a second of CPU time; "
        "the events are made before, out of the garbage collector's sight. With counting: 13 messages, 24 tools, "
        f"gpt-4o, each with a new question, {events // 20} calls",
    )  # fmt: skip


def _rates(path: Path, works: Sequence[Work]) -> tuple[float, float]:
    """Return how many of *works* are stored a second of wall time, and a second of CPU time."""
    store = SQLiteStore(path)
    store.get_state("")
    gc.collect()
    gc.freeze()  # else each collection looks at all that this benchmark, and no application, keeps
    try:
        with Recorder(store) as recorder:
            began, cpu = time.perf_counter(), time.process_time()
            for work in works:
                recorder.submit(work)
            recorder.flush()
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            assert recorder.stats().written == len(works)
    finally:
        gc.unfreeze()
    return len(works) / seconds, len(works) / cpu


def _calls_to_count(calls: int) -> Sequence[Work]:
    """Return the work of a support desk's calls: one history of twelve messages, each time another question."""
    workload, accountant = load_workload(), Accountant()
    said = [text for turn in workload.conversations[0].turns for text in (turn.user, turn.right)]
    history = tuple(
        Message(role=("assistant", "user")[i % 2] if i else "system", text=text, index=i)
        for i, text in enumerate((workload.system_prompt, *said[:11]))
    )
    works: list[Callable[[], UsageEvent | None]] = []
    for i in range(calls):
        question = Message(role="user", text=f"Question {i}: {said[i % len(said)]}", index=12)
        details = CallDetails(
            prompt=Prompt(messages=(*history, question), tools=workload.tools), model="gpt-4o", provider="openai",
        )  # fmt: skip
        usage = Usage(input_tokens=4_000 + i % 50, output_tokens=60, input_uncached=4_000 + i % 50, output_text=60)
        answered = Answered(answer=Answer(text=said[(i + 1) % len(said)], finish_reason="stop"), usage=usage)
        call = Call(
            id=f"counted-{i}", ts=START + i, framework="langchain", scope=Scope(session=f"session-{i // 7}"),
            trace=str(i), details=partial(_same, details), answered=partial(_same, answered), latency_ms=900.0,
        )  # fmt: skip
        works.append(partial(accountant.event, call))
    works[0]()  # reads the tokeniser's files
    return works


def _same(value: T) -> T:
    return value


def _report(work: Path, *, events: int) -> dict[str, Any]:
    """Fill thirty days, then time the report that `tokenwise report --since 30d` makes."""
    store = SQLiteStore(work / "report.db")
    began = time.perf_counter()
    step = DAYS * 86_400 / events
    for rows in _batches(events, step):
        store.add_rows(rows)
    filled = time.perf_counter() - began
    since = START + 600  # cuts its first hour
    took = []
    for _ in range(5):
        began = time.perf_counter()
        report = make_report(store, Query(since=since), clock=lambda: START + DAYS * 86_400)
        took.append(time.perf_counter() - began)
    assert report.totals.calls == events - sum(START + i * step < since for i in range(int(600 / step) + 2))
    store.close()
    return _row(
        "store.report_1m_s", round(sorted(took)[len(took) // 2], 3), must=1, goal=1, unit="s", better="lower", n=events,
        note=f"totals, by model, agent and hour, components, p50 and p95, savings; filled in {filled:.0f} s",
    )  # fmt: skip


def _batches(events: int, step: float, size: int = 10_000) -> Iterator[list[CallRow]]:
    """Yield rows made from a pool of 5,000 calls, each with an id, a time and a session of its own."""
    pool = [to_row(make_event(i, START)) for i in range(5_000)]
    dice = random.Random(1)
    for begin in range(0, events, size):
        yield [
            pool[i % len(pool)]._replace(
                id=f"{dice.getrandbits(128):032x}", ts=START + i * step, session=f"session-{i // 7}",
                user=f"user-{i // 50}",
            )
            for i in range(begin, min(begin + size, events))
        ]  # fmt: skip


def _crashes(work: Path, *, kills: int) -> list[dict[str, Any]]:
    """Kill a process that records, again and again, and look at what it leaves."""
    lost, corrupt = [], 0
    for k in range(kills):
        path = work / f"crash-{k}.db"
        handed_over = _killed(path, after_s=1.0 + 0.1 * (k % 5))
        with closing(sqlite3.connect(path)) as connection:
            stored = connection.execute("SELECT count(*) FROM event").fetchone()[0]
            summed = connection.execute("SELECT coalesce(sum(calls), 0) FROM event_hour").fetchone()[0]
            whole = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        lost.append(max(0, handed_over - stored))
        corrupt += not whole or stored != summed
    note = f"{kills} kills; batches of {CRASH_BATCH}; most events lost: {max(lost)}"
    return [
        _row(
            "crash.batches_lost", -(-max(lost) // CRASH_BATCH), must=1, goal=1, unit="batches", better="lower",
            n=kills, note=note,
        ),
        _row(
            "crash.corrupt", corrupt, must=0, goal=0, unit="files", better="lower", n=kills,
            note="integrity check, and roll-ups equal to the calls",
        ),
    ]  # fmt: skip


def _killed(path: Path, *, after_s: float) -> int:
    """Run a recording process for a while, kill it, and return how many events it had handed over by its own word."""
    command = [sys.executable, "-m", "benchmarks.storage", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        victim.stdout.readline()
        end, handed_over = time.monotonic() + after_s, 0
        for line in victim.stdout:
            handed_over = int(line)
            if time.monotonic() > end:
                break
        victim.send_signal(signal.SIGKILL)
        return max([handed_over, *(int(line) for line in victim.stdout if line.endswith("\n"))])


def _record_until_killed(path: str) -> None:
    recorder = Recorder(SQLiteStore(path), batch=CRASH_BATCH, interval_s=0.1)
    recorder.submit(make_event(1, START))
    recorder.flush()
    print(1, flush=True)
    handed_over = 1
    while True:
        for _ in range(5):
            handed_over += 1
            recorder.submit(make_event(handed_over, START + handed_over))
        print(handed_over, flush=True)
        time.sleep(CRASH_PACE_S)


def _p99(nanoseconds: Sequence[int]) -> float:
    return round(sorted(nanoseconds)[int(len(nanoseconds) * 0.99)] / 1000, 2)


def _row(key: str, ours: float, **fields: Any) -> dict[str, Any]:
    return {"area": "accounting", "key": key, "ours": ours, "peers": {}, **fields}


if __name__ == "__main__":
    _record_until_killed(sys.argv[1])
