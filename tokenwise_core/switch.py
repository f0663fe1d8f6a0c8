"""The kill switch: `TOKENWISE_DISABLED=1`, or `disable()` at run time, and it is as if we were not there."""

from __future__ import annotations

import os

_enabled = os.environ.get("TOKENWISE_DISABLED", "").strip().lower() not in {"1", "true", "yes", "on"}


def enabled() -> bool:
    """Say whether TokenWise does anything at all in this process."""
    return _enabled


def disable() -> None:
    """Stop all accounting (and every lever) in this process from the next call on."""
    global _enabled  # noqa: PLW0603  one switch for the whole process is the point
    _enabled = False


def enable() -> None:
    """Undo `disable()` and `TOKENWISE_DISABLED`."""
    global _enabled  # noqa: PLW0603
    _enabled = True
