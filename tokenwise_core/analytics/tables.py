"""A report as tables of text, ready for a terminal or a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenwise_core.analytics.notation import (
    UNKNOWN,
    count,
    dollars,
    key_text,
    milliseconds,
    moment,
    nano_dollars,
    rate,
    share,
)
from tokenwise_core.analytics.queries import component_uses
from tokenwise_core.analytics.report import Report
from tokenwise_core.usage.components import CountSource, is_estimate
from tokenwise_core.usage.store.histograms import Metric
from tokenwise_core.usage.store.protocol import HOUR, Row, SavingRow
from tokenwise_core.usage.store.totals import Totals

MEAN_FROM = 300
"""Seconds: in less time than this, a rate a minute says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text; the first column is a name, the others are numbers. *sums* stand below a line."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]] = ()
    sums: Sequence[tuple[str, ...]] = ()


def tables(report: Report) -> list[Table]:
    """Return the components, the groups that were asked for, and what was saved."""
    groups = [group_table(name, rows, cut=name in report.cut) for name, rows in report.groups.items() if rows]
    return [component_table(report), *groups, *([savings_table(report.savings)] if report.savings else [])]


def component_table(report: Report) -> Table:
    """Return where the tokens and the money went."""
    totals = report.totals
    estimated = is_estimate(totals.breakdown.split)
    rows = [
        (
            use.component.label,
            count(use.tokens, estimated=estimated),
            share(use.share),
            "" if use.component.is_output else count(use.cached_tokens) if totals.cache_known_input else UNKNOWN,
            dollars(use.cost_usd),
            share(report.cost_share(use.component)),
        )
        for use in component_uses(totals)
    ]
    read = count(totals.cache_read) if totals.cache_known_input else UNKNOWN
    return Table(
        title="Where the tokens went",
        columns=("component", "tokens", "share", "from cache", "cost", "of cost"),
        rows=rows,
        sums=[
            ("input", _tokens(totals, totals.input_tokens), _of_all(totals, totals.input_tokens), read, "", ""),
            ("output", _tokens(totals, totals.output_tokens), _of_all(totals, totals.output_tokens), "", "", ""),
            ("total", _tokens(totals, totals.total_tokens), "", "", cost(totals), ""),
        ],
    )


def group_table(name: str, rows: Sequence[Row], *, cut: bool = False) -> Table:
    """Return one line a group: calls, tokens, cache, money, and latency where the store keeps it for such groups."""
    timed = any(Metric.LATENCY_US in row.totals.histograms for row in rows)
    return Table(
        title=f"By {name}" + (f": the {len(rows):,} with the most tokens (there are more)" if cut else ""),
        columns=(name, "calls", "input", "output", "cached", "cost", *(("p50", "p95") if timed else ())),
        rows=[(*_group_row(name, row), *(_latency(row.totals) if timed else ())) for row in rows],
    )


def savings_table(rows: Sequence[SavingRow]) -> Table:
    """Return what each lever saved, its own overhead charged; quality that nobody measured says so."""
    return Table(
        title="Saved (without it − with it − its own overhead)",
        columns=("lever", "times", "tokens", "cost", "overhead", "quality"),
        rows=[
            (
                str(row.key["lever"]),
                count(row.totals.bookings),
                count(row.totals.saved.tokens),
                _saved_cost(row),
                nano_dollars(row.totals.overhead.nano),
                quality(row.totals.quality),
            )
            for row in rows
        ],
    )


