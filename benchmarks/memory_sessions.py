"""What keeping sessions costs and survives: two processes of two threads in one session, killed in between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenwise_core.memory.sessions import LogItem, LogRow, Owner, Sessions, open_sessions

SESSION, OWNER = "s", Owner(application="desk", user="u")
PROCESSES, THREADS = 2, 2
ROOT = Path(__file__).parents[1]
LEASE_S, TIMEOUT_S = 1.0, 60.0
"""A killed turn is in the others' way for a second, so that the run is short; the product's default is longer."""
_TEXT = "The parcel has left the warehouse in Graz and should be with you on Thursday, before noon. " * 4


@dataclass(slots=True)
class Crowd:
    """What became of the turns: which were acknowledged, how many kills there were, what the log held afterwards."""

    acknowledged: set[str] = field(default_factory=set)
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    overlapped: int = 0
    took_s: float = 0.0


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the rows of the session figures; *data_dir* is not needed."""
    with TemporaryDirectory(prefix="tokenwise-bench-") as folder:
        work = Path(folder)
        turns, kills = (60, 2) if quick else (1_000, 60 if full else 16)
        found = crowd(f"sqlite:///{work / 'crowd.db'}", turns=turns, kills=kills)
        note = (
            f"{turns:,} turns of two messages by {PROCESSES} processes x {THREADS} threads in one session,"
            f" {found.kills} kills -9, unacknowledged turns retried; {found.overlapped} overlapped;"
            f" {found.took_s:.0f} s"
        )
        counted: dict[str, Any] = {"must": 0, "goal": 0, "better": "lower", "n": turns, "note": note}
        return [
            _row("sessions.lost", found.lost, unit="messages", **counted),
            _row("sessions.doubled", found.doubled, unit="messages", **counted),
            *_times(work, calls=200 if quick else 2_000),
        ]


