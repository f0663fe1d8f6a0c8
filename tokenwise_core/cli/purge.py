"""`tokenwise purge`: delete what is stored about a user, a session or an application."""

from __future__ import annotations

import argparse

from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.stores import existing_store
from tokenwise_core.cli.terminal import ask, can_ask, show
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.store import Query


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    for name in ("user", "session", "application"):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"what is stored about this {name}")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(arguments: argparse.Namespace) -> int:
    """Delete from every table what matches all names that are given."""
    names = {
        name: value for name in ("user", "session", "application") if (value := getattr(arguments, name)) is not None
    }
    if not names:
        raise BadInput("purge needs --user, --session or --application")
    who = " and ".join(f"{name} {value!r}" for name, value in names.items())
    with existing_store(arguments.store) as store:
        n = sum(row.totals.calls for row in store.totals(Query(**names)))
        calls = "1 call" if n == 1 else f"{n:,} calls"
        if n and not arguments.yes:
            _confirm(f"{calls} of {who} from {store.url}")
        store.purge(**names)
    show(f"deleted {calls} of {who}" if n else f"no calls of {who} are stored: nothing was deleted")
    return 0


def _confirm(what: str) -> None:
    if not can_ask():
        raise BadInput(f"nothing was deleted: no terminal to ask at, give --yes to delete {what}")
    if not ask(f"Delete {what}?"):
        raise BadInput("nothing was deleted: the answer was not yes")
