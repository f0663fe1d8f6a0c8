"""A report as one self-contained page: tables and inline plots, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import files

from tokenwise_core.analytics.notation import compact, count, key_text, markup, moment, nano_dollars, share
from tokenwise_core.analytics.plots import Piece, Stack, bars, columns, legend
from tokenwise_core.analytics.report import Report
from tokenwise_core.analytics.tables import Table, cost, notes, period, summary, tables
from tokenwise_core.analytics.timeline import Parts, Timeline
from tokenwise_core.usage.components import INPUTS, Component
from tokenwise_core.usage.store.protocol import DAY, Row

TOP = 10  # bars in a plot
PAGE_GROUPS = ("agent", "model", "session")
"""The groups that the page's plots are about."""


def html_report(report: Report, timeline: Timeline) -> str:
    """Return the page."""
    figures = "".join(
        f"<div><dt>{markup(name)}</dt><dd>{markup(figure)}</dd></div>" for name, figure in summary(report)
    )
    remarks = "".join(f"<li>{markup(note)}</li>" for note in notes(report))
    style = files("tokenwise_core.analytics").joinpath("report.css").read_text(encoding="utf-8")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>TokenWise report</title>
<style>
{style}</style>
</head>
<body>
<header><h1>Where the tokens went</h1><p>{markup(period(report))} · {markup(report.store)}</p></header>
<dl class="figures">{figures}</dl>
<main>{"".join(_plots(report, timeline))}</main>
<section>{_tables(report)}</section>
<footer><ul>{remarks}</ul><p>Made by TokenWise on {moment(report.made_at)} UTC.</p></footer>
</body>
</html>
"""


def html_tables(report: Report) -> str:
    """Return the report's figures and tables as a fragment for a notebook, with its styles inline."""
    figures = " · ".join(f"{markup(name)}: <b>{markup(figure)}</b>" for name, figure in summary(report))
    remarks = "".join(f'<div style="opacity:.7">{markup(note)}</div>' for note in notes(report))
    return f'<div class="tokenwise"><p>{figures}</p>{_tables(report, inline=True)}{remarks}</div>'


def _tables(report: Report, *, inline: bool = False) -> str:
    return "".join(_table(table, inline=inline) for table in tables(report))


def _table(table: Table, *, inline: bool) -> str:
    head = _cells(table.columns, "th", inline=inline)
    body = "".join(f"<tr>{_cells(row, 'td', inline=inline)}</tr>" for row in table.rows)
    foot = "".join(f"<tr>{_cells(row, 'th', inline=inline)}</tr>" for row in table.sums)
    title = ' style="text-align:left;font-weight:bold;padding-top:1em"' if inline else ""
    return (
        f"<table><caption{title}>{markup(table.title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody><tfoot>{foot}</tfoot></table>"
    )


def _cells(row: Sequence[str], tag: str, *, inline: bool) -> str:
    left, right = (f' style="text-align:{side};padding:2px 10px"' if inline else "" for side in ("left", "right"))
    name, *numbers = map(markup, row)
    return f"<{tag}{left}>{name}</{tag}>" + "".join(f"<{tag}{right}>{number}</{tag}>" for number in numbers)


def _plots(report: Report, timeline: Timeline) -> Iterable[str]:
    if not report.totals.calls:
        yield "<p>No calls are recorded for this time.</p>"
        return
    if timeline.bins:
        stacks = [Stack(label=_time(b.start, b.seconds), pieces=_pieces(b.tokens)) for b in timeline.bins]
        title = f"Tokens by component, {_step(timeline.bins[0].seconds)} a column"
        yield _figure(title, columns(stacks, title=title), _key(report.totals.tokens), wide=True)
    if len(timeline.growth) > 1 and timeline.session is not None:
        stacks = [Stack(label=str(n), pieces=_pieces(parts)) for n, parts in enumerate(timeline.growth, 1)]
        title = f"From call to call in the session with the most tokens ({timeline.session})"
        shown = {component: 1 for parts in timeline.growth for component in parts}
        yield _figure(title, columns(stacks, title=title, height=220), _key(shown), wide=True)
    yield _cost_by_agent(report)
    yield _from_cache(report)
    yield _input_output(report.groups.get("model", ()))
    yield _top_sessions(report.groups.get("session", ()))


