"""From the counts of a report to the exclusive buckets of `Usage`: the law is made here, once for all dialects."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.fields import Fields

Buckets = dict[str, int | None]
Side = dict[str, dict[str, int]]
"""Tokens billed beside the totals: model to bucket to tokens."""

OWN_MODEL = ""
XAI_TICKS_PER_USD = 10_000_000_000
_CLIPPED = "clipped."


def input_parts(
    total: int | None,
    *,
    read: int | None,
    write_5m: int | None = None,
    write_1h: int | None = None,
    audio: int | None = None,
    image: int | None = None,
    video: int | None = None,
) -> Buckets:
    """Split a prompt count that includes its parts."""
    parts = {
        "cache_read": read, "cache_write_1h": write_1h, "cache_write_5m": write_5m,
        "input_audio": audio, "input_image": image, "input_video": video,
    }  # fmt: skip
    return _exclusive(total, parts, rest="input_uncached")


def output_parts(
    total: int | None, *, reasoning: int | None, audio: int | None = None, image: int | None = None
) -> Buckets:
    """Split an output count that includes its parts."""
    return _exclusive(total, {"reasoning": reasoning, "output_audio": audio, "output_image": image}, rest="output_text")


def _exclusive(total: int | None, parts: Mapping[str, int | None], *, rest: str) -> Buckets:
    """Cap each part at what is left of *total*; what no part claims is *rest*, so all sum to *total*."""
    buckets: Buckets = {name: n for name, n in parts.items() if n is not None}
    if total is None:
        return buckets
    left = total
    for name, n in list(buckets.items()):
        taken = min(n or 0, left)
        left -= taken
        if n != taken:
            buckets[_CLIPPED + name] = (n or 0) - taken
        buckets[name] = taken
    buckets[rest] = left
    return buckets


def complete(first: int | None, second: int | None, total: int | None) -> tuple[int | None, int | None]:
    """Fill in the one of two counts that is missing from their total."""
    if total is not None and first is None and second is not None:
        return max(total - second, 0), second
    if total is not None and second is None and first is not None:
        return first, max(total - first, 0)
    return first, second


def beyond(prompt: int | None, completion: int | None, total: int | None) -> int:
    """Return what *total* counts beyond prompt and completion.

    xAI and Google's OpenAI-compatible endpoint report thoughts there alone, and bill them.
    """
    if prompt is None or completion is None or total is None:
        return 0
    return max(total - prompt - completion, 0)


def build_usage(
    raw: Fields,
    *,
    prompt: Buckets,
    output: Buckets,
    side: Side | None = None,
    tier: str | None = None,
    inner: tuple[tuple[str, Fields], ...] = (),
) -> Usage:
    """Put the buckets together with what every dialect says alike: tools, tier, cost; the rest is `unknown`."""
    buckets = {**prompt, **output}
    side = side or {}
    calls, searches = server_tools(raw)
    clipped = {name: n for name, n in buckets.items() if name.startswith(_CLIPPED)}
    return Usage(
        input_tokens=_total(prompt, "input_uncached"),
        output_tokens=_total(output, "output_text"),
        input_uncached=buckets.get("input_uncached"),
        cache_read=buckets.get("cache_read"),
        cache_write_5m=buckets.get("cache_write_5m"),
        cache_write_1h=buckets.get("cache_write_1h"),
        input_audio=buckets.get("input_audio"),
        input_image=buckets.get("input_image"),
        input_video=buckets.get("input_video"),
        output_text=buckets.get("output_text"),
        reasoning=buckets.get("reasoning"),
        output_audio=buckets.get("output_audio"),
        output_image=buckets.get("output_image"),
        side_input=_side_sum(side, inputs=True) if side else None,
        side_output=_side_sum(side, inputs=False) if side else None,
        side_buckets=side,
        server_tool_calls=calls,
        web_searches=searches,
        service_tier=tier or service_tier(raw),
        reported_cost_usd=reported_cost(raw),
        unknown={**clipped, **raw.unread(*inner)},
    )


def _total(parts: Buckets, rest: str) -> int | None:
    if parts.get(rest) is None:
        return None
    return sum(n or 0 for name, n in parts.items() if not name.startswith(_CLIPPED))


def _side_sum(side: Side, *, inputs: bool) -> int:
    return sum(
        n for buckets in side.values() for name, n in buckets.items() if name.startswith(("input_", "cache_")) is inputs
    )


def service_tier(raw: Fields) -> str | None:
    """Return the service tier that a report names, in lower case (Google's may hide in `trafficType`)."""
    if (raw.text("speed") or "").lower() == "fast":  # Anthropic's fast mode, dearer than any tier
        return "fast"
    if tier := raw.text("service_tier", "serviceTier"):
        return tier.lower()
    traffic = (raw.text("trafficType", "traffic_type") or "").lower()
    return next((tier for tier in ("priority", "flex") if tier in traffic), None)


def reported_cost(raw: Fields) -> Decimal | None:
    """Return what the provider itself says that the call cost, in dollars.

    OpenRouter's `cost` leaves out what the upstream provider bills to the user's own key (`is_byok`).
    """
    if (ticks := raw.money("cost_in_usd_ticks")) is not None:
        return ticks / XAI_TICKS_PER_USD
    for amount in (raw.money("cost"), raw.inner("cost").money("total_cost"), raw.money("total_cost")):
        if amount is not None:
            upstream = raw.inner("cost_details").money("upstream_inference_cost")
            return amount + upstream if upstream is not None and raw.data.get("is_byok") is True else amount
    return None


def server_tools(raw: Fields) -> tuple[int | None, int | None]:
    """Return the calls of provider-side tools, and how many of them were web searches (billed by the piece)."""
    tools = raw.inner("server_tool_use", "server_tool_use_details", "server_side_tool_usage_details", "serverToolUsage")
    invoked = raw.inner("tool_calls_details").inner("search_web").count("invocation")
    searches = largest(
        tools.count("web_search_requests", "web_search_calls", "webSearchRequests"),
        raw.count("num_search_queries"),
        invoked,
    )
    kinds = [tools.count(name) for name in tools.data if not str(name).startswith("tool_calls_")]
    known = [n for n in kinds if n is not None]
    calls = largest(
        tools.count("tool_calls_executed"),
        sum(known) if known else None,
        searches,
        raw.count("num_server_side_tools_used"),
    )
    return calls, searches


def largest(*counts: int | None) -> int | None:
    """Return the largest known count; None when all are unknown."""
    return max((n for n in counts if n is not None), default=None)


def less(count: int | None, part: int | None) -> int | None:
    """Return *count* without *part*, never below zero; None when it is unknown."""
    return None if count is None else max(count - (part or 0), 0)
