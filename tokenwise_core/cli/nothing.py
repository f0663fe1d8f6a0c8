"""What to say when no call matches: what was asked for, and what is there."""

from __future__ import annotations

from tokenwise_core.analytics.notation import count, moment
from tokenwise_core.analytics.report import Report
from tokenwise_core.usage.store import Query, Store

SHOWN = 10


def no_calls_match(store: Store, report: Report) -> str:
    """Return one line about a report without calls."""
    query, everything = report.query, store.totals(by=("hour",))
    calls = sum(row.totals.calls for row in everything)
    if not calls:
        return f"no calls are recorded in {store.url} yet"
    if query.since is not None and query.since > report.made_at:
        return f"no calls match: {moment(query.since)} UTC, from when on they were asked for, is in the future"
    asked = [f"{name} {value!r}" for name, value in query.names().items()]
    hours = [int(row.key["hour"] or 0) for row in everything]
    known = [_known(store, name) for name in query.names()]
    if query.since is not None or query.until is not None:
        asked.append("that time")
        known.append(f"calls from {moment(min(hours))} to {moment(max(hours) + 3599)} UTC")
    return f"no calls match {' and '.join(asked)}: the store holds {count(calls)}, with {'; '.join(known)}"


def _known(store: Store, name: str) -> str:
    values = [str(row.key[name]) for row in store.totals(Query(), (name,)) if row.key[name] is not None]
    if not values:
        return f"no {name} named"
    more = f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else ""
    return f"{name} {', '.join(values[:SHOWN])}{more}"