def summary(report: Report) -> list[tuple[str, str]]:
    """Return the figures that head a report, each with its name."""
    totals, apart = report.totals, report.embeddings
    figures = [
        ("calls", count(totals.calls) + _ended_badly(report)),
        ("tokens", _tokens(totals, totals.total_tokens)),
        ("input / output", f"{_tokens(totals, totals.input_tokens)} / {_tokens(totals, totals.output_tokens)}"),
        ("cost", cost(totals)),
        ("from the prompt cache", share(totals.cache_hit_rate)),
        ("latency p50 / p95", _quantiles(totals, Metric.LATENCY_US)),
        ("first token p50 / p95", _quantiles(totals, Metric.TTFT_US)),
    ]
    if report.seconds >= MEAN_FROM:
        busiest = f" (busiest hour {rate(report.busiest_requests_per_minute)})" if report.seconds > HOUR else ""
        figures.append(("requests a minute", rate(report.requests_per_minute) + busiest))
    if report.answered:
        figures.append(("answered from a cache", f"{share(report.answered, totals.calls)} of the calls"))
    if apart.calls:
        unpriced = "run here, no price" if report.own_embeddings else "no known price"
        price = cost(apart) if apart.priced_calls else unpriced
        figures.append(("embeddings, apart", f"{count(apart.total_tokens)} tokens in {_calls(apart.calls)}, {price}"))
    return figures


def notes(report: Report) -> Iterator[str]:
    """Yield what a reader must know about the figures: estimates, unknown prices, calls left out."""
    totals = report.totals
    counted = sum(n for source, n in totals.sources.items() if source is not CountSource.REPORTED)
    if counted:
        were = "was" if counted == 1 else "were"
        yield f"{_of(counted, totals)} reported no usage and {were} counted by us (tokenwise doctor names the remedy)"
    split = sum(n for source, n in totals.splits.items() if is_estimate(source))
    if split:
        yield f"≈ marks estimates: the parts of {_of(split, totals)} were split by an estimate"
    if report.unpriced:
        models = ", ".join(f"{model or 'a model without a name'} ({n:,})" for model, n in report.unpriced.items())
        yield f"no price is known for {_calls(sum(report.unpriced.values()))}, the cost leaves them out: {models}"
    if totals.side_tokens:
        yield f"{totals.side_tokens:,} more tokens were billed beside the prompts (compaction, tool prompts)"
    if report.unseen:
        yield f"only the newest calls are in this report: the store has {_calls(report.unseen)} more"


def period(report: Report) -> str:
    """Return the time that the report covers."""
    until = f"{moment(report.until)} UTC"
    return f"until {until}" if report.since is None else f"{moment(report.since)} to {until}"


def cost(totals: Totals) -> str:
    """Return the known cost; `≥` where some of the calls have no price."""
    partly = totals.priced_calls and totals.unpriced_calls
    return f"{'≥' if partly else ''}{dollars(totals.cost_usd)}"


def quality(change: float | None) -> str:
    """Return the measured change of the answers' score."""
    if change is None:
        return "not measured"
    return f"{change:+.3f}" if change else "unchanged"


def _saved_cost(row: SavingRow) -> str:
    nano = row.totals.saved.nano
    partly = nano is not None and row.totals.priced != row.totals.bookings
    return f"{'≥' if partly else ''}{nano_dollars(nano)}"


def _group_row(name: str, row: Row) -> tuple[str, ...]:
    totals = row.totals
    return (
        key_text(name, row.key[name]),
        count(totals.calls),
        _tokens(totals, totals.input_tokens),
        _tokens(totals, totals.output_tokens),
        share(totals.cache_hit_rate),
        cost(totals),
    )


def _latency(totals: Totals) -> tuple[str, str]:
    p50, p95 = (totals.milliseconds(Metric.LATENCY_US, q) for q in (0.5, 0.95))
    return milliseconds(p50), milliseconds(p95)


def _tokens(totals: Totals, n: int) -> str:
    return count(n, estimated=is_estimate(totals.breakdown.source))


def _of_all(totals: Totals, n: int) -> str:
    return share(n, totals.total_tokens)


def _quantiles(totals: Totals, metric: Metric) -> str:
    return " / ".join(milliseconds(totals.milliseconds(metric, q)) for q in (0.5, 0.95))


def _of(n: int, totals: Totals) -> str:
    return f"{n:,} of {_calls(totals.calls)}"


def _ended_badly(report: Report) -> str:
    parts = [f"{n:,} {name}" for name, n in (("failed", report.failed), ("aborted", report.aborted)) if n]
    return f" ({', '.join(parts)})" if parts else ""


def _calls(n: int) -> str:
    return "1 call" if n == 1 else f"{n:,} calls"
