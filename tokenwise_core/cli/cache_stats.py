"""`tokenwise cache stats`: what is stored, and what all processes have counted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenwise_core.analytics.formats import rich_table
from tokenwise_core.analytics.notation import UNKNOWN, count, iso, moment, nano_dollars, share
from tokenwise_core.analytics.tables import Table
from tokenwise_core.cache.entry import NamespaceTotals
from tokenwise_core.cache.stats import group, saved_by
from tokenwise_core.cli.caches import existing_cache
from tokenwise_core.cli.namespaces import shown_namespace
from tokenwise_core.cli.terminal import show, write
from tokenwise_core.usage.events import NANO

JSON_VERSION = 1
_GROUPS = {
    "hit": "hits, by kind",
    "miss": "misses, by reason",
    "would": "in the shadow: would-be hits, by kind",
    "refused": "answers not stored, by reason",
    "failure": "failures, each a miss or a lost entry",
    "label": "labels learnt from misses",
    "feedback": "feedback of people",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFacts:
    """What stands in a cache, and what was counted since it was begun."""

    url: str
    totals: Sequence[NamespaceTotals]
    counts: Mapping[str, int]

    @property
    def hits(self) -> int:
        return sum(group(self.counts, "hit").values())

    @property
    def lookups(self) -> int:
        return self.hits + sum(group(self.counts, "miss").values())

    @property
    def saved_nano(self) -> int | None:
        """What hits would have cost; None where none of them had a price."""
        unpriced = self.counts.get("unpriced_hits", 0)
        return None if unpriced and unpriced >= self.hits else saved_by(self.counts).nano

    @property
    def saved_tokens(self) -> int:
        return saved_by(self.counts).tokens


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    with existing_cache(arguments.cache) as entries:
        facts = CacheFacts(url=entries.url, totals=entries.totals(), counts=entries.counts())
    if arguments.format == "json":
        write(json.dumps(_as_json(facts), indent=2, ensure_ascii=False), None)
        return 0
    show(facts.url, *map(rich_table, _tables(facts)))
    if not facts.totals:
        show("nothing is stored")
    return 0


def _tables(facts: CacheFacts) -> Iterator[Table]:
    if facts.totals:
        yield _stored(facts.totals)
    if facts.counts:
        yield _counted(facts)
        for name, title in _GROUPS.items():
            found = group(facts.counts, name)
            if found:
                yield Table(
                    title=title[0].upper() + title[1:],
                    columns=(name, "times"),
                    rows=[(kind, count(n)) for kind, n in sorted(found.items(), key=lambda item: -item[1])],
                )


def _stored(totals: Sequence[NamespaceTotals]) -> Table:
    return Table(
        title="Stored",
        columns=("namespace", "entries", "by meaning", "MB", "hits", "oldest", "newest"),
        rows=[
            (
                shown_namespace(row.namespace), count(row.entries), count(row.semantic), f"{row.bytes / 1e6:,.2f}",
                count(row.hits), _moment(row.oldest), _moment(row.newest),
            )
            for row in totals
        ],
        sums=[
            (
                "all", count(sum(row.entries for row in totals)), count(sum(row.semantic for row in totals)),
                f"{sum(row.bytes for row in totals) / 1e6:,.2f}", count(sum(row.hits for row in totals)), "", "",
            )
        ],
    )  # fmt: skip


def _counted(facts: CacheFacts) -> Table:
    partly = "≥" if facts.saved_nano is not None and facts.counts.get("unpriced_hits") else ""
    return Table(
        title="Counted, over all processes",
        columns=("", "number"),
        rows=[
            ("lookups", count(facts.lookups)),
            ("hits", f"{count(facts.hits)} ({share(facts.hits, facts.lookups)})"),
            ("stored", count(facts.counts.get("stored", 0))),
            ("merged with a near-duplicate", count(facts.counts.get("merged", 0))),
            ("dropped for want of room", count(facts.counts.get("dropped", 0))),
            ("tokens saved", count(facts.saved_tokens)),
            ("saved", f"{partly}{nano_dollars(facts.saved_nano)}"),
        ],
    )


def _as_json(facts: CacheFacts) -> dict[str, Any]:
    saved = facts.saved_nano
    return {
        "version": JSON_VERSION,
        "url": facts.url,
        "namespaces": [
            {
                "namespace": shown_namespace(row.namespace), "stored_as": row.namespace, "entries": row.entries,
                "semantic": row.semantic, "bytes": row.bytes, "hits": row.hits, "oldest": iso(row.oldest),
                "newest": iso(row.newest),
            }
            for row in facts.totals
        ],
        "lookups": facts.lookups,
        "hit_rate": facts.hits / facts.lookups if facts.lookups else None,
        **{name: group(facts.counts, name) for name in _GROUPS},
        **{name: facts.counts.get(name, 0) for name in ("stored", "merged", "dropped", "unpriced_hits")},
        "saved_tokens": facts.saved_tokens,
        "saved_usd": None if saved is None else f"{saved // NANO}.{saved % NANO:09d}",
    }  # fmt: skip


def _moment(ts: float | None) -> str:
    return UNKNOWN if ts is None else moment(ts)
