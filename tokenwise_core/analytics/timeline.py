"""How the components developed: over time, and from call to call within one session."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from tokenwise_core.analytics.report import EMBEDDING, Report
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.store.protocol import DAY, HOUR, Query, Store

MAX_BINS = 48
MAX_CALLS = 5_000  # up to here single calls are read, for bins shorter than the hour of the roll-ups
MAX_GROWTH = 60  # calls of one session that a plot can show apart
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)
_SHORT = 6 * HOUR

Parts = Mapping[Component, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Tokens by component in the *seconds* that begin at *start*."""

    start: float
    seconds: int
    tokens: Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """*bins* cover the report's time without gaps; *growth* are the calls of *session*, the one that used the most."""

    bins: Sequence[Bin] = ()
    session: str | None = None
    growth: Sequence[Parts] = ()


def make_timeline(store: Store, report: Report) -> Timeline:
    """Ask *store* for what the plots over time show."""
    session = next((str(row.key["session"]) for row in report.groups.get("session", ()) if row.key["session"]), None)
    growth = () if session is None else _growth(store, replace(report.query, session=session))
    return Timeline(bins=_bins(store, report), session=session, growth=growth)


def _growth(store: Store, query: Query) -> Sequence[Parts]:
    """Return the parts of a session's first calls; where two frameworks play it, those of the first."""
    calls = (event for event in store.events(query) if event.operation != EMBEDDING)
    first = next(calls, None)
    if first is None:
        return ()
    following = (event for event in calls if event.framework == first.framework)
    return [event.breakdown.tokens for event in (first, *islice(following, MAX_GROWTH - 1))]


def _bins(store: Store, report: Report) -> list[Bin]:
    starts = [int(row.key["hour"] or 0) for row in report.hours]
    if not starts:
        return []
    span = starts[-1] + HOUR - starts[0]
    if span <= _SHORT and report.totals.calls <= MAX_CALLS:
        calls = [(e.ts, e.breakdown.tokens) for e in store.events(report.query) if e.operation != EMBEDDING]
        if calls:
            length = calls[-1][0] - calls[0][0]
            return _filled(calls, next((step for step in _STEPS if length / step < MAX_BINS), HOUR))
    hours = [(float(start), row.totals.tokens) for start, row in zip(starts, report.hours, strict=True)]
    return _filled(hours, HOUR if span <= MAX_BINS * HOUR else DAY)


def _filled(parts: Iterable[tuple[float, Parts]], seconds: int) -> list[Bin]:
    """Add *parts* up in bins of *seconds*; bins without calls are empty, not missing."""
    sums: dict[int, dict[Component, int]] = {}
    for ts, tokens in parts:
        into = sums.setdefault(math.floor(ts / seconds), {})
        for component, n in tokens.items():
            into[component] = into.get(component, 0) + n
    numbers = range(min(sums), max(sums) + 1)
    return [Bin(start=n * seconds, seconds=seconds, tokens=sums.get(n, {})) for n in numbers]
