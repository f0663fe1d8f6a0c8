"""Arguments that several commands share, and how they are read."""

from __future__ import annotations

import argparse
from typing import NoReturn

from tokenwise_core.errors import BadInput


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

    def add_cache(self, default: str | None = None) -> None:
        """Add `--cache`."""
        self.add_argument(
            "--cache",
            default=default,
            metavar="URL",
            help="where the cache is: sqlite:///path, a path, or postgresql://… (default: TOKENWISE_CACHE)",
        )

    def add_sessions(self, default: str | None = None) -> None:
        """Add `--sessions`."""
        self.add_argument(
            "--sessions",
            default=default,
            metavar="URL",
            help="where the memory's sessions are: sqlite:///path, a path, or postgresql://… "
            "(default: TOKENWISE_SESSIONS)",
        )


def positive(text: str) -> int:
    """Read a whole number from one up."""
    try:
        number = int(text.replace("_", "").replace(",", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above zero")
    return number
