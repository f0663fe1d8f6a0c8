"""Asking before something is deleted."""

from __future__ import annotations

from tokenwise_core.cli import terminal
from tokenwise_core.errors import BadInput


def confirm(what: str) -> None:
    """Ask whether to delete *what*; without a terminal or a yes, raise `BadInput`."""
    if not terminal.can_ask():
        raise BadInput(f"nothing was deleted: no terminal to ask at, give --yes to delete {what}")
    if not terminal.ask(f"Delete {what}?"):
        raise BadInput("nothing was deleted: the answer was not yes")
