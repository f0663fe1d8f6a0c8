"""The pooled online verifier: one model over all entries of how often a served neighbour would be wrong.

Two heads share the labels: one judges a neighbour among others, whose answers agree or not; the other one by itself,
as in the many partitions that hold a single entry. numpy only; its state is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from tokenwise_core.cache.acceptance import Array, DriftWatch, Evidence
from tokenwise_core.cache.entry import Label
from tokenwise_core.cache.features import COMPANY, NEAREST, PAIR_FROM, PAIR_UNTIL, UNTIL
from tokenwise_core.cache.logistic import Logistic, cross_fitted, fitted

VERSION = 1
ENOUGH = 60
"""Labels before which nothing is earned: fewer could not show an error of .05 (52 without an error, by Wilson)."""
MEMORY = 4000
"""Labels that a head learns from; older ones are forgotten."""
KEPT_AFTER_DRIFT = 40
FEEDBACK_WEIGHT = 3.0
"""A person's word counts for so many labels."""
_FOLDS = 5
_ROOM = 500
_EXPECTED, _SAME, _WEIGHT = 0, 1, 2
_RAREST = 0.01
"""An explored label stands for no more than a hundred."""
FIRST_FIT = 40
PRECISION = 0.1
"""Of the prior on the coefficients: standard deviation 3, worth a label or two."""
_PRIOR = np.array([0.0, 1.0, 0.5, -0.5, -0.5, 0.3, -0.8, 3.0, 1.0, 1.0, 0.0, 0.0])
"""Where the coefficients start: nearer, more in common and more agreement are better; chosen by hand, not fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the verifier says of one candidate.

    *error* is the chance that it is wrong, *bound* the upper bound of the false-hit rate among all that is served along
    with it; None where nothing has been earned.
    """

    error: float
    bound: float | None


class Verifier:
    """Learns from labels how likely a neighbour's answer is wrong, and how sure that is. Thread-safe.

    The same labels in the same order give the same verifier, however they are cut into batches. *explore* is the share
    of servable requests that go to the model all the same, so that labels keep coming from what is served.
    """

    def __init__(self, *, explore: float = 0.03) -> None:
        self.explore = explore
        self._lock = Lock()
        self._company = _Head(PAIR_FROM, UNTIL, _PRIOR)
        self._alone = _Head(PAIR_FROM, PAIR_UNTIL, _PRIOR[: 1 + PAIR_UNTIL - PAIR_FROM])
        self._drift = DriftWatch()

    @property
    def labels(self) -> int:
        """How many labels stand behind its judgement now."""
        return self._company.labels

    def estimate(self, features: Sequence[float], *, max_error: float) -> Estimate:
        """Return the chance of an error, and the bound earned for serving down to *max_error*. Waits for no refit."""
        return (self._company if features[COMPANY] else self._alone).estimate(features, max_error)

    def learn(self, labels: Sequence[Label]) -> None:
        """Learn *labels*, in their order; refits itself every so many."""
        with self._lock:
            for label in labels:
                if len(label.features) == UNTIL:
                    self._learn(label)
            self._company.publish()
            self._alone.publish()

    def _learn(self, label: Label) -> None:
        features, wrong = label.features, float(not label.same)
        feedback = label.source == "feedback"
        expected = wrong
        if features[COMPANY]:
            expected = self._company.expected(features)
            self._company.add(features, wrong=wrong, weight=FEEDBACK_WEIGHT if feedback else 1.0)
            watched = self._company.has_evidence and not feedback
            if watched and self._drift.alarms(expected, wrong=not label.same):
                self._company.forget()
                self._alone.forget()
        if features[NEAREST]:
            self._learn_alone(label, wrong, expected)
        if not feedback:
            self._company.refit_if_due()
            self._alone.refit_if_due()

    def _learn_alone(self, label: Label, wrong: float, expected: float) -> None:
        """Teach the lone head.

        What is served among others brings no label, so that an explored one stands for all of its kind: for itself
        with what was seen, for those that were served with the error *expected* of them in company.
        """
        weight = FEEDBACK_WEIGHT if label.source == "feedback" else 1.0
        if label.source == "explore":
            weight = 1 / max(self.explore, _RAREST)
            wrong = (wrong + (weight - 1) * expected) / weight
        self._alone.add(label.features, wrong=wrong, weight=weight)

    def to_json(self) -> str:
        """Return the whole state: `from_json` gives a verifier that decides, and learns on, the same."""
        with self._lock:
            return json.dumps(
                {
                    "version": VERSION,
                    "explore": self.explore,
                    "drift": self._drift.level,
                    "company": self._company.state(),
                    "alone": self._alone.state(),
                }
            )

    @classmethod
    def from_json(cls, text: str) -> Verifier:
        """Read what `to_json` wrote; a state of another version is an untrained verifier."""
        state = json.loads(text)
        made = cls(explore=float(state.get("explore", 0.03)))
        if state.get("version") == VERSION:
            made._drift = DriftWatch(float(state["drift"]))
            made._company.restore(state["company"])
            made._alone.restore(state["alone"])
        return made


