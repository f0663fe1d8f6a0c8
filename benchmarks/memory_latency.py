"""What memory adds to a request: CPU time at 200 turns, with and without embedding; how it grows; the adapters' share.

A turn is an answer and a question, 125 tokens each, and the request behind them: bring the conversation up to date,
prepare, and note the answer. Summaries come from a fake that answers at once; they and the embedding of what left the
context are waited for between two turns, outside the measured time, as they are made behind requests.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.memory_data import chats, traces
from benchmarks.memory_texts import MISSING, message_tokens, text_tokens
from tokenwise_core.memory import Memory, Recall, Request, View
from tokenwise_core.messages import Message

FIXED_TOKENS, MESSAGE_TOKENS = 1_500, 125
AT_200 = (100, 300)
"""The turns that are measured: 200 of them, around the one with 50,000 tokens before it."""
SHORT, LONG = (30, 70), (2_400, 2_600)
"""Turns around 100 and around 5,000 messages."""
ROUNDS = 5
_PATIENT_MS = 60_000
SUMMARY = "A summary of what was said so far, in words that stand for the model's own. " * 10
MODEL, PROVIDER = "gpt-4o", "openai"


class Timed(Protocol):
    """Something that takes one turn at a time; *settle* waits, unmeasured, for what it does behind."""

    def turn(self, new: Sequence[Message]) -> object: ...

    def settle(self) -> object: ...


class Core:
    """Our core, driven as an adapter drives it."""

    def __init__(self, recall: Recall | None) -> None:
        self.memory = Memory(recall=recall, deadline_ms=_PATIENT_MS)
        self._view = View()
        self._request = Request(fixed_tokens=FIXED_TOKENS, model=MODEL, provider=PROVIDER)

    def turn(self, new: Sequence[Message]) -> None:
        with self.memory.using("talk") as conversation:
            conversation.sync(len(conversation), new)
            prepared = self.memory.prepare(conversation, self._view, self._request)
        self.memory.answered(prepared, ask=lambda ask: SUMMARY)
        self._view = prepared.view

    def settle(self) -> None:
        self.memory.drain()


def figures(data: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the latencies; *full* gives peers, and recall on every turn, as many rounds as the first figure."""
    said = _said(data)
    if not said:
        return [_row(key, None, note=MISSING) for key in _FLOORS]
    rounds = 1 if quick else ROUNDS
    few = ROUNDS if full else 1
    words = Recall(embedder=None)
    rows = [
        _at_200("latency.200_turns_ms", said, lambda: Core(words), rounds, peers=_peers(said, few), note=_WORDS),
        _at_200("latency.200_turns_words_ms", said, lambda: Core(_every_turn(None)), few, note=_EVERY),
        _at_200("latency.200_turns_embed_ms", said, _embedding, few, note=_EMBED),
        _growth(said, words, rounds),
    ]
    from benchmarks.memory_latency_adapters import shares

    for key, (share, note) in shares(talk(said, 2 * LONG[1], seed=77), words, LONG).items():
        rows.append(_row(key, share, unit="us", digits=2, n=LONG[1] - LONG[0], note=note))
    return rows


_WORDS = (
    "default memory, recall by words where a turn is a question (few of these are); the answer's note included. "
    "p95 of CPU time over turns 101-300, the calmest round"
)
_EVERY = "the same with recall by words on every turn, each a query of 125 tokens"
_EMBED = "the same with recall on every turn, and its query (the questions or the end of the turn) embedded each time"


def _every_turn(embedder: Any) -> Recall:
    return Recall(when="always", embedder=embedder)


def _embedding() -> Core:
    core = Core(_every_turn("default"))
    assert core.memory._recaller is not None
    core.memory._recaller._opened()  # its loading is not a request's
    return core


# Conversations --------------------------------------------------------------------------------------------------------


def _said(data: Path) -> list[str]:
    """Return what people and models said in the public conversations."""
    told = [message.text for chat in chats(data) for message in chat.messages]
    runs = [message.text for run in traces(data, message_tokens) for message in run.messages if message.role != "tool"]
    return [text for text in (*told, *runs) if text]


