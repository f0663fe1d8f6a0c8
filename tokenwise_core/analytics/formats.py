"""A report for the terminal, for programs (JSON), and for spreadsheets (CSV)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tokenwise_core.analytics.notation import iso, key_text, visible
from tokenwise_core.analytics.queries import component_uses
from tokenwise_core.analytics.report import Report
from tokenwise_core.analytics.tables import Table, notes, period, summary, tables
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import NANO
from tokenwise_core.usage.savings import Spend
from tokenwise_core.usage.store.histograms import Metric
from tokenwise_core.usage.store.protocol import Row, SavingRow
from tokenwise_core.usage.store.totals import Totals

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType
    from rich.table import Table as RichTable

JSON_VERSION = 1
PLAIN_WIDTH = 120
NAME_WIDTH = 24
"""Narrower than this, names are not folded."""
_ENDLESS = 100_000
_COMPONENT_COLUMNS = (
    "component", "direction", "tokens", "share", "cached_tokens", "cost_usd", "cost_share", "source",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets run instead of showing


def rich_report(report: Report) -> Group:
    """Return the report for a rich console."""
    from rich.console import Group
    from rich.text import Text

    title = Text(f"TokenWise report, {period(report)}", style="bold")
    remarks = [Text(f"· {visible(note)}", style="dim") for note in notes(report)]
    store = [Text(report.store, style="dim")] if report.store else []
    if report.empty:
        return Group(title, *store, Text("no calls"), *remarks)
    return Group(title, *store, _figures(report), Text(), *map(rich_table, tables(report)), *remarks)


def plain_report(report: Report) -> str:
    """Return the report as text without colour."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=PLAIN_WIDTH, color_system=None, highlight=False, legacy_windows=False).print(
        rich_report(report)
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def rich_table(table: Table) -> Group:
    """Return a table for a rich console, its title above; names are never read as markup."""
    from rich.console import Group
    from rich.text import Text

    return Group(Text(table.title, style="bold"), _Fitting(table))


