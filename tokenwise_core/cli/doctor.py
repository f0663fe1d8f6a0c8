"""`tokenwise doctor`: what is installed and in use, what is missing, and the command that adds it."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping, Sequence
from itertools import chain

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tokenwise_core import __version__
from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.checks import Finding, Mark, embedder, environment, packages, prices, store, tokenizers
from tokenwise_core.cli.checks_cache import cache
from tokenwise_core.cli.checks_sessions import sessions
from tokenwise_core.cli.terminal import show
from tokenwise_core.settings import load_settings

PROBLEM = 1
EXTRAS = "installed"
_SHOWN = {Mark.OK: ("✓", "green"), Mark.NOTE: ("·", "dim"), Mark.MISSING: ("–", "yellow"), Mark.PROBLEM: ("✗", "red")}


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    parser.epilog = "Exits with 1 when something that is in use does not work."


def run(arguments: argparse.Namespace) -> int:
    """Print all findings, then the remedies."""
    settings = load_settings(store=arguments.store)
    areas = {
        EXTRAS: packages(),
        "tokenisers": tokenizers(),
        "embeddings": embedder(),
        "prices": prices(settings),
        "store": store(settings),
        "cache": cache(settings),
        "sessions": sessions(settings),
        "settings": environment(settings, chosen=arguments.store is not None),
    }
    show(f"TokenWise {__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    found: dict[str, list[Finding]] = {}
    for area, findings in areas.items():
        found[area] = list(findings)
        show(_section(area, found[area]))
    for heading, remedies in (("to do", _needed(found)), ("can be added", _optional(found))):
        if remedies:
            show(Text(f"\n{heading}", style="bold"), *(Text(f"  {remedy}") for remedy in remedies))
    return PROBLEM if any(finding.mark is Mark.PROBLEM for finding in chain.from_iterable(found.values())) else 0


def _section(area: str, findings: Sequence[Finding]) -> Group:
    grid = Table.grid(padding=(0, 1))
    for finding in findings:
        sign, style = _SHOWN[finding.mark]
        grid.add_row(Text(f"  {sign}", style=style), Text(finding.name), Text(finding.text, overflow="fold"))
    return Group(Text(f"\n{area}", style="bold"), grid)


def _needed(found: Mapping[str, Sequence[Finding]]) -> list[str]:
    """Return the remedies for what is in use, those of problems first."""
    used = [f for area, findings in found.items() for f in findings if area != EXTRAS or f.mark is not Mark.MISSING]
    ordered = sorted(used, key=lambda finding: finding.mark is not Mark.PROBLEM)
    return list(dict.fromkeys(finding.remedy for finding in ordered if finding.remedy))


def _optional(found: Mapping[str, Sequence[Finding]]) -> list[str]:
    """Return what adds the extras that nothing in use has asked for."""
    needed = _needed(found)
    return [f.remedy for f in found[EXTRAS] if f.mark is Mark.MISSING and f.remedy and f.remedy not in needed]
