"""Stand-ins for a clock and an embedder, and a window on the usage that is recorded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.usage.events import UsageEvent

if TYPE_CHECKING:
    from tokenwise_core.usage.recorder import Recorder

_WORD = re.compile(r"\w+")


class FakeClock:
    """A clock that stands still until it is told to go on; seconds since the epoch."""

    def __init__(self, now: float = 1_767_225_600.0) -> None:  # 2026-01-01 00:00 UTC
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.now += seconds


class HashEmbedder:
    """An embedder without a model: each word adds a random direction fixed by its hash.

    Texts that share words are near each other, equal texts equal, in every process. It knows no synonyms: do not
    judge retrieval quality by it.
    """

    def __init__(self, *, dimension: int = 256) -> None:
        self.dimension = dimension
        self._directions: dict[str, NDArray[np.float32]] = {}

    @property
    def id(self) -> str:
        return f"hash-{self.dimension}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector a text."""
        rows = [self._sum(text) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32)

    def _sum(self, text: str) -> NDArray[np.float32]:
        words = _WORD.findall(text.casefold()) or [text]
        total = np.sum([self._direction(word) for word in words], axis=0, dtype=np.float32)
        return np.asarray(total / np.linalg.norm(total), dtype=np.float32)

    def _direction(self, word: str) -> NDArray[np.float32]:
        known = self._directions.get(word)
        if known is None:
            seed = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
            known = np.random.default_rng(seed).standard_normal(self.dimension, dtype=np.float32)
            self._directions[word] = known
        return known


@contextmanager
def capture_usage(recorder: Recorder | None = None, *, timeout_s: float = 10.0) -> Iterator[list[UsageEvent]]:
    """Collect the events that are recorded inside, complete once the block is left.

    *recorder* is the one that the handlers write to: by default the one that handlers of this process share.
    *timeout_s* bounds the waits for its queue.

    >>> with capture_usage() as events:
    ...     chain.invoke("hello", config={"callbacks": [TokenBreakdownHandler()]})
    >>> events[0].breakdown.total_tokens
    """
    if recorder is None:
        from tokenwise_core.usage.runtime import shared_runtime  # a clock or an embedder need no store and no prices

        recorder = shared_runtime().recorder
    recorder.flush(timeout_s)  # what was queued before is not ours
    events: list[UsageEvent] = []
    unsubscribe = recorder.subscribe(events.append)
    try:
        yield events
    finally:
        recorder.flush(timeout_s)
        unsubscribe()
