"""Stores of as many entries as are wanted, near one another as real questions are, for the index's figures."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.cache import CachedAnswer, CacheRequest, Entry, SemanticCache, SQLiteEntries
from tokenwise_core.cache.key import request_key
from tokenwise_core.cache.reading import edition, read
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.errors import MissingExtra
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.usage.events import Usage

Vectors = NDArray[np.float32]

DIMENSION = 384
NOISE = 0.4
"""Length of the noise on a vector of length 1: its cosine to what it was is about 1/√1.16 = .93."""
BLOCK = 10_000
_ANSWER = "The card is sent within five working days; you will find its state in the app, under Cards. " * 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Texts with their vectors, of which a crowd is made; *source* says where they are from."""

    texts: Sequence[str]
    vectors: Vectors
    source: str

    @classmethod
    def load(cls, data_dir: Path, *, limit: int) -> Questions:
        """Embed some of `cache/intents`; without them, or without the embedder, take random directions."""
        path, dice = data_dir / "cache" / "intents.jsonl.gz", np.random.default_rng(5)
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                rows = [json.loads(line)["text"] for line in file]
            texts = [rows[i] for i in dice.permutation(len(rows))[:limit]]
            vectors = default_embedder().embed(texts)
            return cls(texts=texts, vectors=vectors, source=f"{len(texts):,} questions of {path.name} and noisy copies")
        except (FileNotFoundError, MissingExtra) as error:
            vectors = _unit(dice.standard_normal((limit, DIMENSION), dtype=np.float32))
            texts = [f"What about matter {i}?" for i in range(limit)]
            missing = "no intents" if isinstance(error, FileNotFoundError) else "no embedder"
            return cls(texts=texts, vectors=vectors, source=f"{missing}: {limit:,} random directions and noisy copies")

    def block(self, number: int) -> Vectors:
        """Return the vectors of one block of a crowd, the same each time."""
        which = (number * BLOCK + np.arange(BLOCK)) % len(self.texts)
        return noisy(self.vectors[which], np.random.default_rng(number))

    def queries(self, n: int, *, among: int) -> Vectors:
        """Return *n* vectors, each at a cosine of about .93 to one of the first *among* of a crowd."""
        dice = np.random.default_rng(99)
        rows = np.sort(dice.integers(0, among, n))
        picked = [self.block(int(b))[rows[rows // BLOCK == b] % BLOCK] for b in np.unique(rows // BLOCK)]
        return noisy(np.concatenate(picked), dice)


def noisy(vectors: Vectors, dice: np.random.Generator) -> Vectors:
    noise = dice.standard_normal(vectors.shape, dtype=np.float32)
    return _unit(vectors + noise * np.float32(NOISE / vectors.shape[1] ** 0.5))


def _unit(rows: Vectors) -> Vectors:
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


@dataclass(slots=True)
class Prepared:
    """An embedder that knows its vectors beforehand: what remains is the lookup alone."""

    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    id: str = "prepared"

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = [self.vectors.get(text) for text in texts]
        return np.stack([np.eye(1, DIMENSION, dtype=np.float32)[0] if row is None else row for row in rows])


def request(text: str, *, turn: int = 0) -> CacheRequest:
    """Return a request of partition *turn*."""
    prompt = Prompt(messages=(Message(role="system", text="You work for a bank."), Message(role="user", text=text)))
    return CacheRequest(prompt=prompt, model="gpt-4o", extra={"turn": turn})


def partition_of(turn: int, pattern: Entry) -> bytes:
    """Return the partition of `request(…, turn=turn)`, as the engine makes it."""
    found = request_key(request("?", turn=turn), namespace=pattern.namespace, embedder=Prepared().id).partition
    assert found is not None
    return found


def pattern(path: Path) -> Entry:
    """Let the engine store one answer, and return its entry: what the crowd is copied from."""
    usage = Usage(input_tokens=260, input_uncached=260, output_tokens=120, output_text=120)
    answer = CachedAnswer(text=_ANSWER, payload={"content": _ANSWER}, model="gpt-4o", usage=usage, finish_reason="stop")
    with SemanticCache(namespace="bench", entries=SQLiteEntries(path), embedder=Prepared()) as cache:
        cache.warm([(request("What is it?", turn=-1), answer)], progress=False)
    (entry,) = SQLiteEntries(path).iterate()
    return entry


def fill(store: SQLiteEntries, crowd: Questions, like: Entry, *, n: int, turns: Sequence[bytes]) -> None:
    """Store *n* entries, spread over the partitions *turns*, one partition after the other."""
    for start in range(0, n, BLOCK):
        numbers = range(start, min(start + BLOCK, n))
        store.put(
            [
                replace(
                    like,
                    seq=None,
                    key=blake2b(b"%d of %d" % (number, n), digest_size=16).digest(),
                    partition=turns[number * len(turns) // n],
                    query=(query := f"{crowd.texts[number % len(crowd.texts)]} ({number})"),
                    vector=vector,
                    reading={**read(query).to_json(), "edition": edition()},  # as the keeper writes it
                )
                for number, vector in zip(numbers, crowd.block(start // BLOCK), strict=False)
            ]
        )
