"""`tokenwise memory`: which sessions the memory keeps, what stands in one, and how to be rid of them."""

from __future__ import annotations

import argparse
from importlib import import_module

from tokenwise_core.cli.arguments import Parser, positive

ACTIONS = {
    "sessions": "list the sessions that are kept: messages, summaries, owners, times, no text",
    "show": "what stands in one session; its text only with --text",
    "purge": "delete sessions: of somebody, one, or old ones",
}
_MODULES = {"sessions": "memory_sessions", "show": "memory_sessions", "purge": "memory_purge"}
LISTED = 50


def add_arguments(parser: Parser) -> None:
    """Declare the subcommands and their arguments."""
    parser.add_sessions()
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    parsers: dict[str, Parser] = {}
    for name, text in ACTIONS.items():
        parsers[name] = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        parsers[name].add_sessions(default=argparse.SUPPRESS)
    for name in ("sessions", "show"):
        parsers[name].add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    parsers["sessions"].add_argument(
        "--limit", type=positive, default=LISTED, metavar="N", help=f"how many, the last changed first ({LISTED})"
    )
    parsers["show"].add_argument("session", metavar="SESSION", help="the session's name")
    parsers["show"].add_argument("--text", action="store_true", help="with what was said")
    _add_purge(parsers["purge"])


def run(arguments: argparse.Namespace) -> int:
    """Run one of them."""
    module = import_module(f"tokenwise_core.cli.{_MODULES[arguments.action]}")
    return int(module.run(arguments))


def _add_purge(parser: Parser) -> None:
    for name in ("user", "session", "application"):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"sessions of this {name}" if name != "session" else "it")
    parser.add_argument(
        "--older-than", type=positive, metavar="DAYS", help="only sessions that have not changed for so long"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
