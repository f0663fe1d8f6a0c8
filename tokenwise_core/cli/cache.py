"""`tokenwise cache`: what the semantic cache holds and did, why it served an answer, and what it would have served."""

from __future__ import annotations

import argparse
from importlib import import_module

from tokenwise_core.cli.arguments import Parser

ACTIONS = {
    "stats": "what is stored, and what was looked up, served and refused, over all processes",
    "explain": "why an answer was served: both questions, their likeness, the vetoes, its age",
    "feedback": "say whether a served answer was right; a wrong one is not served again",
    "shadow-report": "what a cache with shadow=True would have served, and how often wrongly",
    "purge": "delete entries: of a namespace, of somebody, what has expired, or all",
    "export": "write entries and labels as lines of JSON (questions and answers in plain text)",
    "import": "read such lines; an entry is replaced only by a newer one",
}
_MODULES = {
    "stats": "cache_stats", "explain": "cache_hits", "feedback": "cache_hits", "shadow-report": "cache_shadow",
    "purge": "cache_purge", "export": "cache_transfer", "import": "cache_transfer",
}  # fmt: skip


def add_arguments(parser: Parser) -> None:
    """Declare the subcommands and their arguments."""
    parser.add_cache()
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=Parser)
    parsers: dict[str, Parser] = {}
    for name, text in ACTIONS.items():
        parsers[name] = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        parsers[name].add_cache(default=argparse.SUPPRESS)
    _add_looking_back(parsers)
    _add_looking_after(parsers)


def run(arguments: argparse.Namespace) -> int:
    """Run one of them."""
    module = import_module(f"tokenwise_core.cli.{_MODULES[arguments.action]}")
    return int(module.run(arguments))


def _add_looking_back(parsers: dict[str, Parser]) -> None:
    for name in ("stats", "shadow-report"):
        parsers[name].add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    parsers["shadow-report"].add_argument(
        "--max-error", type=float, default=0.05, metavar="RATE", help="the error bound to hold it against (0.05)"
    )
    for name in ("explain", "feedback"):
        parsers[name].add_argument("hit_id", metavar="HIT_ID", help="the hit_id of a served answer's metadata")
    verdict = parsers["feedback"].add_mutually_exclusive_group(required=True)
    verdict.add_argument("--right", dest="ok", action="store_true", help="it was the right answer")
    verdict.add_argument("--wrong", dest="ok", action="store_false", help="it was not")


def _add_looking_after(parsers: dict[str, Parser]) -> None:
    purge = parsers["purge"]
    purge.add_argument("--namespace", metavar="NAME", help="all entries of this namespace")
    purge.add_argument("--shared", action="store_true", help="all entries that are shared (shared=True)")
    for name in ("user", "session", "application"):
        purge.add_argument(f"--{name}", metavar="NAME", help=f"what was stored for this {name}")
    purge.add_argument("--expired", action="store_true", help="what has expired or was invalidated")
    purge.add_argument("--all", action="store_true", help="every entry")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    parsers["export"].add_argument("file", metavar="FILE", help="write there; - is stdout")
    parsers["export"].add_argument("--namespace", metavar="NAME", help="only this namespace, and no labels")
    parsers["import"].add_argument("file", metavar="FILE", help="read from there; - is stdin")
