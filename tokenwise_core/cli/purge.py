"""`tokenwise purge`: delete what is stored about a user, a session or an application."""

from __future__ import annotations

import argparse

from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.stores import existing_store
from tokenwise_core.cli.terminal import ask, show
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
        calls = sum(row.totals.calls for row in store.totals(Query(**names)))
        if not arguments.yes and not ask(f"Delete {calls:,} calls of {who} from {store.url}?"):
            raise BadInput("nothing was deleted: answer yes, or give --yes")
        changed = store.purge(**names)
    tables = ", ".join(f"{table} {n:,}" for table, n in changed.items() if n) or "nothing was there"
    show(f"deleted {calls:,} calls of {who} (rows changed: {tables})")
    return 0
