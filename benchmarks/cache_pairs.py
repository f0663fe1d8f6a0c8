"""Pairs of questions that differ in one thing: what a cache warmed by the streams serves of a single stored entry.

Each pair has a partition of its own: the first question is stored with an answer, the second is asked. Beside it, what
a cosine of .90 serves, without and with the vetoes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.cache_streams import DEFAULT, REQUESTS, asked, send
from benchmarks.cache_texts import PAIRS, Pair, embedder, intents, pairs, uniform, zipf
from tokenwise_core.cache import CachedAnswer, MemoryEntries, SemanticCache
from tokenwise_core.cache.reading import read
from tokenwise_core.cache.vetoes import vetoes

NEAR = 0.90


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A pair, how near its questions are, whether the cache served the one for the other, and what forbids it."""

    pair: Pair
    cosine: float
    served: bool
    vetoes: tuple[str, ...]


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the share of pairs served, by what they differ in; *full* changes nothing."""
    found, questions = pairs(data_dir), intents(data_dir)
    if not found or not questions:
        return [_figure(key, [], note=PAIRS if questions else "no cache/intents.jsonl* to warm the cache with")
                for key in _FLOORS]  # fmt: skip
    if quick:
        found = found[::10]
    tried = _tried(found, questions, requests=1_500 if quick else REQUESTS)
    return [_figure(key, [each for each in tried if chosen(each)]) for key, chosen in _CHOSEN.items()]


def _tried(found: Sequence[Pair], questions: Sequence[Any], *, requests: int) -> list[Tried]:
    streams = {
        "uniform": uniform(questions, seed=0, requests=requests),
        "zipf": zipf(questions, seed=0, requests=requests),
    }
    embedder().learn(question.text for stream in streams.values() for question in stream)
    embedder().learn(text for pair in found for text in (pair.a, pair.b))
    with SemanticCache(
        namespace="pairs", entries=MemoryEntries(), embedder=embedder(), max_error=DEFAULT, deadline_ms=60_000
    ) as cache:
        cache.ready()
        for name, stream in streams.items():
            send(cache, stream, name=name)
        cache.warm(
            ((asked(pair.a, f"pair {number}"), CachedAnswer(text="the answer")) for number, pair in enumerate(found)),
            progress=False,
        )
        return [_try(cache, pair, number) for number, pair in enumerate(found)]


def _try(cache: SemanticCache, pair: Pair, number: int) -> Tried:
    ticket = cache.lookup(asked(pair.b, f"pair {number}"))
    ticket.abandon()
    one, other = embedder().embed([pair.a, pair.b])
    return Tried(
        pair=pair,
        cosine=float(np.dot(one, other)),
        served=ticket.hit is not None,
        vetoes=vetoes(read(pair.b), read(pair.a)),
    )


def _differs(*capabilities: str) -> Callable[[Tried], bool]:
    return lambda each: not each.pair.same and each.pair.capability in capabilities


_CHOSEN: dict[str, Callable[[Tried], bool]] = {
    "pairs.negation.served": _differs("Negation"),
    "pairs.swaps.served": _differs("NER-swap", "NER"),
    "pairs.temporal.served": _differs("Temporal"),
    "pairs.coref.served": _differs("Coref"),
    "pairs.roles.served": _differs("SRL"),
    "pairs.vocabulary.served": _differs("Vocabulary"),
    "pairs.logic.served": _differs("Logic"),
    "pairs.true_hits_kept": lambda each: each.pair.same and each.cosine >= NEAR,
}
_FLOORS: dict[str, tuple[float | None, float | None]] = {
    "pairs.negation.served": (0.0, 0.0),
    "pairs.swaps.served": (0.0, 0.0),
    "pairs.temporal.served": (0.05, 0.05),
    "pairs.coref.served": (0.05, 0.05),
    "pairs.roles.served": (0.25, 0.10),
    "pairs.vocabulary.served": (None, None),
    "pairs.logic.served": (None, None),
    "pairs.true_hits_kept": (0.90, 0.90),
}


def _figure(key: str, tried: Sequence[Tried], *, note: str = "") -> dict[str, Any]:
    must, goal = _FLOORS[key]
    peers = {
        f"cosine ≥ {NEAR:.2f}": mean(float(each.cosine >= NEAR) for each in tried),
        f"cosine ≥ {NEAR:.2f} + vetoes": mean(float(each.cosine >= NEAR and not each.vetoes) for each in tried),
    } if tried else {}  # fmt: skip
    return {
        "area": "cache",
        "key": key,
        "ours": mean(float(each.served) for each in tried) if tried else None,
        "must": must,
        "goal": goal,
        "unit": "fraction",
        "better": "higher" if key == "pairs.true_hits_kept" else "lower",
        "peers": peers,
        "n": len(tried),
        "note": note or ("" if tried else "no rows of this capability"),
    }
