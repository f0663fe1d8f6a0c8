"""Questions over a usage store; the answers are typed values, nothing is printed here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import groupby
from typing import Literal

from tokenwise_core.errors import BadInput
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import NANO, Status
from tokenwise_core.usage.savings import Spend
from tokenwise_core.usage.store.protocol import EVERYTHING, HOUR, Query, Row, Store
from tokenwise_core.usage.store.totals import Totals, merged

Step = Literal["hour", "day"]
_UNITS = {"m": 60, "h": HOUR, "d": 24 * HOUR, "w": 7 * 24 * HOUR}
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC).timestamp()  # a day inside what a date can say, for any time zone
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([mhdw])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The calls under one name (None: they had none), and their share of all tokens in the report."""

    name: str | None
    totals: Totals
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentUse:
    """What one component took: tokens, those of them read from the provider's cache, share of all tokens, cost.

    *cost_usd* is None where no call has a price.
    """

    component: Component
    tokens: int
    cached_tokens: int
    share: float
    cost_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeverSaving:
    """What a lever saved net of its own overhead; *quality* None: not measured; *saved_usd* None: no price known."""

    lever: str
    bookings: int
    saved: Spend
    overhead: Spend
    quality: float | None

    @property
    def saved_usd(self) -> Decimal | None:
        return None if self.saved.nano is None else Decimal(self.saved.nano) / NANO


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """How caches did.

    *token_rate* is the share of input tokens that providers read from their prompt caches (None: no provider said),
    *answer_rate* the share of calls that our own cache answered (None: no calls).
    """

    token_rate: float | None
    answer_rate: float | None
    calls: int
    answered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One hour or day of a time series; *start* carries the time zone that was asked for."""

    start: datetime
    totals: Totals
    requests_per_minute: float


def parse_time(text: str, *, now: float, tz: tzinfo = UTC) -> float:
    """Return the moment that *text* names, in seconds since the epoch.

    An age ("30m", "24h", "7d", "2w") counts back from *now*; a date or a time in ISO format is in *tz* unless it says
    otherwise. Anything else, and a moment outside the years 1 to 9999, is `BadInput`.
    """
    wanted = text.strip()
    if ago := _AGO.fullmatch(wanted):
        found = now - float(ago[1]) * _UNITS[ago[2]]
    else:
        try:
            moment = datetime.fromisoformat(wanted)
            found = (moment if moment.tzinfo else moment.replace(tzinfo=tz)).timestamp()
        except (ValueError, OverflowError) as error:
            raise BadInput(f"no time: {text!r} (give 24h, 7d, 2026-11-01 or 2026-11-01T09:30)") from error
    if not _EARLIEST <= found <= _LATEST:
        raise BadInput(f"no time: {text!r} is outside the years 1 to 9999")
    return found


def window(since: str | None, until: str | None, *, now: float, tz: tzinfo = UTC) -> Query:
    """Return the query for the time between *since* and *until*, texts as in `parse_time`."""
    start = None if since is None else parse_time(since, now=now, tz=tz)
    end = None if until is None else parse_time(until, now=now, tz=tz)
    if start is not None and end is not None and start >= end:
        raise BadInput(f"the time ends ({until}) before it begins ({since})")
    return Query(since=start, until=end)


def totals(store: Store, query: Query = EVERYTHING) -> Totals:
    """Return the sums over all calls that *query* names."""
    rows = store.totals(query)
    return rows[0].totals if rows else Totals()


def by_name(store: Store, name: str, query: Query = EVERYTHING, *, top: int | None = None) -> list[Group]:
    """Return the calls by agent, model, session, user, …, the most tokens first; shares are of all calls."""
    rows = store.totals(query, (name,), top=top)
    known = sum(row.totals.total_tokens for row in rows)
    total = known if top is None or len(rows) < top else totals(store, query).total_tokens
    return [
        Group(name=_text(row.key[name]), totals=row.totals, share=_share(row.totals.total_tokens, total))
        for row in rows
    ]


def by_component(store: Store, query: Query = EVERYTHING) -> list[ComponentUse]:
    """Return what each component took, in the order of `Component`."""
    return component_uses(totals(store, query))


def component_uses(sums: Totals) -> list[ComponentUse]:
    """Return what each component took in *sums*."""
    total = sum(sums.tokens.values())
    return [
        ComponentUse(
            component=component,
            tokens=sums.tokens.get(component, 0),
            cached_tokens=sums.cached.get(component, 0),
            share=_share(sums.tokens.get(component, 0), total),
            cost_usd=Decimal(sums.nano.get(component, 0)) / NANO if sums.priced_calls else None,
        )
        for component in Component
        if sums.tokens.get(component) or sums.nano.get(component)
    ]


def savings_by_lever(store: Store, query: Query = EVERYTHING) -> list[LeverSaving]:
    """Return what each lever saved, the most tokens first."""
    return [
        LeverSaving(
            lever=str(row.key["lever"]),
            bookings=row.totals.bookings,
            saved=row.totals.saved,
            overhead=row.totals.overhead,
            quality=row.totals.quality,
        )
        for row in store.savings(query, ("lever",))
    ]


def cache_use(store: Store, query: Query = EVERYTHING) -> CacheUse:
    """Return how much was read from the providers' prompt caches, and answered from our own."""
    by_status = {row.key["status"]: row.totals for row in store.totals(query, ("status",))}
    all_calls = merged(by_status.values())
    answered = by_status.get(Status.CACHE_HIT, Totals()).calls
    return CacheUse(
        token_rate=all_calls.cache_hit_rate,
        answer_rate=answered / all_calls.calls if all_calls.calls else None,
        calls=all_calls.calls,
        answered=answered,
    )


