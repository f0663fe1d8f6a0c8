"""The questions of `cache/intents` and `cache/pairs`, embedded once a process; the streams drawn from them."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.embeddings import default_embedder
from tokenwise_core.protocols import Embedder

Vectors = NDArray[np.float32]
Done = TypeVar("Done")
OUT_OF_SCOPE = "oos"
"""Rows of this intent have nothing in common: none shares an answer with another."""
INTENTS = "no cache/intents.jsonl* in the data folder: rows of {text, intent}, such as Banking77 or CLINC150"
PAIRS = "no cache/pairs.jsonl* in the data folder: rows of {a, b, same, capability}, such as CheckList's QQP suite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, and which questions share its answer."""

    text: str
    intent: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    a: str
    b: str
    same: bool
    capability: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one stream came to; *false* is a share of the hits."""

    requests: int
    hits: int
    wrong: int
    exact: int = 0

    @property
    def hit_rate(self) -> float:
        return self.hits / max(self.requests, 1)

    @property
    def false_hit_rate(self) -> float:
        return self.wrong / max(self.hits, 1)


def intents(data_dir: Path) -> list[Question]:
    """Return the labelled questions, without repeats of a text; empty where the file is absent."""
    found: dict[str, Question] = {}
    for number, row in enumerate(_rows(data_dir / "cache", "intents")):
        text, intent = str(row["text"]), str(row["intent"])
        answer = f"{OUT_OF_SCOPE} {number}" if intent == OUT_OF_SCOPE else intent
        found.setdefault(text, Question(text=text, intent=intent, answer=answer))
    return list(found.values())


def pairs(data_dir: Path) -> list[Pair]:
    return [
        Pair(a=str(row["a"]), b=str(row["b"]), same=bool(row["same"]), capability=str(row.get("capability", "")))
        for row in _rows(data_dir / "cache", "pairs")
    ]


def has_out_of_scope(questions: Iterable[Question]) -> bool:
    return any(question.intent == OUT_OF_SCOPE for question in questions)


def uniform(questions: Sequence[Question], *, seed: int, requests: int) -> list[Question]:
    """Return a shuffled sample without replacement."""
    stream = list(questions)
    random.Random(seed).shuffle(stream)
    return stream[:requests]


def zipf(questions: Sequence[Question], *, seed: int, requests: int, exponent: float = 0.9) -> list[Question]:
    """Return questions whose intents are as popular as Zipf says; an intent's texts come round again when used up."""
    dice = random.Random(seed)
    by_intent: defaultdict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_intent[question.intent].append(question)
    order = sorted(by_intent)
    dice.shuffle(order)
    for intent in order:
        dice.shuffle(by_intent[intent])
    weights = np.array([1 / (rank + 1) ** exponent for rank in range(len(order))])
    drawn = np.random.default_rng(seed).choice(len(order), size=requests, p=weights / weights.sum())
    used: defaultdict[str, int] = defaultdict(int)
    stream = []
    for choice in drawn:
        texts = by_intent[order[choice]]
        stream.append(texts[used[order[choice]] % len(texts)])
        used[order[choice]] += 1
    return stream


class Remembered:
    """The embedded default with a memory of every text of this process: the benchmarks of an area share it."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, Vectors] = {}

    @property
    def id(self) -> str:
        return self._embedder.id

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.learn(texts)
        return np.stack([self._known[text] for text in texts])

    def learn(self, texts: Iterable[str]) -> None:
        """Embed what is new among *texts*, those of like length together: a batch costs its longest."""
        new = sorted({text for text in texts if text not in self._known}, key=len)
        for start in range(0, len(new), 32):
            batch = new[start : start + 32]
            self._known.update(zip(batch, self._embedder.embed(batch), strict=True))


@cache
def embedder() -> Remembered:
    """Return this process's embedder with its memory."""
    return Remembered(default_embedder())


_work: Sequence[Callable[[], Any]] = ()


def in_processes(work: Sequence[Callable[[], Done]]) -> list[Done]:
    """Do *work* in forked processes, one a usable processor: they share the vectors that were embedded before.

    In this process where it cannot fork.
    """
    global _work  # noqa: PLW0603  # a forked child finds here what cannot be pickled
    processes = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, len(work))
    if processes < 2 or "fork" not in get_all_start_methods():
        return [call() for call in work]
    _work = work
    try:
        with get_context("fork").Pool(processes) as pool:
            return pool.map(_done, range(len(work)), chunksize=1)
    finally:
        _work = ()


def _done(place: int) -> Any:
    return _work[place]()


def _rows(folder: Path, name: str) -> list[dict[str, object]]:
    for path in sorted(folder.glob(f"{name}.jsonl*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return [json.loads(line) for line in data.decode("utf-8").splitlines() if line.strip()]
    return []
