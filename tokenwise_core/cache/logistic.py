"""A logistic regression with a Gaussian prior, and its uncertainty: Newton's method, numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tokenwise_core.cache.acceptance import Array

_STEPS, _SMALL, _LARGEST_STEP = 20, 1e-3, 4.0


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """Coefficients (the constant first) with the covariance of their posterior, by Laplace's approximation."""

    coefficients: Array
    covariance: Array

    @cached_property
    def _plain(self) -> tuple[list[float], list[list[float]]]:
        return self.coefficients.tolist(), self.covariance.tolist()

    def error(self, values: Sequence[float]) -> float:
        """Return the chance that the label is False, averaged over what the coefficients may be.

        Averaging pulls it towards 1/2 where little is known (MacKay 1992).
        """
        coefficients, _ = self._plain
        score = coefficients[0] + sum(map(float.__mul__, coefficients[1:], values))
        row = np.array((1.0, *values))
        return 1 / (1 + math.exp(min(score / math.sqrt(1 + _MACKAY * float(row @ self.covariance @ row)), 700.0)))

    def errors(self, rows: Array, coefficients: Array | None = None) -> Array:
        """Return `error` of each of *rows* (with the constant), under other *coefficients* if given."""
        scores = rows @ (self.coefficients if coefficients is None else coefficients)
        variances = np.einsum("ij,jk,ik->i", rows, self.covariance, rows)
        return _sigmoid(-scores / np.sqrt(1 + _MACKAY * variances))


_MACKAY = math.pi / 8


def fitted(
    rows: Array, same: Array, weights: Array, *, mean: Array, precision: Array, start: Array | None = None
) -> Logistic:
    """Return the model of *same* given *rows* under the prior N(*mean*, 1/*precision*)."""
    coefficients = _newton(rows, same, weights, mean=mean, precision=precision, start=start)
    covariance: Array = np.linalg.inv(_curvature(rows, weights, coefficients, precision)).astype(np.float64)
    return Logistic(coefficients=coefficients, covariance=covariance)


def cross_fitted(
    model: Logistic, rows: Array, same: Array, weights: Array, *, mean: Array, precision: Array, folds: int
) -> Array:
    """Return the error that was to be expected of each row by a model that has not seen it."""
    fold = np.arange(len(same)) % folds
    expected = np.empty(len(same))
    for held_out in range(folds):
        seen, unseen = fold != held_out, fold == held_out
        coefficients = _newton(
            rows[seen], same[seen], weights[seen], mean=mean, precision=precision, start=model.coefficients
        )
        expected[unseen] = model.errors(rows[unseen], coefficients)
    return expected


def _newton(rows: Array, same: Array, weights: Array, *, mean: Array, precision: Array, start: Array | None) -> Array:
    coefficients = (mean if start is None else start).copy()
    for _ in range(_STEPS):
        gradient = rows.T @ (weights * (same - _sigmoid(rows @ coefficients))) - precision * (coefficients - mean)
        step = np.linalg.solve(_curvature(rows, weights, coefficients, precision), gradient)
        largest = float(np.abs(step).max())
        coefficients += step * min(1.0, _LARGEST_STEP / max(largest, 1e-12))
        if largest < _SMALL:
            break
    return coefficients


def _curvature(rows: Array, weights: Array, coefficients: Array, precision: Array) -> Array:
    chance = _sigmoid(rows @ coefficients)
    curvature: Array = rows.T @ (rows * (weights * chance * (1 - chance))[:, None]) + np.diag(precision)
    return curvature


def _sigmoid(scores: Array) -> Array:
    chance: Array = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))
    return chance
