"""Put several rankings of the same things together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


def min_max(scores: Scores) -> Scores:
    """Stretch *scores* to 0…1; all zero where they do not differ, so that a list without an opinion adds none."""
    if not scores.size:
        return scores
    low, high = float(scores.min()), float(scores.max())
    if not high > low:
        return np.zeros_like(scores)
    return ((scores - low) / (high - low)).astype(np.float32)


def fused(lists: Sequence[Scores], weights: Sequence[float] | None = None) -> Scores:
    """Return the weighted mean of *lists* after `min_max`: it keeps how far apart things are, which ranks forget."""
    if not lists:
        raise ValueError("nothing to fuse: give at least one list of scores")
    chosen = [1.0] * len(lists) if weights is None else list(weights)
    if len(chosen) != len(lists):
        raise ValueError(f"{len(lists)} lists of scores, but {len(chosen)} weights")
    total = sum(chosen)
    if total <= 0:
        raise ValueError(f"weights must sum to more than 0, not {total}")
    mixed = sum(weight * min_max(scores).astype(np.float64) for weight, scores in zip(chosen, lists, strict=True))
    return np.asarray(mixed / total, dtype=np.float32)
