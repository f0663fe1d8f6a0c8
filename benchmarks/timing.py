"""CPU times on a machine whose speed swings: measured in rounds with pauses, the calmest of which counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
PAUSE_S = 1.0


def calmest_median_ns(work: Callable[[T], object], items: Iterable[T], *, rounds: int = 5) -> float:
    """Return the median CPU time of *work* on an item, of all threads, in the round where that is least."""
    listed = list(items)
    medians = []
    size = max(len(listed) // rounds, 1)
    for start in range(0, len(listed), size):
        took = []
        for item in listed[start : start + size]:
            began = time.process_time_ns()
            work(item)
            took.append(time.process_time_ns() - began)
        medians.append(statistics.median(took))
        time.sleep(PAUSE_S)
    return min(medians)
