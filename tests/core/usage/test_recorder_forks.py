"""A fork at any moment: the child records on, the parent loses nothing, nobody hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tokenwise_core.errors import StoreError
from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.usage.accountant import Accountant
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.recorder import Recorder
from tokenwise_core.usage.store import MemoryStore, open_store

PROGRAM = """
import os, sys, threading, time
from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.runtime import shared_runtime

runtime = shared_runtime(sys.argv[1])
meter = Meter(runtime.recorder, runtime.accountant, framework="test")

def call(name):
    prompt = Prompt(messages=(Message(role="user", text=name * 50),))
    meter.start(name, lambda: CallDetails(prompt=prompt, model="gpt-4o"))
    meter.end(name, lambda: Answered(answer=Answer(text="yes")))

stop = threading.Event()
def busy(k):
    n = 0
    while not stop.is_set():
        call(f"parent-{k}-{n}"); n += 1
        time.sleep(0.001)
threads = [threading.Thread(target=busy, args=(k,)) for k in range(3)]
[t.start() for t in threads]
children = []
for c in range(6):
    time.sleep(0.05)
    pid = os.fork()
    if pid == 0:
        for i in range(5):
            call(f"child-{c}-{i}")
        done = runtime.recorder.flush(20)
        os._exit(0 if done else 1)
    children.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in children]
stop.set(); [t.join() for t in threads]
runtime.recorder.close(20)
sys.exit(any(codes))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_children_forked_from_a_busy_parent_record_all_their_calls(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'usage.sqlite'}"
    subprocess.run([sys.executable, "-c", PROGRAM, url], check=True, timeout=120)
    ids = {event.id for event in open_store(url).events()}
    assert {name for name in ids if name.startswith("child")} == {f"child-{c}-{i}" for c in range(6) for i in range(5)}
    assert any(name.startswith("parent") for name in ids)


class Failing(MemoryStore):
    """A database that is down."""

    def add(self, events: object) -> int:
        raise StoreError("down", url="memory://")


def test_calls_are_counted_and_reported_while_the_store_is_down() -> None:
    recorder = Recorder(Failing(), interval_s=0, retry_s=60)
    meter = Meter(recorder, Accountant(), framework="test")
    prompt = Prompt(messages=(Message(role="user", text="Hello"),))

    def call(name: str) -> None:
        meter.start(name, lambda: CallDetails(prompt=prompt, model="gpt-4o"))
        meter.end(name, lambda: Answered(answer=Answer(text="yes")))

    call("first")
    seen: tuple[UsageEvent, ...] = meter.events()
    for number in range(50):
        call(f"later-{number}")
    deadline = time.monotonic() + 20
    while len(seen) < 51 and time.monotonic() < deadline:
        seen = meter.events()
    assert len(seen) == 51
    assert recorder.stats().written == 0
    recorder.close(timeout_s=0.1)
