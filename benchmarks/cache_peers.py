"""Other caches on the same streams and embeddings: fixed cosine thresholds, vCache's published rule, GPTCache itself.

vCache (arXiv 2502.03771) is written anew from its formulae, with a logistic fit of our own; nothing is copied. Its
error bound is over all requests, not over hits.
"""

from __future__ import annotations

import atexit
import math
import random
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cache_texts import Question, Run, embedder

Vectors = NDArray[np.float32]
THRESHOLDS = (0.80, 0.85, 0.90, 0.95)
DELTAS = (0.02, 0.05)
SLOW_REQUESTS = 2_000
"""Requests that GPTCache gets: it takes some 0.1 s for each."""
GPTCACHE = "pip install gptcache==0.1.44"


def over(streams: Sequence[Sequence[Question]], *, full: bool) -> dict[str, list[Run] | str]:
    """Return what each peer comes to on *streams*, or why it did not run; vCache and GPTCache take the first only."""
    vectors = [embedder().embed([question.text for question in stream]) for stream in streams]
    both = list(zip(streams, vectors, strict=True))
    found: dict[str, list[Run] | str] = {}
    for threshold in THRESHOLDS:
        found[f"cosine {threshold:.2f}"] = [by_threshold(*each, threshold=threshold) for each in both]
    for delta in DELTAS:
        found[f"vCache rule {delta}"] = [by_vcache(*each, delta=delta) for each in both[:1]]
    for setting, threshold in (("default", 0.8), ("0.9", 0.9)):
        name = f"GPTCache 0.1.44 {setting}, first {SLOW_REQUESTS:,}"
        if not full:
            found[name] = "with --full"
        elif find_spec("gptcache") is None:
            found[name] = f"absent: {GPTCACHE}"
        else:
            found[name] = [by_gptcache(*(each[:SLOW_REQUESTS] for each in both[0]), threshold=threshold)]
    return found


def by_threshold(stream: Sequence[Question], vectors: Vectors, *, threshold: float) -> Run:
    """Serve the nearest entry from a cosine on; store the rest."""
    likeness, stored = vectors @ vectors.T, np.empty(len(stream), dtype=np.int64)
    entries = hits = wrong = 0
    for place, question in enumerate(stream):
        nearest = _nearest(likeness[place], stored[:entries])
        if nearest is not None and likeness[place, nearest] >= threshold:
            hits += 1
            wrong += stream[nearest].answer != question.answer
        else:
            stored[entries] = place
            entries += 1
    return Run(requests=len(stream), hits=hits, wrong=wrong)


def by_vcache(stream: Sequence[Question], vectors: Vectors, *, delta: float, seed: int = 0) -> Run:
    """Serve by vCache's rule: a logistic curve an entry, exploration until the error is bounded by *delta*."""
    likeness, stored = vectors @ vectors.T, np.empty(len(stream), dtype=np.int64)
    seen: dict[int, list[tuple[float, int]]] = {}
    dice = random.Random(seed)
    entries = hits = wrong = 0
    for place, question in enumerate(stream):
        nearest = _nearest(likeness[place], stored[:entries])
        is_same = nearest is not None and stream[nearest].answer == question.answer
        if nearest is not None:
            similarity = round(float(likeness[place, nearest]), 3)
            if dice.random() > _exploration(seen[nearest], similarity, delta):
                hits += 1
                wrong += not is_same
                continue
            seen[nearest].append((similarity, int(is_same)))
        if not is_same:
            stored[entries], seen[place] = place, [(0.0, 0), (1.0, 1)]
            entries += 1
    return Run(requests=len(stream), hits=hits, wrong=wrong)


def _nearest(likeness: Vectors, stored: NDArray[np.int64]) -> int | None:
    return int(stored[int(np.argmax(likeness[stored]))]) if len(stored) else None


_LEVELS = np.linspace(1e-6, 1 - 1e-6, 50)
_QUANTILES = np.array([NormalDist().inv_cdf(1 - level) for level in _LEVELS])
_FEWEST = 6
_SEPARABLE = {6: 0.0354, 8: 0.0264, 10: 0.0194, 14: 0.0102, 20: 0.0131, 31: 0.0046, 48: 0.0151}
"""Variance of the threshold where right and wrong are perfectly separated, by the number of observations."""


