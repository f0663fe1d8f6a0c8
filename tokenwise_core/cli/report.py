"""`tokenwise report`: where the tokens and the money went."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

from tokenwise_core.analytics.formats import csv_report, json_report, plain_report, rich_report
from tokenwise_core.analytics.html import PAGE_GROUPS, html_report
from tokenwise_core.analytics.queries import window
from tokenwise_core.analytics.report import DEFAULT_GROUPS, Report, make_report
from tokenwise_core.analytics.timeline import make_timeline
from tokenwise_core.cli.arguments import Parser, positive
from tokenwise_core.cli.nothing import no_calls_match
from tokenwise_core.cli.stores import existing_store
from tokenwise_core.cli.terminal import remark, show, write
from tokenwise_core.usage.store import Query, Store

BY = (
    "agent", "component", "model", "session", "user", "day", "hour", "application", "task", "provider", "node",
    "variant", "status", "operation",
)  # fmt: skip
FILTERS = ("application", "agent", "task", "session", "user", "model", "provider")
PAGE = "tokenwise-report.html"
TOP = 20


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--by", choices=BY, metavar="NAME", help=f"group by one of: {', '.join(BY)}")
    parser.add_argument("--since", metavar="WHEN", help="only calls from then on: 24h, 7d, 2w, 2026-11-01 (UTC)")
    parser.add_argument("--until", metavar="WHEN", help="only calls before then")
    for name in FILTERS:
        parser.add_argument(f"--{name}", metavar="NAME", help=f"only calls of this {name}")
    parser.add_argument("--top", type=positive, metavar="N", help=f"the N largest groups (text and html: {TOP})")
    parser.add_argument("--format", choices=("text", "html", "json", "csv"), default="text", help="default: text")
    parser.add_argument("--output", metavar="FILE", help=f"write there (- is stdout; html goes to {PAGE} by default)")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the report."""
    query = _query(arguments, now=time.time())
    with existing_store(arguments.store) as store:
        if arguments.format == "html":
            write_page(store, query, arguments.output or PAGE, by=arguments.by, top=arguments.top or TOP)
            return 0
        top = arguments.top or (TOP if arguments.format == "text" else None)
        report = make_report(store, query, by=[arguments.by] if arguments.by else DEFAULT_GROUPS, top=top)
        if report.empty and arguments.format == "text":
            show(no_calls_match(store, report))
            return 0
    _print(report, arguments.format, arguments.output, grouped=arguments.by is not None)
    return 0


def write_page(store: Store, query: Query, output: str, *, by: str | None = None, top: int = TOP) -> None:
    """Write the page about *store* and say where it is."""
    groups = list(dict.fromkeys([*PAGE_GROUPS, *([by] if by else [])]))
    report = make_report(store, query, by=groups, top=top)
    write(html_report(report, make_timeline(store, report)), output)
    if output != "-":
        remark(f"wrote {output}")


def _print(report: Report, form: str, output: str | None, *, grouped: bool) -> None:
    if form == "json":
        write(json_report(report), output)
    elif form == "csv":
        write(csv_report(report if grouped else report.only_components()), output)
    elif output is None:
        show(rich_report(report))
    else:
        write(plain_report(report), output)


def _query(arguments: argparse.Namespace, *, now: float) -> Query:
    names = {name: getattr(arguments, name) for name in FILTERS}
    return replace(window(arguments.since, arguments.until, now=now), **names)
