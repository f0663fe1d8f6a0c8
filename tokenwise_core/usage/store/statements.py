"""The reading statements of the SQL stores: roll-ups for whole hours, single calls for what sticks out at the ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, Table, and_, func, literal, or_, select, tuple_, union_all

from tokenwise_core.usage.store.protocol import DIMENSIONS, HOUR, PERIODS, PERSONAL, Query
from tokenwise_core.usage.store.schema import EVENT, EVENT_DAY, EVENT_HOUR, SAVING, SAVING_HOUR, SERIES, SESSION_HOUR
from tokenwise_core.usage.store.totals import COLUMNS, SAVING_COLUMNS

Statement: TypeAlias = "Select[*tuple[Any, ...]]"
_IN_SESSION_HOUR = {"application", "operation", *PERSONAL, *PERIODS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The part of a query that a table answers: hours or days [first, last) of a roll-up, or times [since, until)."""

    table: Table
    first: int | None = None
    last: int | None = None
    since: float | None = None
    until: float | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        c = self.table.c
        period = c.day if "day" in c else c.hour
        if self.first is not None:
            yield period >= self.first
        if self.last is not None:
            yield period < self.last
        if self.since is not None:
            yield c.ts >= self.since
        if self.until is not None:
            yield c.ts < self.until


def by_days(span: Span) -> list[Span]:
    """Return the same time with its whole days from the roll-up by day."""
    first = None if span.first is None else -(-span.first // 24)
    last = None if span.last is None else span.last // 24
    if first is not None and last is not None and first >= last:
        return [span]
    parts = [Span(table=EVENT_DAY, first=first, last=last)]
    if span.first is not None and first is not None and span.first < first * 24:
        parts.append(replace(span, last=first * 24))
    if span.last is not None and last is not None and span.last > last * 24:
        parts.append(replace(span, first=last * 24))
    return parts


def spans(query: Query, raw: Table, rollup: Table | None, *, kept_from: int | None) -> list[Span]:
    """Return what to read for *query*.

    Whole hours come from *rollup*. Single calls from before the hour *kept_from* are gone: there, an hour that the
    query cuts is read whole.
    """
    since, until = query.since, query.until
    everything = Span(table=raw, since=since, until=until)
    if rollup is None:
        return [everything]
    gone_before = -math.inf if kept_from is None else kept_from * HOUR
    first = None if since is None else _hour(since, up=since >= gone_before)
    last = None if until is None else _hour(until, up=until < gone_before)
    if first is not None and last is not None and first >= last:
        return [everything]
    parts = [Span(table=rollup, first=first, last=last)]
    if since is not None and first is not None and since < first * HOUR:
        parts.append(Span(table=raw, since=since, until=first * HOUR))
    if until is not None and last is not None and until > last * HOUR:
        parts.append(Span(table=raw, since=last * HOUR, until=until))
    return parts


def _hour(ts: float, *, up: bool) -> int:
    return math.ceil(ts / HOUR) if up else math.floor(ts / HOUR)


def totals_statement(
    query: Query, by: Sequence[str], *, kept_from: int | None, only: Sequence[Sequence[Any]] | None = None
) -> Statement:
    """Select the values of *by*, the sums of `COLUMNS` and the joined measurements; of the groups *only*, if given."""
    found = _call_spans(query, by, kept_from)
    parts = [_part(span, query, by, COLUMNS, measured=True, only=only) for span in found]
    return _summed(parts, by, COLUMNS, measured=True)


def largest_statement(query: Query, by: Sequence[str], *, kept_from: int | None, top: int) -> Statement:
    """Select the values of *by* of the groups with the most tokens: two sums a group are soon made, sixty are not."""
    sums = ("input_tokens", "output_tokens")
    parts = [_part(span, query, by, sums, measured=False) for span in _call_spans(query, by, kept_from)]
    groups = _summed(parts, by, sums, measured=False).subquery()
    most = (groups.c.input_tokens + groups.c.output_tokens).desc()
    return select(*(groups.c[f"by_{name}"] for name in by)).order_by(most).limit(top)


def _call_spans(query: Query, by: Sequence[str], kept_from: int | None) -> list[Span]:
    asked = {*by, *query.names()}
    rollup = EVENT_HOUR if not asked & set(PERSONAL) else SESSION_HOUR if asked <= _IN_SESSION_HOUR else None
    found = spans(query, EVENT, rollup, kept_from=kept_from)
    if rollup is EVENT_HOUR and "hour" not in by:
        found = [part for span in found for part in (by_days(span) if span.table is EVENT_HOUR else [span])]
    return found


def savings_statement(query: Query, by: Sequence[str], *, kept_from: int | None) -> Statement:
    """Select the values of *by* and the sums of `SAVING_COLUMNS`."""
    rollup = None if {*by, *query.names()} & set(PERSONAL) else SAVING_HOUR
    parts = [
        _part(span, query, by, SAVING_COLUMNS, measured=False)
        for span in spans(query, SAVING, rollup, kept_from=kept_from)
    ]
    return _summed(parts, by, SAVING_COLUMNS, measured=False)


def events_statement(query: Query, *, after: tuple[float, str] | None, limit: int) -> Statement:
    """Select one page of calls in order of their start."""
    columns = [SERIES.c[name].label(f"series_{name}") for name in DIMENSIONS]
    statement = select(EVENT, *columns).join_from(EVENT, SERIES, EVENT.c.series == SERIES.c.id)
    span = Span(table=EVENT, since=query.since, until=query.until)
    statement = statement.where(*span.conditions(), *_named(EVENT, query))
    if after is not None:
        statement = statement.where(EVENT.c.ts >= after[0], tuple_(EVENT.c.ts, EVENT.c.id) > tuple_(*after))
    return statement.order_by(EVENT.c.ts, EVENT.c.id).limit(limit)


def group_column(table: Table, name: str) -> ColumnElement[Any]:
    """Return what *table* (joined to the series where it has one) is grouped by under *name*."""
    if name == "hour":
        return table.c.hour
    if name == "day":
        return table.c.day if "day" in table.c else table.c.hour // 24
    if name == "user":
        return table.c.user_name
    return table.c[name] if name in table.c else SERIES.c[name]


def _named(table: Table, query: Query) -> Iterator[ColumnElement[bool]]:
    for name, value in query.names().items():
        yield group_column(table, name) == value


def _part(
    span: Span,
    query: Query,
    by: Sequence[str],
    sums: Sequence[str],
    *,
    measured: bool,
    only: Sequence[Sequence[Any]] | None = None,
) -> Statement:
    """Select the sums of one span, by group."""
    table = span.table
    groups = [group_column(table, name) for name in by]
    columns: list[ColumnElement[Any]] = [group.label(f"by_{name}") for group, name in zip(groups, by, strict=True)]
    columns += [func.sum(table.c[name]).label(name) for name in sums]
    if measured:
        kept = "histograms" in table.c
        columns.append((func.aggregate_strings(table.c.histograms, "") if kept else literal("")).label("histograms"))
    source = table.join(SERIES, table.c.series == SERIES.c.id) if _needs_series(table, query, by) else table
    statement = select(*columns).select_from(source).where(*span.conditions(), *_named(table, query))
    if only is not None:
        same = (zip(groups, values, strict=True) for values in only)
        statement = statement.where(or_(*(and_(*(g.is_not_distinct_from(v) for g, v in pairs)) for pairs in same)))
    return statement.group_by(*groups)


def _needs_series(table: Table, query: Query, by: Sequence[str]) -> bool:
    return any(name in DIMENSIONS and name not in table.c for name in {*by, *query.names()})


def _summed(parts: list[Statement], by: Sequence[str], sums: Sequence[str], *, measured: bool) -> Statement:
    """Add the parts up, by group."""
    if len(parts) == 1:
        return parts[0]
    joined = union_all(*parts).subquery()
    groups = [joined.c[f"by_{name}"] for name in by]
    columns: list[ColumnElement[Any]] = [*groups, *(func.sum(joined.c[name]).label(name) for name in sums)]
    if measured:
        columns.append(func.aggregate_strings(joined.c.histograms, "").label("histograms"))
    return select(*columns).group_by(*groups)
