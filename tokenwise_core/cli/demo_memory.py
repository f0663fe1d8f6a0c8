"""What the demo prints of the long conversations: without and with memory, under a prompt cache and without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tokenwise_core.analytics.notation import UNKNOWN, count, nano_dollars, share
from tokenwise_core.analytics.tables import Table
from tokenwise_core.demo.runner import DemoAnswer
from tokenwise_core.demo.scoring import right_by_session
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.usage.model_price import ModelPrice
from tokenwise_core.usage.store import Query, Store
from tokenwise_core.usage.store.totals import SavingTotals, Totals, merged

PLAIN, KEPT, KEPT_UNCACHED = "without memory", "with memory", "with memory, no prompt cache"
"""The variants under which the runs are booked: `tokenwise report --by variant`."""
LEVER = "memory"
SUMMARY = "tokenwise:summary"
"""The agent that the adapters book their calls for summaries under."""
LEFT_ALONE = "left alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One variant of the long conversations, by session: what was spent, what memory booked, summaries, answers."""

    totals: Mapping[str, Totals]
    savings: Mapping[str, SavingTotals]
    summaries: Mapping[str, int]
    right: Mapping[str, tuple[int, int]]


def read_run(store: Store, query: Query, variant: str, answers: Sequence[DemoAnswer]) -> Run:
    """Read what *variant* left in the store; calls of an embedding model are left out."""
    query = replace(query, variant=variant)
    spent: dict[str, list[Totals]] = {}
    summaries: dict[str, int] = {}
    for row in store.totals(query, ("session", "operation", "agent")):
        session = str(row.key["session"])
        if row.key["operation"] != "embedding":
            spent.setdefault(session, []).append(row.totals)
            if row.key["agent"] == SUMMARY:
                summaries[session] = row.totals.calls
    saved = {
        str(r.key["session"]): r.totals for r in store.savings(query, ("session", "lever")) if r.key["lever"] == LEVER
    }
    return Run(
        totals={session: merged(parts) for session, parts in spent.items()},
        savings=saved,
        summaries=summaries,
        right=right_by_session(answers, load_workload()),
    )


def memory_table(plain: Run, kept: Run, *, uncached: ModelPrice | None = None) -> Table:
    """Return input tokens, cost and right answers of both runs; with *uncached*, as if nothing were
    read from a prompt cache, at that price.
    """
    rows = [_row(session, plain, kept, uncached) for session in sorted(plain.totals)]
    return Table(
        title=f"Long conversations, {'the provider caches prompts' if uncached is None else 'nothing is cached'}",
        columns=(
            "conversation and path", "input tokens", "with memory", "change", "cost", "with memory", "change",
            "right answers", "with memory",
        ),
        rows=rows,
        sums=[_sum(plain, kept, uncached)],
    )  # fmt: skip


def savings_table(plain: Run, kept: Run) -> Table:
    """Return what memory did under the prompt cache, by its own account, and how much of the input was read from it."""
    rows = []
    for session in sorted(plain.totals):
        saving = kept.savings.get(session, SavingTotals())
        before, after = plain.totals[session], kept.totals.get(session, Totals())
        rows.append(
            (
                session,
                count(saving.bookings) if saving.bookings else LEFT_ALONE,
                count(kept.summaries.get(session, 0)),
                nano_dollars(saving.saved.nano or 0),
                nano_dollars(saving.overhead.nano or 0),
                share(before.cache_hit_rate),
                share(after.cache_hit_rate),
            )
        )
    return Table(
        title="What memory did, the provider caching prompts (saved: less what its summaries cost)",
        columns=(
            "conversation and path", "requests shortened", "summaries by the model", "saved", "summaries cost",
            "stable prefix", "with memory",
        ),
        rows=rows,
    )  # fmt: skip


def _row(session: str, plain: Run, kept: Run, price: ModelPrice | None) -> tuple[str, ...]:
    before, after = plain.totals[session], kept.totals.get(session, Totals())
    return (session, *_cells(before, after, price), _of(plain.right.get(session)), _of(kept.right.get(session)))


def _sum(plain: Run, kept: Run, price: ModelPrice | None) -> tuple[str, ...]:
    before, after = merged(plain.totals.values()), merged(kept.totals.values())
    rights = [
        (sum(right for right, _ in run.right.values()), sum(asked for _, asked in run.right.values()))
        for run in (plain, kept)
    ]
    return ("all", *_cells(before, after, price), *map(_of, rights))


def _cells(before: Totals, after: Totals, price: ModelPrice | None) -> tuple[str, ...]:
    costs = [_nano(totals, price) for totals in (before, after)]
    return (
        count(before.input_tokens),
        count(after.input_tokens),
        _change(before.input_tokens, after.input_tokens),
        *map(nano_dollars, costs),
        _change(*costs),
    )


def _nano(totals: Totals, price: ModelPrice | None) -> int:
    """Return the cost; with *price* as if no token had been read from a cache."""
    if price is None:
        return totals.cost_nano
    plain, read = price.rate("input_uncached"), price.rate("cache_read")
    return totals.cost_nano + round(totals.cache_read * ((plain or 0) - (read or 0)))


def _change(before: int, after: int) -> str:
    return f"{100 * (after - before) / before:+.1f} %" if before else UNKNOWN


def _of(right: tuple[int, int] | None) -> str:
    return UNKNOWN if right is None else f"{right[0]} of {right[1]}"