class _Fitting:
    """A table of as many columns as the console has room for: the last ones go first, the names never."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        names = [visible(row[0]) for row in (self._table.columns, *self._table.rows, *self._table.sums)]
        longest = max(Text(name).cell_len for name in names)
        room = options.max_width + max(0, longest - NAME_WIDTH)  # longer names are folded before a column goes
        kept = len(self._table.columns)
        while kept > 1 and console.measure(self._grid(kept), options=options.update(max_width=_ENDLESS)).maximum > room:
            kept -= 1
        yield self._grid(kept)
        if left_out := self._table.columns[kept:]:
            yield Text(f"(no room for: {', '.join(left_out)})", style="dim")

    def _grid(self, kept: int) -> RichTable:
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        rich = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        for number, name in enumerate(self._table.columns[:kept]):
            rich.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=bool(number))
        for row in self._table.rows:
            rich.add_row(*(Text(visible(cell)) for cell in row[:kept]))
        rich.add_section()
        for row in self._table.sums:
            rich.add_row(*(Text(visible(cell)) for cell in row[:kept]), style="bold")
        return rich


def _figures(report: Report) -> RichTable:
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable.grid(padding=(0, 2))
    for name, figure in summary(report):
        grid.add_row(Text(name, style="cyan"), Text(figure))
    return grid


def json_report(report: Report) -> str:
    """Return the report as versioned JSON: tokens are integers, money is decimal text in dollars, unknown is null."""
    body = {
        "version": JSON_VERSION,
        "made_at": iso(report.made_at),
        "store": report.store,
        "query": {"since": iso(report.query.since), "until": iso(report.query.until), **report.query.names()},
        "totals": _totals(report.totals),
        "requests_per_minute": {"mean": report.requests_per_minute, "busiest_hour": report.busiest_requests_per_minute},
        "answered_from_cache": report.answered,
        "failed_calls": report.failed,
        "aborted_calls": report.aborted,
        "components": _components(report),
        "groups": {name: [_row(row) for row in rows] for name, rows in report.groups.items()},
        "savings": [_saving(row) for row in report.savings],
        "embeddings": _totals(report.embeddings),
        "unpriced": [{"model": model, "calls": n} for model, n in report.unpriced.items()],
    }
    return json.dumps(body, indent=2, ensure_ascii=False)


def csv_report(report: Report) -> str:
    """Return one table with a header line: the first group asked for, else the components. Unknown is empty."""
    if not report.groups:
        return _csv(_components(report), columns=_COMPONENT_COLUMNS)
    (name, rows), *_ = report.groups.items()
    return _csv(map(_csv_row, rows), columns=_csv_row(Row(key={name: None}, totals=Totals())))


def _csv_row(row: Row) -> dict[str, Any]:
    totals = _totals(row.totals)
    flat = {name: value for name, value in totals.items() if not isinstance(value, Mapping)}
    times = {f"{name}_{q}": value for name in ("latency_ms", "ttft_ms") for q, value in totals[name].items()}
    return {**_key(row), **flat, **times, **{f"tokens_{c}": row.totals.tokens.get(c, 0) for c in Component}}


def _csv(rows: Iterable[Mapping[str, Any]], *, columns: Iterable[str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _safe(value: Any) -> Any:
    """Quote a name that a spreadsheet would run as a formula; show control characters, which readers take for lines."""
    if not isinstance(value, str):
        return value
    return f"'{visible(value)}" if value.startswith(_FORMULA) else visible(value)


def _components(report: Report) -> list[dict[str, Any]]:
    totals = report.totals
    return [
        {
            "component": str(use.component),
            "direction": "output" if use.component.is_output else "input",
            "tokens": use.tokens,
            "share": round(use.share, 6),
            "cached_tokens": use.cached_tokens if totals.cache_known_input else None,
            "cost_usd": _money(use.cost_usd),
            "cost_share": report.cost_share(use.component),
            "source": str(totals.breakdown.split),
        }
        for use in component_uses(totals)
    ]


def _row(row: Row) -> dict[str, Any]:
    return {**_key(row), **_totals(row.totals)}


def _key(row: Row) -> dict[str, Any]:
    """Name the group: a date for a day, a time for an hour."""
    return {name: _key_value(name, value) for name, value in row.key.items()}


def _key_value(name: str, value: str | int | None) -> str | None:
    if isinstance(value, int):
        return key_text(name, value) if name == "day" else iso(value)
    return value


def _totals(totals: Totals) -> dict[str, Any]:
    return {
        "calls": totals.calls,
        "input_tokens": totals.input_tokens,
        "output_tokens": totals.output_tokens,
        "total_tokens": totals.total_tokens,
        "side_tokens": totals.side_tokens,
        "cache_read_tokens": totals.cache_read if totals.cache_known_input else None,
        "cache_write_tokens": totals.cache_write if totals.cache_known_input else None,
        "cache_hit_rate": totals.cache_hit_rate,
        "cost_usd": _money(totals.cost_usd),
        "unpriced_calls": totals.unpriced_calls,
        "source": str(totals.breakdown.source),
        "sources": {str(source): n for source, n in totals.sources.items()},
        "latency_ms": _quantiles(totals, Metric.LATENCY_US),
        "ttft_ms": _quantiles(totals, Metric.TTFT_US),
    }


def _quantiles(totals: Totals, metric: Metric) -> dict[str, float | None]:
    found = {"p50": totals.milliseconds(metric, 0.5), "p95": totals.milliseconds(metric, 0.95)}
    return {name: None if value is None else round(value, 3) for name, value in found.items()}


def _saving(row: SavingRow) -> dict[str, Any]:
    totals = row.totals
    return {
        **row.key,
        "times": totals.bookings,
        "saved": _spend(totals.saved),
        "overhead": _spend(totals.overhead),
        "priced_times": totals.priced,
        "quality": totals.quality,
    }


def _spend(spend: Spend) -> dict[str, Any]:
    return {"input_tokens": spend.input_tokens, "output_tokens": spend.output_tokens, "cost_usd": _nano(spend.nano)}


def _nano(nano: int | None) -> str | None:
    return None if nano is None else _money(Decimal(nano) / NANO)


def _money(usd: Decimal | None) -> str | None:
    """Write dollars as decimal text, never in powers of ten."""
    return None if usd is None else f"{usd:f}"
