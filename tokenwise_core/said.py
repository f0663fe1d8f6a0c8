"""What was logged lately: a failure that repeats is said once a minute."""

from __future__ import annotations

import time

LOG_S = 60.0
"""A failure of the same kind is logged once in this time."""


class Said:
    """Remembers what was logged, so that each kind of failure is logged once in `LOG_S`. Thread-safe."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str], float] = {}

    def is_due(self, part: str, error: BaseException) -> bool:
        """Say whether this kind of failure is to be logged now."""
        kind, now = (part, type(error).__name__), time.monotonic()
        if now - self._at.get(kind, float("-inf")) < LOG_S:
            return False
        self._at[kind] = now
        return True
