"""One provider response, or one cache hit standing in for it: the unit of all accounting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from tokenwise_core.scoping import Scope
from tokenwise_core.usage.components import Breakdown, CountSource
from tokenwise_core.usage.savings import Saving


class Status(StrEnum):
    """How a call ended."""

    OK = "ok"
    ERROR = "error"
    ABORTED = "aborted"
    CACHE_HIT = "cache_hit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a provider reported, in exclusive buckets of tokens; None where it did not say.

    Law: the input buckets sum to *input_tokens*, the output buckets to *output_tokens*, whenever those are known.
    *cache_write_5m* holds the writes of the provider's shortest life, also where that is not five minutes (OpenAI).

    *side_input* and *side_output* are billed beside the prompt count (Google's tool-use prompts, the iterations of
    Anthropic's compaction, xAI's reasoning) and stand outside both sums. *side_buckets* splits them: model ("" = the
    call's own; an advisor's iterations name another) to bucket to tokens. *web_searches* is the part of
    *server_tool_calls* that providers charge for by the piece. *unknown* holds the counts that no rule read, and
    under `clipped.<bucket>` what a report claimed beyond its own total.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None

    input_uncached: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    input_audio: int | None = None
    input_image: int | None = None
    input_video: int | None = None

    output_text: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None
    output_image: int | None = None

    side_input: int | None = None
    side_output: int | None = None
    side_buckets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    server_tool_calls: int | None = None
    web_searches: int | None = None
    service_tier: str | None = None
    reported_cost_usd: Decimal | None = None
    source: CountSource = CountSource.REPORTED
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def input_sum(self) -> int:
        """Sum of the input buckets."""
        return sum(getattr(self, name) or 0 for name in INPUT_BUCKETS)

    @property
    def output_sum(self) -> int:
        """Sum of the output buckets."""
        return sum(getattr(self, name) or 0 for name in OUTPUT_BUCKETS)


INPUT_BUCKETS = (
    "input_uncached", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "input_image", "input_video",
)  # fmt: skip
OUTPUT_BUCKETS = ("output_text", "reasoning", "output_audio", "output_image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Money of one call in integer nano-dollars: the total, by bucket of `Usage`, and the price book's version."""

    nano: int
    by_bucket: Mapping[str, int] = field(default_factory=dict)
    price_version: str = ""

    @property
    def usd(self) -> Decimal:
        return Decimal(self.nano) / NANO


NANO = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """One provider response. Holds hashes and lengths, never text unless the user asked for it.

    *ts* is seconds since the epoch at the start; *latency_ms* and *ttft_ms* (time to first token) are None when
    unknown; *estimate_before* is our own count of the prompt and *scale* = reported ÷ estimate; *fingerprint* hashes
    the fixed parts (system prompt, tools, schema, examples); *stable_prefix_tokens* is how much of the prompt was
    byte-identical to the session's previous call, *prefix_break* names the component where they part.
    """

    id: str
    ts: float
    scope: Scope = field(default_factory=Scope)
    framework: str | None = None
    parent_id: str | None = None
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    operation: str = "chat"
    node: str | None = None
    run_name: str | None = None
    status: Status = Status.OK
    error_type: str | None = None
    streamed: bool = False
    latency_ms: float | None = None
    ttft_ms: float | None = None
    finish_reason: str | None = None
    messages: int = 0
    tools_offered: int = 0
    usage: Usage = field(default_factory=Usage)
    breakdown: Breakdown = field(default_factory=Breakdown)
    estimate_before: int | None = None
    scale: float | None = None
    cost: Cost | None = None
    savings: tuple[Saving, ...] = ()
    fingerprint: str | None = None
    stable_prefix_tokens: int | None = None
    prefix_break: str | None = None
    text: str | None = None

    @property
    def model(self) -> str | None:
        return self.response_model or self.request_model
