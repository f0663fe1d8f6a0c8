"""What the demo prints: the answers' quality, what the cache did, and both runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tokenwise_core.analytics.notation import UNKNOWN, count, nano_dollars, share
from tokenwise_core.analytics.tables import Table
from tokenwise_core.demo.runner import DemoAnswer
from tokenwise_core.demo.scoring import Score, cache_scores, refusals, score
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.usage.events import Status
from tokenwise_core.usage.store import Query, Store
from tokenwise_core.usage.store.totals import Totals, merged

KINDS = ("exact", "semantic", "joined")
HELP_BOX = "help box"
"""The task under which the questions are booked that stand alone."""


def answers_table(without: Sequence[DemoAnswer], with_cache: Sequence[DemoAnswer]) -> Table:
    """Return how many answers of each path were right, in each run."""
    workload = load_workload()
    plain, cached = ({(s.framework, s.path): s for s in score(answers, workload)} for answers in (without, with_cache))
    rows = []
    for path in sorted({**plain, **cached}):
        some = plain.get(path) or cached[path]
        rows.append(
            (
                " ".join(path),
                count(some.turns),
                count(some.answerable),
                _right(plain.get(path)),
                _right(cached.get(path)),
            )
        )
    return Table(
        title="Answers",
        columns=("path", "turns", "answerable", "right without the cache", "right with it"),
        rows=rows,
    )


def cache_table(with_cache: Sequence[DemoAnswer], without: Sequence[DemoAnswer]) -> Table:
    """Return what the cache served and refused on each path."""
    scores = cache_scores(with_cache, load_workload(), without=without)
    figures = [
        (s.asked, *(s.hits.get(kind, 0) for kind in KINDS), s.refused, s.wrong, s.look_alikes, s.wrong_look_alikes)
        for s in scores
    ]
    return Table(
        title="The cache (only equal conversations share answers; refused: one was near, and was not given)",
        columns=("path", "asked", *KINDS, "refused", "served wrongly", "look-alikes", "of them wrongly"),
        rows=[(f"{s.framework} {s.path}", *map(count, row)) for s, row in zip(scores, figures, strict=True)],
        sums=[("all", *map(count, map(sum, zip(*figures, strict=True))))],
    )


def refusals_table(with_cache: Sequence[DemoAnswer]) -> Table:
    """Return why answers at hand were not given, each reason with the case that was nearest to being served."""
    rows = []
    for reason, decisions in refusals(with_cache).items():
        nearest = decisions[0]
        cosine = UNKNOWN if nearest.similarity is None else f"{nearest.similarity:.3f}"
        rows.append((f"{reason}: {nearest.asked} ≠ {nearest.near}", count(len(decisions)), cosine))
    return Table(title="Refused, by reason", columns=("reason, and its nearest case", "times", "cosine"), rows=rows)


def comparison_table(store: Store, query: Query, *, variants: tuple[str, str]) -> Table:
    """Return calls, tokens and cost of both runs: all of it, and the questions that stand alone."""
    runs, boxes = (
        [_totals(store, replace(query, variant=variant, task=task)) for variant in variants]
        for task in (None, HELP_BOX)
    )
    return Table(
        title="Without and with the cache",
        columns=("", "without", "with", "change", "help box without", "with", "change"),
        rows=[(name, *_pair(runs, value, shown), *_pair(boxes, value, shown)) for name, value, shown in _FIGURES],
    )


_FIGURES: tuple[tuple[str, Callable[[Totals], int], Callable[[int], str]], ...] = (
    ("calls of the model", lambda totals: totals.calls, count),
    ("input tokens", lambda totals: totals.input_tokens, count),
    ("output tokens", lambda totals: totals.output_tokens, count),
    ("cost", lambda totals: totals.cost_nano, nano_dollars),
)


def _totals(store: Store, query: Query) -> Totals:
    """Return the sums over what reached a model; a hit did not."""
    rows = store.totals(query, ("operation", "status"))
    return merged(
        row.totals for row in rows if row.key["operation"] != "embedding" and row.key["status"] != Status.CACHE_HIT
    )


def _pair(runs: Sequence[Totals], value: Callable[[Totals], int], shown: Callable[[int], str]) -> tuple[str, str, str]:
    before, after = map(value, runs)
    return shown(before), shown(after), f"{100 * (after - before) / before:+.1f} %" if before else UNKNOWN


def _right(score: Score | None) -> str:
    return UNKNOWN if score is None else f"{score.right:,} ({share(score.right, score.answerable)})"