def talk(said: Sequence[str], length: int, *, seed: int) -> list[Message]:
    """Return a conversation of *length* messages of some 125 tokens, each of a few texts that follow each other."""
    dice = random.Random(seed)
    at, messages = dice.randrange(len(said)), []
    for index in range(length):
        text = ""
        while text_tokens(text) < MESSAGE_TOKENS - 22 + dice.randrange(10):  # two conversations share few messages
            text = f"{text} {said[at % len(said)]}".strip()
            at += 1
        role: Any = "assistant" if index % 2 else "user"
        messages.append(Message(role=role, text=text, index=index, at=60.0 * index))
    return messages


# Measuring ------------------------------------------------------------------------------------------------------------


def times_ms(made: Timed, messages: Sequence[Message], *, first: int, last: int) -> list[float]:
    """Return the CPU time of the process for each of the turns [first, last); those before them go unmeasured."""
    took, known = [], 0
    for turn in range(last):
        new = messages[known : 2 * turn + 1]
        known = 2 * turn + 1
        began = time.process_time_ns()
        made.turn(new)
        if turn >= first:
            took.append((time.process_time_ns() - began) / 1e6)
        made.settle()
    return took


def calmest_ms(times: Sequence[float]) -> float:
    """Return the median of the calmest of five blocks of *times*: a shared machine's speed swings."""
    size = max(len(times) // 5, 1)
    return min(median(times[at : at + size]) for at in range(0, len(times), size))


def p95(times: Sequence[float]) -> float:
    return sorted(times)[int(0.95 * len(times))]


def _rounds(said: Sequence[str], make: Callable[[], Timed], span: tuple[int, int], rounds: int) -> list[list[float]]:
    """Return the times of *rounds* conversations, each another one."""
    out = []
    for seed in range(rounds):
        made = make()
        out.append(times_ms(made, talk(said, 2 * span[1], seed=seed), first=span[0], last=span[1]))
        getattr(made, "close", int)()
    return out


def _at_200(
    key: str,
    said: Sequence[str],
    make: Callable[[], Core],
    rounds: int,
    *,
    peers: Mapping[str, float] | None = None,
    note: str,
) -> dict[str, Any]:
    made: list[Core] = []

    def remember() -> Core:
        made.append(make())
        return made[-1]

    found = min(_rounds(said, remember, AT_200, rounds), key=p95)
    stats = [core.memory.stats() for core in made]
    fell_back = sum(one.lexical_only for one in stats) if "embed" in key else 0
    note = f"{note}; median {median(found):.2f}; {sum(one.recalled for one in stats):,} recalls"
    note += f", {fell_back} of them by words alone" if fell_back else ""
    return _row(key, p95(found), digits=2, unit="ms", n=len(found), peers=peers, note=note)


def _growth(said: Sequence[str], recall: Recall, rounds: int) -> dict[str, Any]:
    short = min(median(times) for times in _rounds(said, lambda: Core(recall), SHORT, max(rounds, 2)))
    times = times_ms(Core(recall), talk(said, 2 * LONG[1], seed=99), first=LONG[0], last=LONG[1])
    long = calmest_ms(times)
    note = f"median CPU time of a turn, {long:.3f} ms at 5,000 messages and {short:.3f} at 100; the calmest of 5 blocks"
    return _row("latency.growth", long / short, unit="ratio", digits=2, n=len(times), note=note)


def _peers(said: Sequence[str], rounds: int) -> dict[str, float]:
    from benchmarks.memory_latency_adapters import peers

    return {
        name: round(min(map(p95, _rounds(said, make, AT_200, rounds))), 2) for name, make in peers(FIXED_TOKENS).items()
    }


# Figures --------------------------------------------------------------------------------------------------------------

_FLOORS: dict[str, tuple[float, float]] = {
    "latency.200_turns_ms": (3, 3),
    "latency.200_turns_embed_ms": (30, 30),
    "latency.growth": (3, 1.5),
    "latency.adapter_langchain_us": (2, 2),
    "latency.adapter_llamaindex_us": (2, 2),
}


def _row(
    key: str,
    ours: float | None,
    *,
    unit: str = "",
    digits: int = 3,
    n: int | None = None,
    peers: Mapping[str, float] | None = None,
    note: str = "",
) -> dict[str, Any]:
    must, goal = _FLOORS.get(key, (None, None))
    return {
        "area": "memory", "key": key, "ours": None if ours is None else round(ours, digits), "must": must,
        "goal": goal, "unit": unit, "better": "lower", "peers": dict(peers or {}), "n": n, "note": note,
    }  # fmt: skip
