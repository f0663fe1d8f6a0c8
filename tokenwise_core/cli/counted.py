"""What `tokenwise count` found, and how it is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich.console import RenderableType

from tokenwise_core.analytics.formats import rich_table
from tokenwise_core.analytics.notation import count, dollars, share
from tokenwise_core.analytics.tables import Table
from tokenwise_core.messages import Prompt
from tokenwise_core.tokens import PromptCount
from tokenwise_core.tokens.analysis import DAYS_PER_MONTH, DAYS_PER_YEAR, SHORT, TokenizationAnalysis, project
from tokenwise_core.usage.components import Breakdown, CountSource, is_estimate

JSON_VERSION = 1
MOST_COMMON = 10  # of the short tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedRequest:
    """A request body, its tokens by message and tool, and by component."""

    prompt: Prompt
    detail: PromptCount
    breakdown: Breakdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A text, or a *request*: its tokens, how they are known, and what they cost as input (None: no known price)."""

    model: str
    tokens: int
    source: CountSource
    characters: int
    cost_usd: Decimal | None
    request: CountedRequest | None = None
    analysis: TokenizationAnalysis | None = None


def as_text(counted: Counted, per_day: int | None) -> Iterator[RenderableType]:
    """Yield what a terminal shows: the total, the parts, the price, the projection of *per_day* requests a day."""
    estimated, request = is_estimate(counted.source), counted.request
    what = "a text" if request is None else f"a request ({request.prompt.api})"
    yield f"{count(counted.tokens, estimated=estimated)} tokens ({counted.source}): {what} for {counted.model}"
    if request is None:
        yield f"{counted.characters:,} characters, {counted.characters / max(1, counted.tokens):.1f} a token"
    else:
        yield rich_table(_component_table(request.breakdown, estimated=estimated))
        if request.detail.tools:
            yield rich_table(_tool_table(request, estimated=estimated))
    yield f"input cost: {'no price is known' if counted.cost_usd is None else dollars(counted.cost_usd)}"
    if per_day is not None:
        yield rich_table(_projection_table(counted, per_day))
    if counted.analysis is not None:
        yield rich_table(_analysis_table(counted.analysis))


def _component_table(breakdown: Breakdown, *, estimated: bool) -> Table:
    shares = breakdown.percentages()
    return Table(
        title="Parts",
        columns=("component", "tokens", "share"),
        rows=[
            (component.label, count(breakdown[component], estimated=estimated), share(percent, 100))
            for component, percent in shares.items()
        ],
    )


def _tool_table(request: CountedRequest, *, estimated: bool) -> Table:
    sizes = zip(request.detail.tools, (tool.name for tool in request.prompt.tools), strict=True)
    rows = [(name, count(n, estimated=estimated)) for n, name in sorted(sizes, reverse=True)]
    around = [("around them", count(request.detail.tools_overhead, estimated=estimated))]
    return Table(title="Tool definitions", columns=("tool", "tokens"), rows=rows, sums=around)


def _projection_table(counted: Counted, per_day: int) -> Table:
    return Table(
        title=f"{per_day:,} such requests a day, input alone",
        columns=("every", "tokens", "cost"),
        rows=[
            (every, count(tokens, estimated=is_estimate(counted.source)), dollars(cost))
            for every, tokens, cost in _projected(counted, per_day)
        ],
    )


def _analysis_table(found: TokenizationAnalysis) -> Table:
    short = found.inefficient_tokens
    common = Counter(short).most_common(MOST_COMMON)
    return Table(
        title=f"How {found.encoding} cuts the text ({found.source})",
        columns=("measure", "value"),
        rows=[
            ("characters a token", f"{found.chars_per_token:.2f}"),
            ("efficiency (English prose is 1)", f"{found.efficiency_score:.2f}"),
            (f"tokens of at most {SHORT} characters", f"{len(short):,} ({share(len(short), found.token_count)})"),
            ("the most common of them", " ".join(f"{token!r}×{n}" for token, n in common)),
        ],
    )


def _projected(counted: Counted, per_day: int) -> Iterator[tuple[str, int, Decimal | None]]:
    tokens, cost = project(counted.tokens, requests_per_day=per_day), counted.cost_usd
    for every, n, days in (
        ("day", tokens.per_day, 1),
        ("month", tokens.per_month, DAYS_PER_MONTH),
        ("year", tokens.per_year, DAYS_PER_YEAR),
    ):
        yield every, n, None if cost is None else cost * per_day * days


def as_json(counted: Counted, per_day: int | None) -> dict[str, Any]:
    """Return the same as versioned JSON values: money is decimal text in dollars, unknown is null."""
    found: dict[str, Any] = {
        "version": JSON_VERSION,
        "model": counted.model,
        "tokens": counted.tokens,
        "source": str(counted.source),
        "characters": counted.characters,
        "input_cost_usd": _money(counted.cost_usd),
    }
    if counted.request is not None:
        found |= _request_json(counted.request)
    if per_day is not None:
        found["projection"] = {"requests_per_day": per_day} | {
            every: {"tokens": tokens, "input_cost_usd": _money(cost)}
            for every, tokens, cost in _projected(counted, per_day)
        }
    if counted.analysis is not None:
        found["analysis"] = _analysis_json(counted.analysis)
    return found


def _analysis_json(found: TokenizationAnalysis) -> dict[str, Any]:
    return {
        "encoding": found.encoding,
        "source": str(found.source),
        "characters": found.text_length,
        "tokens": found.token_count,
        "chars_per_token": round(found.chars_per_token, 4),
        "efficiency_score": round(found.efficiency_score, 4),
        "short_tokens": len(found.inefficient_tokens),
        "common_short_tokens": dict(Counter(found.inefficient_tokens).most_common(MOST_COMMON)),
    }


def _request_json(request: CountedRequest) -> dict[str, Any]:
    prompt, detail = request.prompt, request.detail
    messages = zip(prompt.messages, detail.messages, strict=True)
    return {
        "api": prompt.api,
        "components": {str(component): n for component, n in request.breakdown.tokens.items()},
        "messages": [{"role": message.role, "tokens": counted.total} for message, counted in messages],
        "tools": [{"name": tool.name, "tokens": n} for tool, n in zip(prompt.tools, detail.tools, strict=True)],
        "tools_overhead": detail.tools_overhead,
        "output_schema": detail.schema,
        "overhead": detail.overhead,
    }


def _money(usd: Decimal | None) -> str | None:
    return None if usd is None else f"{usd:f}"
