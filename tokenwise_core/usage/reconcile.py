"""From our own counts of the parts to a breakdown that sums to what the provider reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokenwise_core.messages import Prompt
from tokenwise_core.tokens import AnswerCount, PromptCount, TokenCounter
from tokenwise_core.usage.attribution import Attribution
from tokenwise_core.usage.components import Breakdown, Component, CountSource, worst_source
from tokenwise_core.usage.events import Usage

TOLERANCE = 0.02  # a difference up to this share is formatting: it goes to overhead (observability.md §9, step 4)


_OPTIONAL = (Component.TOOL_DEFINITIONS, Component.OUTPUT_SCHEMA)
"""What some servers keep out of the prompt (llama.cpp with a template that has no tools; grammars for schemas)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Tokens of one component at one place of the wire; *message* is None for tools, schema and the request itself."""

    component: Component
    tokens: int
    message: int | None = None


def parts_of(prompt: Prompt, attribution: Attribution, count: PromptCount, counter: TokenCounter) -> tuple[Part, ...]:
    """Return the counted parts in wire order: Anthropic sends tools first, the others after the system messages."""
    tools = [
        Part(component=Component.TOOL_DEFINITIONS, tokens=sum(count.tools) + count.tools_overhead),
        Part(component=Component.OUTPUT_SCHEMA, tokens=count.schema),
    ]
    lead = _leading_system(prompt)
    head = [part for number in range(lead) for part in _message_parts(prompt, attribution, count, counter, number)]
    body = [
        part
        for number in range(lead, len(prompt.messages))
        for part in _message_parts(prompt, attribution, count, counter, number)
    ]
    first = [*tools, *head] if prompt.api in ("anthropic", "bedrock") else [*head, *tools]
    end = Part(component=Component.OVERHEAD, tokens=count.overhead)
    return tuple(part for part in (*first, *body, end) if part.tokens)


def _leading_system(prompt: Prompt) -> int:
    for number, message in enumerate(prompt.messages):
        if message.role not in ("system", "developer"):
            return number
    return len(prompt.messages)


def _message_parts(
    prompt: Prompt, attribution: Attribution, count: PromptCount, counter: TokenCounter, number: int
) -> Iterator[Part]:
    message, counted, whole = prompt.messages[number], count.messages[number], attribution.whole[number]
    spans = attribution.spans[number]
    if len(spans) == 1:
        yield Part(component=spans[0].component, tokens=counted.text, message=number)
    elif spans:
        sizes = shares(counted.text, [counter.text(message.text[s.start : s.end]) for s in spans])
        for span, size in zip(spans, sizes, strict=True):
            yield Part(component=span.component, tokens=size, message=number)
    yield Part(component=whole, tokens=counted.tool_calls + counted.name + counted.reasoning, message=number)
    yield Part(component=Component.MEDIA, tokens=counted.media, message=number)
    yield Part(component=Component.OVERHEAD, tokens=counted.overhead, message=number)


def shares(total: int, weights: Sequence[float]) -> list[int]:
    """Split *total* in proportion to *weights* into integers that sum to it (largest remainder; ties to the first).

    All weights zero gives everything to the last.
    """
    if not weights:
        return []
    weight = sum(weights)
    if weight <= 0:
        return [0] * (len(weights) - 1) + [total]
    exact = [total * w / weight for w in weights]
    floors = [int(x // 1) for x in exact]
    left = total - sum(floors)
    order = sorted(range(len(exact)), key=lambda i: floors[i] - exact[i])
    for i in order[:left]:
        floors[i] += 1
    return floors


def reconcile(
    parts: Sequence[Part], usage: Usage, answer: AnswerCount, source: CountSource, *, unknown: Component | None = None
) -> Breakdown:
    """Return the breakdown of one call; input and output sum to `usage.input_tokens` and `usage.output_tokens`.

    *source* is how the parts were counted; *unknown* names a component that we cannot count (media, built-in tools):
    it takes what the provider reports beyond our count.
    """
    sized = fitted(parts, usage.input_tokens, source, unknown)
    tokens: dict[Component, int] = {}
    for part in sized:
        tokens[part.component] = tokens.get(part.component, 0) + part.tokens
    tokens.update(_output(usage, answer))
    return Breakdown(
        tokens={c: tokens[c] for c in Component if tokens.get(c)},
        cached=cached_split(sized, usage.cache_read or 0),
        calls=1,
        source=usage.source,
        split=worst_source((source, CountSource.EXACT)),
    )


def fitted(
    parts: Sequence[Part], reported: int | None, source: CountSource, unknown: Component | None = None
) -> Sequence[Part]:
    """Return *parts* so sized that they sum to the *reported* input; once they do, they stay as they are."""
    estimate = sum(part.tokens for part in parts)
    if reported is None or reported == estimate:
        return parts
    bare = [part for part in parts if part.component not in _OPTIONAL]
    if len(bare) < len(parts) and reported <= (1 + TOLERANCE) * sum(part.tokens for part in bare):
        parts, estimate = bare, sum(part.tokens for part in bare)  # the server did not show them to the model
    gap = reported - estimate
    overhead = sum(part.tokens for part in parts if part.component is Component.OVERHEAD)
    if unknown is not None and gap > 0:
        return [*parts, Part(component=unknown, tokens=gap)]
    if source is CountSource.EXACT and abs(gap) <= TOLERANCE * reported and overhead + gap >= 0:
        return _into_overhead(parts, gap)
    sizes = shares(reported, [part.tokens for part in parts])
    if not parts:
        return [Part(component=Component.OVERHEAD, tokens=reported)]
    return [Part(component=p.component, tokens=n, message=p.message) for p, n in zip(parts, sizes, strict=True)]


def _into_overhead(parts: Sequence[Part], gap: int) -> list[Part]:
    """Add *gap* to the overhead parts, from the end of the wire, none below zero."""
    sized = list(parts)
    if gap > 0:
        return [*sized, Part(component=Component.OVERHEAD, tokens=gap)]
    for i in range(len(sized) - 1, -1, -1):
        if sized[i].component is Component.OVERHEAD and gap < 0:
            cut = min(sized[i].tokens, -gap)
            gap += cut
            sized[i] = Part(component=Component.OVERHEAD, tokens=sized[i].tokens - cut, message=sized[i].message)
    return sized


def _output(usage: Usage, answer: AnswerCount) -> Mapping[Component, int]:
    """Split the reported output: reasoning as reported, the rest between text and tool calls by our count."""
    reported = usage.output_tokens
    if reported is None:
        return {
            Component.RESPONSE: answer.response,
            Component.TOOL_CALLS: answer.tool_calls,
            Component.REASONING: answer.reasoning,
        }
    reasoning = usage.reasoning
    if reasoning is None:
        counted = answer.response + answer.tool_calls + answer.reasoning
        reasoning = shares(reported, [answer.reasoning, counted - answer.reasoning])[0] if answer.reasoning else 0
    reasoning = min(reasoning, reported)
    calls, text = shares(reported - reasoning, [answer.tool_calls, answer.response])
    return {Component.RESPONSE: text, Component.TOOL_CALLS: calls, Component.REASONING: reasoning}


def cached_split(parts: Sequence[Part], cached: int) -> dict[Component, int]:
    """Fill the components with *cached* tokens in wire order (a provider's cache holds a prefix)."""
    split: dict[Component, int] = {}
    for part in parts:
        take = min(part.tokens, cached)
        if take:
            split[part.component] = split.get(part.component, 0) + take
        cached -= take
    return split