def crowd(url: str, *, turns: int, kills: int, seed: int = 5) -> Crowd:
    """Let the processes take their turns, kill them in between, and look at what the log holds."""
    found, began = Crowd(), time.perf_counter()
    share = turns // (PROCESSES * THREADS)
    with ThreadPoolExecutor(PROCESSES) as pool:
        jobs = [
            pool.submit(_drive, url, process, share, kills // PROCESSES, random.Random(seed + process))
            for process in range(PROCESSES)
        ]
        for job in jobs:
            acknowledged, killed = job.result()
            found.acknowledged |= acknowledged
            found.kills += killed
    found.took_s = time.perf_counter() - began
    with closing(open_sessions(url)) as sessions:
        rows = sessions.read(SESSION)
    ids = [row.id for row in rows]
    wanted = {f"{turn}-{role}" for turn in found.acknowledged for role in ("user", "assistant")}
    assert len(wanted) == 2 * share * PROCESSES * THREADS, "a turn was never acknowledged"
    found.lost, found.doubled = len(wanted - set(ids)), len(ids) - len(set(ids))
    found.overlapped = sum(_overlapped(rows))
    return found


def _overlapped(rows: list[LogRow]) -> list[bool]:
    """Say of each turn whether another wrote between its reading and its writing."""
    return [row.data["seen"] != row.seq - 1 for row in rows if row.data["role"] == "user"]


def _drive(url: str, process: int, share: int, kills: int, dice: random.Random) -> tuple[set[str], int]:
    """Run one process to the end of its turns, killed *kills* times on the way; return what it acknowledged."""
    done, killed = [0] * THREADS, 0
    while min(done) < share:
        command = [sys.executable, "-m", "benchmarks.memory_sessions", url, str(process), str(share), *map(str, done)]
        left = share * THREADS - sum(done)
        lines = dice.randint(1, max(1, 2 * left // (kills - killed + 1))) if killed < kills else left + 1
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
            assert child.stdout is not None
            for n, line in enumerate(iter(child.stdout.readline, b""), 1):
                _note(done, line)
                if n == lines:
                    time.sleep(dice.random() * 0.004)  # anywhere in one of the turns that follow
                    child.send_signal(signal.SIGKILL)
                    killed += 1
        assert killed or not child.returncode, "a process failed"
    return {f"{process}-{t}-{i}" for t in range(THREADS) for i in range(done[t])}, killed


def _note(done: list[int], line: bytes) -> None:
    if line.endswith(b"\n"):  # else it was killed while it wrote
        thread, turn = map(int, line.split())
        done[thread] = turn + 1


def _work(url: str, process: int, share: int, first: list[int]) -> None:
    """Take the turns that are left; tell of each once it is kept."""
    sessions = open_sessions(url)
    threads = [
        threading.Thread(target=_turns, args=(sessions, f"{process}-{t}", t, range(first[t], share)))
        for t in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sessions.close()


def _turns(sessions: Sessions, name: str, thread: int, turns: range) -> None:
    known = sessions.changes(SESSION)
    for i in turns:
        with sessions.turn(SESSION, timeout_s=TIMEOUT_S, lease_s=LEASE_S):
            known = sessions.changes(SESSION, after=known.last_seq, epoch=known.epoch)
            sessions.append(SESSION, _turn(f"{name}-{i}", seen=known.last_seq), owner=OWNER)
        os.write(1, f"{thread} {i}\n".encode())  # whole, whichever thread


def _turn(name: str, *, seen: int) -> list[LogItem]:
    return [
        LogItem(id=f"{name}-{role}", data={"role": role, "text": _TEXT, "seen": seen}, at=1.8e9)
        for role in ("user", "assistant")
    ]


def _times(work: Path, *, calls: int) -> list[dict[str, Any]]:
    """Time what stands on a request's path, over a session of some hundred messages."""
    with closing(open_sessions(str(work / "times.db"))) as sessions:
        for i in range(200):
            sessions.append(SESSION, _turn(f"before-{i}", seen=0), owner=OWNER)
        for block in ("a", "b"):
            sessions.lease(SESSION, block, holder="h", seconds=60)
        sessions.finish(SESSION, "b", "h", {"text": _TEXT})
        known = sessions.changes(SESSION)
        changes = _median_us(lambda _: sessions.changes(SESSION, after=known.last_seq, epoch=known.epoch), n=calls)
        results = _median_us(lambda _: sessions.results(SESSION), n=calls)
        began = time.perf_counter()
        append = _median_us(lambda i: sessions.append(SESSION, _turn(f"new-{i}", seen=0), owner=OWNER), n=calls)
        per_s = round(calls * 1.1 / (time.perf_counter() - began))
        turn = _median_us(lambda _: _empty_turn(sessions), n=calls)
    reported: dict[str, Any] = {"must": None, "goal": None, "better": "lower", "n": calls, "unit": "us"}
    return [
        _row("sessions.append_us", append, note=f"two messages, committed to SQLite; {per_s:,} appends/s", **reported),
        _row("sessions.changes_us", changes, note="is there anything new in the log", **reported),
        _row("sessions.results_us", results, note="is a summary ready; one is, and is read", **reported),
        _row("sessions.turn_us", turn, note="the session's lock taken and given back", **reported),
    ]


def _empty_turn(sessions: Sessions) -> None:
    with sessions.turn(SESSION):
        pass


def _median_us(call: Callable[[int], object], *, n: int) -> float:
    """Return the median CPU time of a warm call, in microseconds."""
    took = []
    for i in range(n + n // 10):
        began = time.thread_time_ns()
        call(i)
        if i >= n // 10:
            took.append(time.thread_time_ns() - began)
    return round(sorted(took)[n // 2] / 1000, 1)


def _row(key: str, ours: float, **fields: Any) -> dict[str, Any]:
    return {"area": "memory", "key": key, "ours": ours, "peers": {}, **fields}


if __name__ == "__main__":
    _work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), [int(text) for text in sys.argv[4:]])
