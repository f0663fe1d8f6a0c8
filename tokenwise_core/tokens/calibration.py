"""Online calibration: what a provider reported teaches what the next prompt of the model will count.

Each state holds the last pairs of our estimate and the reported count. A correction must earn its place: none, a shift
(hidden text of the provider), a factor (another tokeniser), or both, whichever leaves the smallest error without the
worst fifth, and only where it is clearly smaller. Medians, because single calls carry content that we cannot see (a
stored prefix, a server's search results). State: at most 32 pairs a key, as versioned JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

VERSION = 1
WINDOW = 32
ENOUGH = 3
"""Observations before a correction is used, and before counts are called calibrated."""
CLEARLY = 0.7
"""A richer correction must bring the error down to this share of the simpler one's."""

Pair = tuple[float, float]
"""(our estimate, the reported count)"""


@dataclass(frozen=True, slots=True)
class Correction:
    """reported ≈ factor · estimate + shift"""

    factor: float = 1.0
    shift: float = 0.0

    def __call__(self, estimate: float) -> float:
        return max(1.0, self.factor * estimate + self.shift)


NONE = Correction()


def fitted(pairs: Sequence[Pair]) -> Correction:
    """Return the simplest correction that explains *pairs* clearly better than the next simpler one."""
    if len(pairs) < ENOUGH:
        return NONE
    shift = Correction(shift=median(reported - estimate for estimate, reported in pairs))
    factor = Correction(factor=median(reported / estimate for estimate, reported in pairs))
    one = min((shift, factor), key=lambda correction: _error(correction, pairs))
    best = one if _error(one, pairs) < CLEARLY * _error(NONE, pairs) else NONE
    both = _line(pairs)
    return both if both and _error(both, pairs) < CLEARLY * _error(best, pairs) else best


def _line(pairs: Sequence[Pair]) -> Correction | None:
    """Return the Theil–Sen line, None where the estimates are too few or too alike to tell a slope."""
    if len(pairs) < 2 * ENOUGH or max(pairs)[0] < 2 * min(pairs)[0]:
        return None
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(pairs) for b in pairs[i + 1 :] if b[0] != a[0]]
    factor = median(slopes)
    if not 0.3 < factor < 3:
        return None
    return Correction(factor=factor, shift=median(reported - factor * estimate for estimate, reported in pairs))


def _error(correction: Callable[[float], float], pairs: Sequence[Pair]) -> float:
    """Return the mean error without the worst fifth: among three or four pairs all must agree."""
    errors = sorted(abs(correction(estimate) / reported - 1) for estimate, reported in pairs)
    return mean(errors[: len(errors) - len(errors) // 5])


class Calibration:
    """What has been observed, by key (a model with or without tools).

    Keys are asked from the most to the least specific: a model that is new borrows from its family. Threads need no
    lock, and a fork leaves none behind: states are replaced whole, so a race loses an observation at most.
    """

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[Pair, ...]] = {}
        self._fitted: dict[str, tuple[tuple[Pair, ...], Correction]] = {}

    def correction(self, *keys: str) -> tuple[Correction, int]:
        """Return the correction of the first of *keys* that has been observed often enough, and how often."""
        for key in keys:
            pairs = self._pairs.get(key, ())
            if len(pairs) >= ENOUGH:
                return self._fit(key, pairs), len(pairs)
        return NONE, 0

    def observe(self, estimate: float, reported: float, *keys: str) -> None:
        """Learn from one reported prompt count under each of *keys*."""
        if estimate <= 0 or reported <= 0:
            return
        for key in keys:
            self._pairs[key] = (*self._pairs.get(key, ()), (float(estimate), float(reported)))[-WINDOW:]

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {
            "version": VERSION,
            "pairs": {key: [list(pair) for pair in pairs] for key, pairs in dict(self._pairs).items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Return the calibration stored in *data*; what another release wrote in another form is not read."""
        calibration = cls()
        calibration.restore(data)
        return calibration

    def restore(self, data: Mapping[str, Any]) -> None:
        """Observe again what is stored in *data*."""
        if data.get("version") == VERSION:
            for key, pairs in data.get("pairs", {}).items():
                for estimate, reported in pairs:
                    self.observe(estimate, reported, key)

    def _fit(self, key: str, pairs: tuple[Pair, ...]) -> Correction:
        known = self._fitted.get(key)
        if known is None or known[0] is not pairs:
            known = self._fitted[key] = (pairs, fitted(pairs))
        return known[1]
