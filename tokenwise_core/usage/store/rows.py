"""A usage event as a row of a store, and back. The same integer columns feed the roll-ups."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from tokenwise_core.scoping import Scope
from tokenwise_core.usage.components import Breakdown, CountSource
from tokenwise_core.usage.events import INPUT_BUCKETS, OUTPUT_BUCKETS, Cost, Status, Usage, UsageEvent
from tokenwise_core.usage.savings import Saving, Spend
from tokenwise_core.usage.store.allocation import cost_by_component
from tokenwise_core.usage.store.histograms import Metric, entry
from tokenwise_core.usage.store.protocol import DIMENSIONS, HOUR
from tokenwise_core.usage.store.totals import (
    CACHED_COLUMNS,
    COLUMNS,
    NANO_COLUMNS,
    SOURCE_COLUMNS,
    SPLIT_COLUMNS,
    TOKEN_COLUMNS,
)

Text = TypeVar("Text", str, str | None)
Names = tuple[str | None, ...]
"""The values of `DIMENSIONS`, in order."""


class SavingCells(NamedTuple):
    """One booking, flattened: the values of `SAVING_COLUMNS`."""

    lever: str
    sums: tuple[int, ...]


class CallRow(NamedTuple):
    """One event, flattened: the values of `DETAILS` and `COLUMNS`, and as JSON in *extra* what has no column.

    *series* identifies *names*.
    """

    id: str
    ts: float
    series: int
    names: Names
    session: str | None
    user: str | None
    details: tuple[Any, ...]
    sums: tuple[int, ...]
    histograms: str
    extra: str
    savings: tuple[SavingCells, ...]

    @property
    def hour(self) -> int:
        return hour_of(self.ts)


def hour_of(ts: float) -> int:
    """Return the number of the hour (UTC, since the epoch) that *ts* lies in."""
    return math.floor(ts / HOUR)


def to_row(event: UsageEvent) -> CallRow:
    """Flatten *event*."""
    scope = event.scope
    names, series = _series(
        scope.application, scope.agent, scope.task, event.provider, event.response_model or event.request_model,
        scope.variant, event.node, event.status, event.operation,
    )  # fmt: skip
    sums = _sums(event)
    return CallRow(
        event.id, event.ts, series, names, scope.session, scope.user,
        _get_details(event), sums, _histograms(event, sums), _extra(event),
        tuple(map(_saving_cells, event.savings)) if event.savings else (),
    )  # fmt: skip


def to_event(row: CallRow) -> UsageEvent:
    """Rebuild the event; what a newer release added to *extra* is left out."""
    extra = json.loads(row.extra)
    names = dict(zip(DIMENSIONS, row.names, strict=True))
    details = dict(zip(DETAILS, row.details, strict=True))
    sums = dict(zip(COLUMNS, row.sums, strict=True))
    return UsageEvent(
        id=row.id,
        ts=row.ts,
        scope=Scope(
            application=names["application"], agent=names["agent"], task=names["task"], session=row.session,
            user=row.user, variant=names["variant"], labels=extra.get("labels", {}),
            **{name: details[name] for name in _SCOPE},
        ),
        provider=names["provider"],
        node=names["node"],
        status=_status(names["status"]),
        operation=names["operation"] or "",
        usage=_usage(details, extra.get("usage", {})),
        breakdown=_breakdown(sums, extra.get("breakdown", {})),
        cost=_cost(sums, details, extra.get("by_bucket", {})),
        savings=tuple(_saving(saving) for saving in extra.get("savings", ())),
        streamed=bool(details["streamed"]),
        **{name: details[name] for name in _PLAIN},
    )  # fmt: skip


def cleaned(row: CallRow) -> CallRow:
    """Return *row* in a form that every backend can keep: its texts without NUL and lone surrogates."""
    return row._replace(
        id=storable(row.id),
        session=storable(row.session),
        user=storable(row.user),
        details=tuple(storable(value) if isinstance(value, str) else value for value in row.details),
    )


def storable(text: Text) -> Text:
    """Return *text* without NUL and lone surrogates."""
    return text if text is None else text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


@lru_cache(maxsize=65_536)
def _series(*names: str | None) -> tuple[Names, int]:
    """Return *names* in storable form and their 64-bit hash: the same in every process, so nobody hands out numbers."""
    kept = tuple(None if name is None else storable(str(name)) for name in names)
    digest = blake2b(json.dumps(kept).encode(), digest_size=8).digest()
    return kept, int.from_bytes(digest, "big", signed=True)


# --- the integer columns --------------------------------------------------------------------------------------------

_AT = {name: position for position, name in enumerate(COLUMNS)}
_TOKENS = {component: _AT[name] for component, name in TOKEN_COLUMNS.items()}
_CACHED = {component: _AT[name] for component, name in CACHED_COLUMNS.items()}
_NANO = {component: _AT[name] for component, name in NANO_COLUMNS.items()}
_SOURCE = {source: _AT[name] for source, name in SOURCE_COLUMNS.items()}
_SPLIT = {source: _AT[name] for source, name in SPLIT_COLUMNS.items()} | {CountSource.REPORTED: _AT["exact_splits"]}
_ZEROS = [0] * len(COLUMNS)
_CALLS, _INPUT, _OUTPUT, _SIDE, _READ, _WRITE, _KNOWN, _COST, _PRICED = (
    _AT[name]
    for name in (
        "calls", "input_tokens", "output_tokens", "side_tokens", "cache_read", "cache_write", "cache_known_input",
        "cost_nano", "priced_calls",
    )
)  # fmt: skip


def _sums(event: UsageEvent) -> tuple[int, ...]:
    sums = _ZEROS.copy()
    usage, breakdown = event.usage, event.breakdown
    sums[_CALLS] = 1
    sums[_SOURCE[usage.source]] = 1
    sums[_SPLIT[breakdown.split]] = 1
    # what the provider reported, else what we counted
    sums[_INPUT] = breakdown.input_tokens if usage.input_tokens is None else usage.input_tokens
    sums[_OUTPUT] = breakdown.output_tokens if usage.output_tokens is None else usage.output_tokens
    sums[_SIDE] = (usage.side_input or 0) + (usage.side_output or 0)
    if usage.cache_read is not None:
        sums[_READ] = usage.cache_read
        sums[_KNOWN] = sums[_INPUT]
    sums[_WRITE] = (usage.cache_write_5m or 0) + (usage.cache_write_1h or 0)
    for component, n in breakdown.tokens.items():
        sums[_TOKENS[component]] = n
    for component, n in breakdown.cached.items():
        sums[_CACHED[component]] = n
    if event.cost is not None:
        sums[_COST] = event.cost.nano
        sums[_PRICED] = 1
        for component, n in cost_by_component(event.cost, breakdown).items():
            sums[_NANO[component]] = n
    return tuple(sums)


def _histograms(event: UsageEvent, sums: tuple[int, ...]) -> str:
    """Return the call's measurements; a call without tokens (a cache hit, a failure) is no measurement of them."""
    latency = "" if event.latency_ms is None else entry(Metric.LATENCY_US, event.latency_ms * 1000)
    ttft = "" if event.ttft_ms is None else entry(Metric.TTFT_US, event.ttft_ms * 1000)
    cost = "" if event.cost is None else entry(Metric.COST_NANO, event.cost.nano)
    tokens = sums[_INPUT] + sums[_OUTPUT]
    return latency + ttft + cost + (entry(Metric.TOKENS, tokens) if tokens else "")


