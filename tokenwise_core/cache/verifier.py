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
FIRST_FIT = 40
PRECISION, _LOOSE = 0.5, 0.1
"""Of the prior on the coefficients and on the constant: worth a few labels."""
_PRIOR = np.array([0.0, 1.0, 0.5, -0.5, -0.5, 0.3, -0.8, 3.0, 1.0, 1.0, 0.0, 0.0])
"""Where the coefficients start: nearer, more in common and more agreement are better; chosen by hand, not fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the verifier says of one candidate.

    *error* is the chance that it is wrong, *bound* the upper bound of the false-hit rate among all candidates as sure
    as this one; None where nothing has been earned.
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
        return len(self._company.rows)

    def estimate(self, features: Sequence[float]) -> Estimate:
        """Return the chance of an error, and the bound that has been earned. Never waits for a refit."""
        return (self._company if features[COMPANY] else self._alone).estimate(features)

    def learn(self, labels: Sequence[Label]) -> None:
        """Learn *labels*, in their order; refits itself every so many."""
        with self._lock:
            for label in labels:
                if len(label.features) == UNTIL:
                    self._learn(label)
            self._company.publish()
            self._alone.publish()

    def _learn(self, label: Label) -> None:
        features = label.features
        feedback = label.source == "feedback"
        if features[COMPANY]:
            expected = self._company.expected(features)
            self._company.add(features, wrong=not label.same, weight=FEEDBACK_WEIGHT if feedback else 1.0)
            watched = self._company.has_evidence and not feedback
            if watched and self._drift.alarms(expected, wrong=not label.same):
                self._company.forget()
                self._alone.forget()
        if features[NEAREST]:
            # what is served teaches the lone head nothing, so that an explored label stands for all of its kind
            weight = FEEDBACK_WEIGHT if feedback else 1 / self.explore if label.source == "explore" else 1.0
            self._alone.add(features, wrong=not label.same, weight=weight)
        if not feedback:
            self._company.refit_if_due()
            self._alone.refit_if_due()

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
    """One model with its labels and the evidence for its estimates; *first* to *until* are its features' places."""

    def __init__(self, first: int, until: int, prior: Array) -> None:
        self._first, self._until, self._prior = first, until, prior
        self._precision = np.full(len(prior), PRECISION)
        self._precision[0] = _LOOSE
        self._reset()
        self.rows: list[tuple[float, ...]] = []
        self._same: list[float] = []
        self._weights: list[float] = []
        self._expected: list[float] = []
        self._counted, self._next_fit = 0, FIRST_FIT

    def _reset(self) -> None:
        self._model = Logistic(coefficients=self._prior, covariance=np.diag(1 / self._precision))
        self._evidence: Evidence | None = None

    @property
    def has_evidence(self) -> bool:
        return len(self.rows) >= ENOUGH

    def estimate(self, features: Sequence[float]) -> Estimate:
        error, evidence = self.expected(features), self._evidence
        return Estimate(error=error, bound=None if evidence is None else evidence.bound(error))

    def expected(self, features: Sequence[float]) -> float:
        return self._model.error(features[self._first : self._until])

    def add(self, features: Sequence[float], *, wrong: bool, weight: float) -> None:
        self._expected.append(self.expected(features))
        self.rows.append((1.0, *features[self._first : self._until]))
        self._same.append(float(not wrong))
        self._weights.append(weight)
        self._counted += 1
        if len(self.rows) > MEMORY:
            self._keep(MEMORY)

    def forget(self) -> None:
        """Keep only the newest labels: the older ones speak of answers that are no longer given."""
        self._keep(KEPT_AFTER_DRIFT)
        self._counted, self._next_fit = len(self.rows), max(FIRST_FIT, len(self.rows))
        self._reset()

    def _keep(self, newest: int) -> None:
        for kept in (self.rows, self._same, self._weights, self._expected):
            del kept[:-newest]

    def refit_if_due(self) -> None:
        """Fit anew after every fifth more labels, at least 20, at most 250."""
        if self._counted < self._next_fit:
            return
        self._next_fit = self._counted + min(max(self._counted // 5, 20), 250)
        rows, same, weights = np.array(self.rows), np.array(self._same), self._scaled_weights()
        prior = {"mean": self._prior, "precision": self._precision}
        self._model = fitted(rows, same, weights, start=self._model.coefficients, **prior)
        self._expected = cross_fitted(self._model, rows, same, weights, folds=_FOLDS, **prior).tolist()

    def publish(self) -> None:
        """Let the newest labels count for the bound."""
        weights = self._scaled_weights()
        if weights.sum() >= ENOUGH:
            self._evidence = Evidence(np.array(self._expected), 1 - np.array(self._same), weights)

    def _scaled_weights(self) -> Array:
        """Return weights that sum to the number of labels that they are worth (Kish 1965)."""
        weights = np.array(self._weights)
        heaviest = weights.max(initial=1.0)
        return weights if heaviest <= FEEDBACK_WEIGHT else weights * (weights.sum() / (weights**2).sum())

    def state(self) -> dict[str, Any]:
        return {
            "rows": [row[1:] for row in self.rows],
            "same": self._same,
            "weights": self._weights,
            "expected": self._expected,
            "counted": self._counted,
            "next_fit": self._next_fit,
            "coefficients": self._model.coefficients.tolist(),
            "covariance": self._model.covariance.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.rows = [(1.0, *row) for row in state["rows"]]
        self._same, self._weights = list(state["same"]), list(state["weights"])
        self._expected = list(state["expected"])
        self._counted, self._next_fit = int(state["counted"]), int(state["next_fit"])
        self._model = Logistic(coefficients=np.array(state["coefficients"]), covariance=np.array(state["covariance"]))
        self.publish()
