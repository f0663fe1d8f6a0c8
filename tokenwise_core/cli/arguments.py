"""Arguments that several commands share, and how they are read."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime
from typing import NoReturn

from tokenwise_core.errors import BadInput

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([mhdw])")


class Parser(argparse.ArgumentParser):
    """An argument parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} ({self.prog} --help tells more)")

    def add_store(self, default: str | None = None) -> None:
        """Add `--store`, which may stand before the command or after it."""
        self.add_argument(
            "--store",
            default=default,
            metavar="URL",
            help="where usage is kept: sqlite:///path, a path, or postgresql://… (default: TOKENWISE_STORE)",
        )


def moment(text: str, *, now: float, option: str) -> float:
    """Read a time: ago (`24h`, `7d`, `30m`, `2w`) or a date or time in ISO form (UTC where it names no zone).

    >>> moment("1970-01-02", now=0, option="--since")
    86400.0
    """
    ago = _AGO.fullmatch(text.strip().lower())
    if ago:
        return now - float(ago[1]) * _UNITS[ago[2]]
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadInput(f"{option} {text!r} is no time: write 24h, 7d, 2026-11-01 or 2026-11-01T08:30") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def positive(text: str) -> int:
    """Read a whole number from one up."""
    try:
        number = int(text.replace("_", "").replace(",", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
    return number