def _saving_cells(saving: Saving) -> SavingCells:
    spends = (saving.counterfactual, saving.actual, saving.overhead)
    priced = all(spend.nano is not None for spend in spends)
    flat = (
        n for s in spends for n in (s.input_tokens, s.output_tokens, s.nano if priced and s.nano is not None else 0)
    )
    measured = saving.quality is not None
    return SavingCells(
        storable(saving.lever) or "",
        (1, int(priced), int(measured), round(saving.quality * 1e6) if saving.quality is not None else 0, *flat),
    )


# --- the other columns of a call, and the rest as JSON --------------------------------------------------------------

_PLAIN = (
    "framework", "parent_id", "request_model", "response_model", "run_name", "error_type", "latency_ms", "ttft_ms",
    "finish_reason", "messages", "tools_offered", "estimate_before", "scale", "fingerprint",
    "stable_prefix_tokens", "prefix_break", "text",
)  # fmt: skip
_SCOPE = ("trace", "prompt_name", "prompt_version")
_USAGE = (
    "input_tokens", "output_tokens", *INPUT_BUCKETS, *OUTPUT_BUCKETS, "side_input", "side_output", "server_tool_calls",
    "service_tier",
)  # fmt: skip
DETAILS = (*_PLAIN, *_SCOPE, "streamed", "price_version", *(f"usage_{name}" for name in _USAGE))
"""The columns of a single call that no roll-up sums; `usage_…` is what the provider said (NULL: nothing)."""

_get_plain, _get_scope, _get_usage = attrgetter(*_PLAIN), attrgetter(*_SCOPE), attrgetter(*_USAGE)
_dumps = json.JSONEncoder(separators=(",", ":"), default=str).encode


