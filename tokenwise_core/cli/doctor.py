"""`tokenwise doctor`: what is installed and in use, what is missing, and the command that adds it."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from tokenwise_core import __version__
from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.checks import Finding, Mark, embedder, environment, packages, prices, store, tokenizers
from tokenwise_core.cli.terminal import show
from tokenwise_core.settings import load_settings

PROBLEM = 1
_SHOWN = {Mark.OK: ("✓", "green"), Mark.NOTE: ("·", "dim"), Mark.MISSING: ("–", "yellow"), Mark.PROBLEM: ("✗", "red")}


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    parser.epilog = "Exits with 1 when something that is in use does not work."


def run(arguments: argparse.Namespace) -> int:
    """Print all findings, then the remedies."""
    settings = load_settings(store=arguments.store)
    areas = {
        "installed": packages(),
        "tokenisers": tokenizers(),
        "embeddings": embedder(),
        "prices": prices(settings),
        "store": store(settings),
        "settings": environment(settings, chosen=arguments.store is not None),
    }
    show(f"TokenWise {__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    found: list[Finding] = []
    for area, findings in areas.items():
        batch = list(findings)
        show(_section(area, batch))
        found += batch
    remedies = list(dict.fromkeys(_remedies(found)))
    if remedies:
        show(Text("\nto do", style="bold"), *(Text(f"  {remedy}") for remedy in remedies))
    return PROBLEM if any(finding.mark is Mark.PROBLEM for finding in found) else 0


def _section(area: str, findings: Sequence[Finding]) -> Group:
    grid = Table.grid(padding=(0, 1))
    for finding in findings:
        sign, style = _SHOWN[finding.mark]
        grid.add_row(Text(f"  {sign}", style=style), Text(finding.name), Text(finding.text, overflow="fold"))
    return Group(Text(f"\n{area}", style="bold"), grid)


def _remedies(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the remedies, those of problems first."""
    for finding in sorted(findings, key=lambda finding: finding.mark is not Mark.PROBLEM):
        if finding.remedy:
            yield finding.remedy
