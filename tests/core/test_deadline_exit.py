"""A process that ends while its workers are in native code ends in peace."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from tokenwise_core.deadline import Workers
from tokenwise_core.memory import Memory, Recall
from tokenwise_core.messages import Message

_AT_WORK = """
import atexit, threading, time
from tokenwise_core.deadline import Workers

workers, begun = Workers(), threading.Event()
atexit.register(lambda: print("the end"))  # runs before those that were registered when modules were imported
workers.submit(lambda: (begun.set(), time.sleep(0.3), print("done", flush=True)))
begun.wait()
"""
_LOADING = """
import sys, time
from tokenwise_core import CacheRequest, Message, Prompt, SemanticCache

cache = SemanticCache(namespace="desk", entries="memory://")
cache.lookup(CacheRequest(prompt=Prompt(messages=(Message(role="user", text="Hello?"),)), model="m"))
time.sleep(float(sys.argv[1]))
"""
_EMBEDDING = """
import time
import numpy as np
from tokenwise_core import Message
from tokenwise_core.memory import Memory, Recall
from tokenwise_core.memory.conversation import Conversation

class Slow:
    batches, name, dimension = 0, "slow", 2
    def embed(self, texts):
        Slow.batches += 1
        time.sleep(0.2)
        print("batch", Slow.batches, flush=True)
        return np.ones((len(texts), 2), np.float32)

memory = Memory(recall=Recall(embedder=Slow()))
with memory.using("s") as conversation:
    conversation.replace([Message(role="user", text=f"Fact {i} of a thousand.") for i in range(2000)])
    memory._recaller.prepare(conversation, 2000)
while Slow.batches < 2:
    time.sleep(0.01)
"""


def test_work_under_way_ends_before_the_process_does() -> None:
    ended = subprocess.run([sys.executable, "-c", _AT_WORK], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split("\n")[:2] == ["the end", "done"]


@pytest.mark.parametrize("pause", ["0", "0.1", "0.2", "0.3"])
def test_a_program_that_ends_while_the_embedder_loads_does_not_crash(pause: str) -> None:
    assert subprocess.run([sys.executable, "-c", _LOADING, pause], timeout=60, check=False).returncode == 0


def test_a_program_that_ends_while_turns_are_embedded_does_not_wait_for_all_of_them() -> None:
    """Past the few seconds that an end may take, the embedder's native code would abort the process."""
    ended = subprocess.run([sys.executable, "-c", _EMBEDDING], capture_output=True, text=True, timeout=60, check=True)
    assert 1 <= ended.stdout.count("batch") <= 4  # of 63, of which fifteen would fit into the time that an end may take


def test_what_hangs_is_not_waited_for_longer_than_was_said() -> None:
    workers = Workers()
    assert workers.rest(0)
    release = threading.Event()
    workers.submit(release.wait)
    assert not workers.rest(0.01)
    release.set()
    assert workers.rest(10)


def test_few_turns_are_embedded_at_once_so_that_a_process_can_end_between_two_batches() -> None:
    sizes: list[int] = []

    class Noting:
        name, dimension = "noting", 2

        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            sizes.append(len(texts))
            return np.ones((len(texts), 2), np.float32)

    memory = Memory(recall=Recall(embedder=Noting()))
    assert memory._recaller is not None
    with memory.using("s") as conversation:
        conversation.replace([Message(role="user", text=f"Fact {i} of a hundred.") for i in range(100)])
        memory._recaller.prepare(conversation, 100)
    assert memory.drain()
    assert sum(sizes) >= 100
    assert max(sizes) <= 4  # at .15 s for a long one on a busy core: well within the seconds that an end may take