def _exploration(observations: Sequence[tuple[float, int]], similarity: float, delta: float) -> float:
    """Return the probability with which the model is asked (vCache, algorithm 1)."""
    if len(observations) < _FEWEST:
        return 1.0
    x = np.array([each[0] for each in observations])
    y = np.array([each[1] for each in observations], dtype=np.float64)
    constant, slope, covariance = _logistic(x, y)
    slope = max(slope, 1e-6)
    middle = min(max(-constant / slope, 0.0), 1.0)
    if x[y == 1].min() > x[y == 0].max():
        variance = _SEPARABLE[max(n for n in _SEPARABLE if n <= len(observations))]
    else:
        gradient = np.array([-1 / slope, constant / slope**2])
        variance = max(float(gradient @ covariance @ gradient), 0.0)
    late = np.clip(middle + _QUANTILES * math.sqrt(variance), 0, 1)
    sure = (1 - _LEVELS) / (1 + np.exp(-slope * (similarity - late)))
    return float(np.min(1 - delta / (1 - sure)))


def _logistic(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64]]:
    """Fit P(y) = σ(a + b x) by Newton's method, stopping early where the data are separable and b has no maximum."""
    rows = np.column_stack([np.ones(len(x)), x])
    weights = np.zeros(2)
    curvature = np.eye(2)
    for _ in range(25):
        chance = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        curvature = rows.T @ (rows * (chance * (1 - chance))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, rows.T @ (y - chance))
        weights += step * min(1.0, 20 / max(float(np.abs(step).max()), 1e-9))
        if np.abs(step).max() < 1e-6 or np.abs(weights).max() > 500:
            break
    return float(weights[0]), float(weights[1]), np.linalg.inv(curvature)


def by_gptcache(stream: Sequence[Question], vectors: Vectors, *, threshold: float) -> Run:
    """Serve through GPTCache's own package, SQLite and FAISS, its distance evaluation, at its *threshold*."""
    known = {question.text: vector for question, vector in zip(stream, vectors, strict=True)}
    hits = wrong = 0
    folder = Path(tempfile.mkdtemp(prefix="tokenwise-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # GPTCache writes its index once more at exit
    get, put = _gptcache(folder, known, threshold)
    for question in stream:
        served = get(question.text)
        if served is None:
            put(question.text, question.answer)
        else:
            hits += 1
            wrong += served != question.answer
    return Run(requests=len(stream), hits=hits, wrong=wrong)


def _gptcache(
    folder: Path, known: dict[str, Any], threshold: float
) -> tuple[Callable[[str], str | None], Callable[[str, str], None]]:
    from gptcache import Cache, Config  # type: ignore[import-not-found,unused-ignore]
    from gptcache.adapter.api import get, put  # type: ignore[import-not-found,unused-ignore]
    from gptcache.manager import CacheBase, VectorBase, get_data_manager  # type: ignore[import-not-found,unused-ignore]
    from gptcache.processor.pre import get_prompt  # type: ignore[import-not-found,unused-ignore]
    from gptcache.similarity_evaluation.distance import (  # type: ignore[import-not-found,unused-ignore]
        SearchDistanceEvaluation,
    )

    dimension = len(next(iter(known.values())))
    made = Cache()
    made.init(
        pre_embedding_func=get_prompt,
        embedding_func=lambda text, **_: known[text],
        data_manager=get_data_manager(
            CacheBase("sqlite", sql_url=f"sqlite:///{folder / 'entries.db'}"),
            VectorBase("faiss", dimension=dimension, index_path=str(folder / "vectors.index")),
            max_size=100_000,
        ),
        similarity_evaluation=SearchDistanceEvaluation(),
        config=Config(similarity_threshold=threshold),
    )
    return lambda text: get(text, cache_obj=made), lambda text, answer: put(text, answer, cache_obj=made)
