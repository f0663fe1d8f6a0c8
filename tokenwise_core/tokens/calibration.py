"""Online calibration: what a provider reported teaches what the next prompt of the model will count."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tokenwise_core.tokens.counts import Basis

VERSION = 1


class Calibration:
    """Corrections by model and by whether tools were offered; thread-safe, stored as versioned JSON."""

    def __init__(self) -> None:
        self._states: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def corrected(self, model: str, basis: Basis) -> float:
        """Return the calibrated total of a prompt."""
        with self._lock:
            seen, reported, estimated = self._states.get(_key(model, basis), (0.0, 0.0, 0.0))
        prior = PRIOR_WEIGHT * basis.estimate
        return basis.estimate * (reported + prior) / (estimated + prior) if estimated + prior else basis.estimate

    def observe(self, model: str, basis: Basis, reported: int) -> None:
        """Learn from one reported prompt count."""
        with self._lock:
            seen, total, estimated = self._states.get(_key(model, basis), (0.0, 0.0, 0.0))
            self._states[_key(model, basis)] = [DECAY * seen + 1, DECAY * total + reported, DECAY * estimated + basis.estimate]

    def observations(self, model: str, basis: Basis) -> float:
        """Return how many observations, decayed, stand behind a correction."""
        with self._lock:
            return self._states.get(_key(model, basis), (0.0,))[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        with self._lock:
            return {"version": VERSION, "states": {key: list(state) for key, state in self._states.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Return the calibration stored in *data*; what a newer release wrote is not read."""
        calibration = cls()
        if data.get("version") == VERSION:
            calibration._states = {key: list(state) for key, state in data.get("states", {}).items()}
        return calibration


PRIOR_WEIGHT = 3.0
DECAY = 0.98


def _key(model: str, basis: Basis) -> str:
    return f"{model}|{'tools' if basis.offered else 'plain'}"
