"""Usage events for the tests of recorder, stores and reports: realistic ones, and any that hypothesis can think of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from tokenwise_core.scoping import Scope
from tokenwise_core.usage.components import INPUTS, Breakdown, Component, CountSource
from tokenwise_core.usage.events import Cost, Status, Usage, UsageEvent
from tokenwise_core.usage.savings import Saving, Spend

START = 1_790_000_000.0
"""A moment inside an hour: 2026-09-21 14:13:20 UTC."""


def make_event(i: int = 0, *, ts: float | None = None, **changes: Any) -> UsageEvent:
    """Return the *i*-th of a stream of realistic calls: ten seconds apart, four agents, two users."""
    scope = Scope(
        application="desk",
        agent=f"agent-{i % 4}",
        session=f"session-{i // 5}",
        user=f"user-{i % 2}",
        labels={"tier": "gold"},
    )
    names = {name: changes.pop(name) for name in Scope.__dataclass_fields__ if name in changes}
    event = {
        "id": f"call-{i}", "ts": START + 10 * i if ts is None else ts,
        "scope": Scope(**{name: names.get(name, getattr(scope, name)) for name in Scope.__dataclass_fields__}),
        "provider": "openai", "request_model": "gpt-5-mini", "response_model": "gpt-5-mini",
        "latency_ms": 100.0 + i, "ttft_ms": 10.0 + i,
        "usage": Usage(input_tokens=1000 + i, input_uncached=600 + i, cache_read=400, output_tokens=50, output_text=50),
        "breakdown": Breakdown(
            tokens={Component.SYSTEM_PROMPT: 500, Component.USER_INPUT: 500 + i, Component.RESPONSE: 50},
            cached={Component.SYSTEM_PROMPT: 400}, calls=1,
        ),
        "cost": Cost(
            nano=10_000 + i, by_bucket={"input_uncached": 6_000 + i, "cache_read": 1_000, "output_text": 3_000}
        ),
    }  # fmt: skip
    return UsageEvent(**(event | changes))


_names = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
_counts = st.integers(0, 10**9)
_models = st.sampled_from(["", "gpt-5-mini", "claude-haiku"])
_maybe = st.none() | _counts
_money = st.integers(0, 10**12)
_milliseconds = st.none() | st.floats(0, 1e7, allow_nan=False)
_json = st.recursive(
    st.none() | st.booleans() | _counts | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
)
_spends = st.builds(Spend, input_tokens=_counts, output_tokens=_counts, nano=st.none() | _money)


def _parts(components: Any) -> st.SearchStrategy[dict[Component, int]]:
    return st.dictionaries(st.sampled_from(components), st.integers(1, 10**9), max_size=6)


events = st.builds(
    UsageEvent,
    id=st.uuids().map(str),
    ts=st.floats(START - 5 * 86_400, START, allow_nan=False),
    scope=st.builds(
        Scope, application=_names, agent=_names, task=_names, session=_names, user=_names, trace=_names, variant=_names,
        prompt_name=_names, prompt_version=_names,
        labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    ),
    framework=_names, parent_id=_names, provider=_names, request_model=_names, response_model=_names,
    operation=st.sampled_from(["chat", "embeddings", "completion"]), node=_names, run_name=_names,
    status=st.sampled_from(Status), error_type=_names, streamed=st.booleans(),
    latency_ms=_milliseconds, ttft_ms=_milliseconds, finish_reason=_names, messages=_counts, tools_offered=_counts,
    usage=st.builds(
        Usage, input_tokens=_maybe, output_tokens=_maybe, input_uncached=_maybe, cache_read=_maybe,
        cache_write_5m=_maybe, cache_write_1h=_maybe, input_audio=_maybe, input_image=_maybe, input_video=_maybe,
        output_text=_maybe,
        reasoning=_maybe, output_audio=_maybe, output_image=_maybe, side_input=_maybe, side_output=_maybe,
        side_buckets=st.dictionaries(_models, st.dictionaries(st.just("reasoning"), _counts), max_size=2),
        server_tool_calls=_maybe, web_searches=_maybe, service_tier=_names, source=st.sampled_from(CountSource),
        reported_cost_usd=st.none() | st.decimals(0, 1000, places=9).map(Decimal),
        unknown=st.dictionaries(st.text(max_size=8), _json, max_size=2),
    ),
    breakdown=st.builds(
        Breakdown, tokens=_parts(list(Component)), cached=_parts(INPUTS), calls=st.integers(0, 3),
        source=st.sampled_from(CountSource), split=st.sampled_from(list(CountSource)[1:]),
    ),
    estimate_before=_maybe, scale=st.none() | st.floats(0, 1e6, allow_nan=False),
    cost=st.none() | st.builds(
        Cost, nano=_money, price_version=st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=8),
        by_bucket=st.dictionaries(
            st.sampled_from(["input_uncached", "cache_read", "output_text", "reasoning", "fee"]), _money
        ),
    ),
    savings=st.lists(
        st.builds(
            Saving, lever=st.sampled_from(["cache", "memory", "routing"]), counterfactual=_spends, actual=_spends,
            overhead=_spends, quality=st.none() | st.floats(-1, 1), reason=st.text(max_size=8),
        ), max_size=2,
    ).map(tuple),
    fingerprint=_names, stable_prefix_tokens=_maybe, prefix_break=_names, text=_names,
)  # fmt: skip
