"""`tokenwise cache shadow-report`: what a cache in the shadow would have served, and how often wrongly."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tokenwise_core.analytics.formats import rich_table
from tokenwise_core.analytics.notation import count, share
from tokenwise_core.analytics.tables import Table
from tokenwise_core.cache.shadow import Judged, ShadowReport, shadow_report
from tokenwise_core.cli.caches import existing_cache
from tokenwise_core.cli.terminal import show, write

JSON_VERSION = 1


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    with existing_cache(arguments.cache) as entries:
        report = shadow_report(entries, max_error=arguments.max_error)
    if arguments.format == "json":
        write(json.dumps(_as_json(report), indent=2), None)
        return 0
    show(*report.lines())
    if report.by_score:
        show("", rich_table(_by_score(report)))
    return 0


def _by_score(report: ShadowReport) -> Table:
    return Table(
        title="Neighbours compared with the model's answer, by score",
        columns=("score from", "compared", "wrong", "rate", "at most"),
        rows=[
            (f"{score:g}", count(judged.total), count(judged.wrong), share(judged.rate), share(judged.bound))
            for score, judged in report.by_score.items()
        ],
    )


def _as_json(report: ShadowReport) -> dict[str, Any]:
    return {
        "version": JSON_VERSION,
        "lookups": report.lookups,
        "served": report.served,
        "would_be_hits": report.would_be_hits,
        "would_be_rate": report.would_be_rate,
        "would_be_by_kind": dict(report.would_be),
        **_judged(report.judged),
        "unknown": report.unknown,
        "max_error": report.max_error,
        "within": report.is_within,
        "labels_needed": report.labels_needed,
        "by_score": [{"score": score, **_judged(judged)} for score, judged in report.by_score.items()],
    }


def _judged(judged: Judged) -> dict[str, Any]:
    return {
        "right": judged.right,
        "wrong": judged.wrong,
        "false_hit_rate": judged.rate,
        "false_hit_rate_upper": judged.bound,
    }
