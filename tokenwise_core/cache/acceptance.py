"""When enough is known to serve: an upper bound on the false-hit rate of a region of scores; the watch for drift."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE_Z = 1.645
"""One-sided 95 %."""
PRIOR_ERRORS = 1.0
"""How many errors the model's own expectation counts for, beside those that were seen."""


class Evidence:
    """What labels say of the model's estimates: for every region "estimated error ≤ p", errors seen and expected.

    Within a region the errors seen are Poisson with mean κ × those that the model expected of these very labels, and
    κ is Gamma(1, 1) before any was seen: the model is taken to be right within a factor of about three until labels say
    otherwise. The bound is the 95 % quantile of κ times the model's mean error in the region, and never below the share
    of errors seen there. So it borrows strength over all scores through the model, and is nevertheless corrected by
    what was observed in the very region that would be served.

    Labels are gathered below the serving limit at every miss and above it by exploration only, so a region's labels
    are, on the whole, harder than what is served from it: the bound errs towards not serving.
    """

    __slots__ = ("_bounds", "_estimates")

    def __init__(self, estimates: Array, wrong: Array, weights: Array) -> None:
        order = np.argsort(estimates, kind="stable")
        share, ranked = weights[order], estimates[order]
        seen, expected, count = np.cumsum(wrong[order] * share), np.cumsum(ranked * share), np.cumsum(share)
        factor = _gamma_quantile(PRIOR_ERRORS + seen) / (PRIOR_ERRORS + expected)
        ends = np.append(ranked[1:] > ranked[:-1], True)  # equal estimates stand in one region
        self._estimates = ranked[ends]
        self._bounds = np.minimum(np.maximum(expected * factor, seen) / count, 1.0)[ends]

    def bound(self, estimate: float, *, limit: float) -> float:
        """Return the upper bound of the false-hit rate of all that is served along with a candidate.

        It is served as one of a region: all that are as sure as it, or as some less sure one, down to *limit*. The
        bound is that of the best such region; 1 where there is no label to go by.
        """
        smallest = int(self._estimates.searchsorted(estimate, side="right")) - 1
        largest = int(self._estimates.searchsorted(limit, side="right"))
        regions = self._bounds[max(smallest, 0) : max(largest, smallest + 1)]
        return float(regions.min()) if len(regions) else 1.0


def _gamma_quantile(shape: Array) -> Array:
    """Return the upper quantile of Gamma(shape, 1) by Wilson and Hilferty's cube (1931); within 1 % for shapes ≥ 1."""
    quantile: Array = shape * (1 - 1 / (9 * shape) + CONFIDENCE_Z / (3 * np.sqrt(shape))) ** 3
    return quantile


class DriftWatch:
    """A CUSUM over the labels: raises the alarm when answers are wrong far more often than the model expected.

    It adds up the log-likelihood ratio of "the odds of an error are `ODDS` times what the model says" and never falls
    below 0 (Page 1954). At `ALARM` a calibrated model gives a false alarm about once in e^`ALARM` labels at the most,
    a cache whose answers have changed a true one within some tens.
    """

    ODDS = 4.0
    ALARM = 12.0
    _SURE, _UNSURE = 0.005, 0.95

    __slots__ = ("level",)

    def __init__(self, level: float = 0.0) -> None:
        self.level = level

    def alarms(self, estimate: float, *, wrong: bool) -> bool:
        """Take one label with the error that was expected of it; True at the alarm, which starts anew."""
        expected = min(max(estimate, self._SURE), self._UNSURE)
        drifted = self.ODDS * expected / (1 - expected + self.ODDS * expected)
        ratio = drifted / expected if wrong else (1 - drifted) / (1 - expected)
        self.level = max(0.0, self.level + math.log(ratio))
        if self.level < self.ALARM:
            return False
        self.level = 0.0
        return True