def time_series(store: Store, query: Query = EVERYTHING, *, step: Step = "day", tz: tzinfo = UTC) -> list[Point]:
    """Return one point an hour or day from the first call to the last, empty ones included.

    Days are those of *tz*. The store sums by UTC hours: where *tz* is off by half an hour, so are its days.
    """
    in_utc = step == "hour" or tz is UTC
    rows = store.totals(query, (step if in_utc else "hour",))
    if not rows:
        return []
    by_start = {start: merged(row.totals for row in same) for start, same in groupby(rows, _starts(step, tz))}
    points = []
    start, last = min(by_start), max(by_start)
    while start <= last:
        sums, following = by_start.get(start, Totals()), _next(start, step, tz)
        rate = sums.calls / ((following - start) / 60)
        points.append(Point(start=datetime.fromtimestamp(start, tz), totals=sums, requests_per_minute=rate))
        start = following
    return points


def requests_per_minute(sums: Totals, query: Query, *, now: float) -> float | None:
    """Return the mean rate over the time that *query* spans; None when it has no beginning."""
    if query.since is None:
        return None
    minutes = ((now if query.until is None else min(query.until, now)) - query.since) / 60
    return sums.calls / minutes if minutes > 0 else None


def _starts(step: Step, tz: tzinfo) -> Callable[[Row], float]:
    """Return what tells when the period of a row by hour or day begins in *tz*.

    In seconds since the epoch: two local times of a night on which the clocks go back look the same.
    """

    def start(row: Row) -> float:
        moment = int(row.key.get("hour", row.key.get("day")) or 0)
        return moment if step == "hour" else _midnight(datetime.fromtimestamp(moment, tz))

    return start


def _next(start: float, step: Step, tz: tzinfo) -> float:
    return start + HOUR if step == "hour" else _midnight(datetime.fromtimestamp(start, tz) + timedelta(days=1))


def _midnight(moment: datetime) -> float:
    return datetime.combine(moment.date(), time(), moment.tzinfo).timestamp()


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _share(part: int, total: int) -> float:
    return part / total if total else 0.0
