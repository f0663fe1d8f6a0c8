"""The usage that a provider would report, in its own wire format, and the pieces of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tokenwise_core.messages import Answer, Prompt
from tokenwise_core.testing.prompt_cache import SharedPrefix, cacheable, wire_parts
from tokenwise_core.tokens.counts import PromptCount

ProviderFormat = Literal["openai", "anthropic", "google"]
_PIECE = re.compile(r"\s*\S+\s*\Z|\s*\S+|\s+")
_FRAGMENT_CHARS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Tokens of one call: *input* and *output* are inclusive of *cached* and of *reasoning*."""

    input: int
    cached: int
    output: int
    reasoning: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """A piece of a tool call: the first one of each *index* has the id and the name."""

    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayChunk:
    """A piece of a streamed answer; only the last one has the usage and the finish reason."""

    text: str = ""
    tool_call: ToolCallDelta | None = None
    usage: Mapping[str, Any] | None = None
    finish_reason: str | None = None


def usage_on_the_wire(spent: Spent, provider_format: ProviderFormat) -> dict[str, Any]:
    """Return usage as OpenAI's chat API, Anthropic's messages API or Google's generateContent reports it."""
    return _FORMATS[provider_format](spent)


def cached_tokens(prompt: Prompt, count: PromptCount, shared: SharedPrefix) -> int:
    """Return how many tokens of *prompt* the provider's cache serves, given what it shares with an earlier one."""
    sizes = _part_sizes(prompt, count)
    head = sum(sizes[: shared.parts])
    if shared.parts < len(sizes):
        head += int(sizes[shared.parts] * shared.share_of_next)
    return cacheable(min(head, count.total))


def pieces(answer: Answer, usage: Mapping[str, Any]) -> Iterator[ReplayChunk]:
    """Yield the answer word by word, its tool calls in fragments, and the usage at the end."""
    for piece in _PIECE.findall(answer.text):
        yield ReplayChunk(text=piece)
    for index, call in enumerate(answer.tool_calls):
        yield ReplayChunk(tool_call=ToolCallDelta(index=index, id=call.id, name=call.name, arguments=""))
        for start in range(0, len(call.arguments), _FRAGMENT_CHARS):
            fragment = call.arguments[start : start + _FRAGMENT_CHARS]
            yield ReplayChunk(tool_call=ToolCallDelta(index=index, arguments=fragment))
    yield ReplayChunk(usage=usage, finish_reason=answer.finish_reason)


def _part_sizes(prompt: Prompt, count: PromptCount) -> list[int]:
    """Return the tokens of each part in the order of `wire_parts`."""
    messages = iter(count.messages)
    tools = sum(count.tools) + count.tools_overhead + count.schema
    return [tools if isinstance(part, Prompt) else next(messages).total for part in wire_parts(prompt)]


def _openai(spent: Spent) -> dict[str, Any]:
    return {
        "prompt_tokens": spent.input,
        "completion_tokens": spent.output,
        "total_tokens": spent.input + spent.output,
        "prompt_tokens_details": {"cached_tokens": spent.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": spent.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _anthropic(spent: Spent) -> dict[str, Any]:
    """Return the additive form: what was read, what was written for the next call, and the rest."""
    written = max(0, cacheable(spent.input) - spent.cached)
    return {
        "input_tokens": spent.input - spent.cached - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": spent.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": spent.output,
        "service_tier": "standard",
    }


def _google(spent: Spent) -> dict[str, Any]:
    """Return usageMetadata: cached tokens inside the prompt's, thoughts beside the candidates'."""
    usage = {
        "promptTokenCount": spent.input,
        "candidatesTokenCount": spent.output - spent.reasoning,
        "totalTokenCount": spent.input + spent.output,
    }
    optional = {"cachedContentTokenCount": spent.cached, "thoughtsTokenCount": spent.reasoning}
    return usage | {name: tokens for name, tokens in optional.items() if tokens}


_FORMATS = {"openai": _openai, "anthropic": _anthropic, "google": _google}