def _cost_by_agent(report: Report) -> str:
    rows = sorted(report.groups.get("agent", ()), key=lambda row: -row.totals.cost_nano)[:TOP]
    stacks = [
        Stack(
            label=key_text("agent", row.key["agent"]),
            pieces=[_money(component, nano) for component in Component if (nano := row.totals.nano.get(component, 0))],
            value=cost(row.totals),
        )
        for row in rows
        if row.totals.priced_calls
    ]
    title = "Cost by agent"
    return _figure(title, bars(stacks, title=title)) if stacks else _figure(title, "<p>No call has a known price.</p>")


def _from_cache(report: Report) -> str:
    totals = report.totals
    title = "Input read from the prompt cache"
    if not totals.cache_known_input:
        return _figure(title, "<p>No provider said how much it read from its cache.</p>")
    stacks = [
        _cached(component, n, totals.cached.get(component, 0))
        for component in INPUTS
        if (n := totals.tokens.get(component))
    ]
    return _figure(title, bars(stacks, title=title), legend([("from cache", "cached"), ("not cached", "uncached")]))


def _cached(component: Component, n: int, cached: int) -> Stack:
    pieces = [
        Piece(name=f"{cached:,} from cache", value=cached, style="cached"),
        Piece(name=f"{n - cached:,} not cached", value=n - cached, style="uncached"),
    ]
    return Stack(label=component.label, pieces=pieces, value=share(cached, n))


def _input_output(rows: Sequence[Row]) -> str:
    stacks = [
        Stack(
            label=key_text("model", row.key["model"]),
            pieces=[
                Piece(name=f"{row.totals.input_tokens:,} in", value=row.totals.input_tokens, style="in"),
                Piece(name=f"{row.totals.output_tokens:,} out", value=row.totals.output_tokens, style="out"),
            ],
            value=f"{compact(row.totals.input_tokens)} : {compact(row.totals.output_tokens)}",
        )
        for row in rows[:TOP]
    ]
    title = "Input and output by model"
    return _figure(title, bars(stacks, title=title), legend([("input", "in"), ("output", "out")]))


def _top_sessions(rows: Sequence[Row]) -> str:
    title = "Sessions with the most tokens"
    stacks = [
        Stack(
            label=str(row.key["session"]),
            pieces=_pieces(row.totals.tokens),
            value=f"{compact(row.totals.total_tokens)}, {cost(row.totals)}",
        )
        for row in rows
        if row.key["session"] is not None
    ][:TOP]
    return _figure(title, bars(stacks, title=title)) if stacks else _figure(title, "<p>No call names a session.</p>")


def _figure(title: str, drawing: str, key: str = "", *, wide: bool = False) -> str:
    return (
        f'<figure class="{"wide" if wide else "half"}"><figcaption>{markup(title)}</figcaption>{drawing}{key}</figure>'
    )


def _pieces(tokens: Parts) -> list[Piece]:
    return [
        Piece(name=f"{component.label} {count(n)}", value=n, style=component.value)
        for component in Component
        if (n := tokens.get(component, 0)) > 0
    ]


def _money(component: Component, nano: int) -> Piece:
    return Piece(name=f"{component.label} {nano_dollars(nano)}", value=nano, style=component.value)


def _key(tokens: Parts) -> str:
    return legend((component.label, component.value) for component in Component if tokens.get(component))


def _time(start: float, seconds: int) -> str:
    at = datetime.fromtimestamp(start, UTC)
    return at.strftime("%d %b") if seconds >= DAY else at.strftime("%H:%M" if seconds >= 60 else "%H:%M:%S")


def _step(seconds: int) -> str:
    for size, name in ((DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds % size == 0 and seconds >= size:
            n = seconds // size
            return f"one {name}" if n == 1 else f"{n} {name}s"
    return f"{seconds} seconds"