def _get_details(event: UsageEvent) -> tuple[Any, ...]:
    price_version = None if event.cost is None else event.cost.price_version
    streamed = 1 if event.streamed else None
    return (
        *_get_plain(event), *_get_scope(event.scope), streamed, price_version, *_get_usage(event.usage),
    )  # fmt: skip


def _extra(event: UsageEvent) -> str:
    """Return as JSON what has no column of its own; what is empty or usual is left out."""
    extra = _unusual(event)
    by_bucket = event.cost.by_bucket if event.cost is not None else None
    if not by_bucket:
        return _dumps(extra) if extra else "{}"
    if extra or not by_bucket.keys() <= _BUCKETS:
        return _dumps({"by_bucket": by_bucket, **extra})
    prices = ",".join([f'"{bucket}":{nano}' for bucket, nano in by_bucket.items()])  # as _dumps would, in half the time
    return f'{{"by_bucket":{{{prices}}}}}'


def _unusual(event: UsageEvent) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if usage := _usage_extra(event.usage):
        extra["usage"] = usage
    if breakdown := _breakdown_extra(event.breakdown):
        extra["breakdown"] = breakdown
    if event.scope.labels:
        extra["labels"] = event.scope.labels
    if event.savings:
        extra["savings"] = [_saving_extra(saving) for saving in event.savings]
    return extra


_BUCKETS = frozenset((*INPUT_BUCKETS, *OUTPUT_BUCKETS))


def _usage_extra(usage: Usage) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if usage.source is not CountSource.REPORTED:
        extra["source"] = usage.source
    if usage.reported_cost_usd is not None:
        extra["reported_cost_usd"] = str(usage.reported_cost_usd)
    if usage.side_buckets:
        extra["side_buckets"] = {model: dict(buckets) for model, buckets in usage.side_buckets.items()}
    if usage.web_searches is not None:
        extra["web_searches"] = usage.web_searches
    if usage.unknown:
        extra["unknown"] = dict(usage.unknown)
    return extra


def _usage(details: Mapping[str, Any], extra: Mapping[str, Any]) -> Usage:
    reported = extra.get("reported_cost_usd")
    return Usage(
        **{name: details[f"usage_{name}"] for name in _USAGE},
        reported_cost_usd=None if reported is None else Decimal(reported),
        side_buckets=extra.get("side_buckets", {}),
        web_searches=extra.get("web_searches"),
        source=CountSource(extra.get("source", CountSource.REPORTED)),
        unknown=extra.get("unknown", {}),
    )


def _breakdown_extra(breakdown: Breakdown) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if breakdown.calls != 1:
        extra["calls"] = breakdown.calls
    if breakdown.source is not CountSource.REPORTED:
        extra["source"] = breakdown.source
    if breakdown.split is not CountSource.EXACT:
        extra["split"] = breakdown.split
    return extra


def _breakdown(sums: Mapping[str, int], extra: Mapping[str, Any]) -> Breakdown:
    return Breakdown(
        tokens={component: sums[name] for component, name in TOKEN_COLUMNS.items() if sums[name]},
        cached={component: sums[name] for component, name in CACHED_COLUMNS.items() if sums[name]},
        calls=extra.get("calls", 1),
        source=CountSource(extra.get("source", CountSource.REPORTED)),
        split=CountSource(extra.get("split", CountSource.EXACT)),
    )


def _cost(sums: Mapping[str, int], details: Mapping[str, Any], by_bucket: Mapping[str, int]) -> Cost | None:
    if not sums["priced_calls"]:
        return None
    return Cost(nano=sums["cost_nano"], by_bucket=by_bucket, price_version=details["price_version"] or "")


def _status(name: str | None) -> Status:
    return Status(name) if name in _STATUSES else Status.OK  # a newer release may know more


_STATUSES = frozenset(str(status) for status in Status)


def _saving_extra(saving: Saving) -> dict[str, Any]:
    return {
        "lever": saving.lever,
        "counterfactual": _spend_extra(saving.counterfactual),
        "actual": _spend_extra(saving.actual),
        "overhead": _spend_extra(saving.overhead),
        "quality": saving.quality,
        "reason": saving.reason,
    }


def _spend_extra(spend: Spend) -> list[int | None]:
    return [spend.input_tokens, spend.output_tokens, spend.nano]


def _saving(extra: Mapping[str, Any]) -> Saving:
    spends = {
        name: Spend(input_tokens=tokens_in, output_tokens=tokens_out, nano=nano)
        for name in ("counterfactual", "actual", "overhead")
        for tokens_in, tokens_out, nano in (extra[name],)
    }
    return Saving(lever=extra["lever"], **spends, quality=extra["quality"], reason=extra["reason"])