class _Head:
    """One model with its labels and the evidence for its estimates; *first* to *until* are its features' places.

    Labels stand in arrays with room to grow. `estimate` reads what `publish` has put up, in one step: no lock.
    """

    def __init__(self, first: int, until: int, prior: Array) -> None:
        self._first, self._until, self._prior = first, until, prior
        self._precision = np.full(len(prior), PRECISION)
        self._rows = np.empty((MEMORY + _ROOM, len(prior)))
        self._marks = np.empty((MEMORY + _ROOM, 3))
        self._n, self._seen, self._next_fit = 0, 0, FIRST_FIT
        self._reset()

    def _reset(self) -> None:
        self._model = Logistic(coefficients=self._prior, covariance=np.diag(1 / self._precision))
        self._published: tuple[Logistic, Evidence | None] = self._model, None

    @property
    def labels(self) -> int:
        return self._n

    @property
    def has_evidence(self) -> bool:
        return self._n >= ENOUGH

    def estimate(self, features: Sequence[float], max_error: float) -> Estimate:
        model, evidence = self._published
        error = model.error(features[self._first : self._until])
        return Estimate(error=error, bound=None if evidence is None else evidence.bound(error, limit=max_error))

    def expected(self, features: Sequence[float]) -> float:
        return self._model.error(features[self._first : self._until])

    def add(self, features: Sequence[float], *, wrong: float, weight: float) -> None:
        if self._n == len(self._rows):
            self._keep(MEMORY)
        self._rows[self._n] = (1.0, *features[self._first : self._until])
        self._marks[self._n] = (self.expected(features), 1 - wrong, weight)
        self._n += 1
        self._seen += 1

    def forget(self) -> None:
        """Keep only the newest labels: the older ones speak of answers that are no longer given."""
        self._keep(KEPT_AFTER_DRIFT)
        self._seen = self._next_fit = max(FIRST_FIT, self._n)
        self._reset()

    def _keep(self, newest: int) -> None:
        kept = min(newest, self._n)
        for table in (self._rows, self._marks):
            table[:kept] = table[self._n - kept : self._n].copy()
        self._n = kept

    def refit_if_due(self) -> None:
        """Fit anew after every fifth more labels, at least 20, at most 250."""
        if self._seen < self._next_fit:
            return
        self._next_fit = self._seen + min(max(self._seen // 5, 20), 250)
        rows, same, weights = self._rows[: self._n], self._marks[: self._n, _SAME], self._weights()
        prior = {"mean": self._prior, "precision": self._precision}
        self._model = fitted(rows, same, weights, start=self._model.coefficients, **prior)
        self._marks[: self._n, _EXPECTED] = cross_fitted(self._model, rows, same, weights, folds=_FOLDS, **prior)

    def publish(self) -> None:
        """Let the newest model and labels count from now on."""
        evidence = None
        if self.has_evidence:
            marks = self._marks[: self._n]
            evidence = Evidence(marks[:, _EXPECTED], 1 - marks[:, _SAME], self._weights())
        self._published = self._model, evidence

    def _weights(self) -> Array:
        """Return weights that sum to the number of labels that they are worth (Kish 1965)."""
        weights = self._marks[: self._n, _WEIGHT]
        if weights.max(initial=1.0) <= FEEDBACK_WEIGHT:
            return weights
        scaled: Array = weights * (weights.sum() / (weights**2).sum())
        return scaled

    def state(self) -> dict[str, Any]:
        return {
            "rows": self._rows[: self._n, 1:].tolist(),
            "marks": self._marks[: self._n].tolist(),
            "seen": self._seen,
            "next_fit": self._next_fit,
            "coefficients": self._model.coefficients.tolist(),
            "covariance": self._model.covariance.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._n = len(state["rows"])
        if self._n:
            self._rows[: self._n, 0] = 1.0
            self._rows[: self._n, 1:] = state["rows"]
            self._marks[: self._n] = state["marks"]
        self._seen, self._next_fit = int(state["seen"]), int(state["next_fit"])
        self._model = Logistic(coefficients=np.array(state["coefficients"]), covariance=np.array(state["covariance"]))
        self.publish()
