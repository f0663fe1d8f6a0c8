"""Prompts of models whose rendering is not published: a stand-in tokeniser and the family's measured numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from tokenwise_core.messages import Message, OutputSchema, Prompt, ToolDefinition
from tokenwise_core.protocols import CountText
from tokenwise_core.tokens.counts import Basis, MessageCount, PromptCount
from tokenwise_core.tokens.media import ImageRule, media_tokens
from tokenwise_core.tokens.memo import Memo, schema_key
from tokenwise_core.tokens.models import Family
from tokenwise_core.usage.components import CountSource, worst_source


class FamilyRendering:
    """Counts prompts of one family; *count* is the stand-in tokeniser's memoised count."""

    def __init__(self, count: CountText, family: Family, image: ImageRule) -> None:
        self._count = count
        self._family = family
        self._image = image
        self._tools: Memo[tuple[tuple[ToolDefinition, ...], tuple[int, ...]]] = Memo(64)
        self._by_text: Memo[int] = Memo(2_000)

    def prompt(self, prompt: Prompt, *, source: CountSource) -> PromptCount:
        """Count *prompt* by part, uncalibrated; never better than estimated, however good *source* of its texts is."""
        family = self._family
        counted = PromptCount(
            messages=tuple(self._message(message) for message in prompt.messages),
            tools=self._tool_counts(prompt.tools) if prompt.tools else (),
            tools_overhead=self._around_tools(prompt) if prompt.tools else 0,
            schema=self._schema(prompt.output_schema) if prompt.output_schema is not None else 0,
            overhead=round(family.constant + (family.thinking if is_thinking(prompt.options) else 0)),
            source=worst_source((source, CountSource.ESTIMATED)),
        )
        return replace(counted, basis=Basis(estimate=counted.total, tools=bool(prompt.tools)))

    def _message(self, message: Message) -> MessageCount:
        count, family = self._count, self._family
        calls = sum(count(call.name) + count(call.arguments) for call in message.tool_calls)
        return MessageCount(
            text=round(family.text * count(message.text)),
            tool_calls=round(family.text * calls + family.per_call * len(message.tool_calls)),
            name=count(message.name) if message.name and message.role != "tool" else 0,
            reasoning=round(family.text * count(message.reasoning)),
            media=media_tokens(message.media, self._image) if message.media else 0,
            overhead=round(self._overhead(message)),
        )

    def _overhead(self, message: Message) -> float:
        if message.role in ("system", "developer"):
            return self._family.per_system
        return self._family.per_result if message.role == "tool" else self._family.per_message

    def _around_tools(self, prompt: Prompt) -> int:
        family = self._family
        forced = family.forced_tools if is_forced(prompt.options) else 0
        return round(family.tools_constant + family.per_tool * (len(prompt.tools) - 1) + forced)

    def _schema(self, schema: OutputSchema) -> int:
        shown = json.dumps(schema.schema, separators=(",", ":"), ensure_ascii=False, default=str)
        return round(self._family.schema * self._count(shown) + self._family.schema_constant)

    def _tool_counts(self, tools: tuple[ToolDefinition, ...]) -> tuple[int, ...]:
        key = tuple(map(id, tools))
        known = self._tools.get(key)
        if known is None:  # the memo holds the tools too, so that their ids stay theirs
            known = (tools, tuple(self._tool(tool) for tool in tools))
            self._tools.put(key, known)
        return known[1]

    def _definition(self, tool: ToolDefinition) -> float:
        if not self._family.tools_in_words or tool.kind != "function":
            return self._count(tool_json(tool))
        properties = tool.parameters.get("properties")
        count = len(properties) if isinstance(properties, Mapping) else 0
        words = (tool.name, tool.description, *words_of({**tool.parameters, "type": None}))
        return sum(map(self._count, words)) + self._family.per_property * count

    def _tool(self, tool: ToolDefinition) -> int:
        key = (tool.name, tool.description, schema_key(tool.parameters if tool.kind == "function" else tool.raw))
        known = self._by_text.get(key)
        if known is None:
            known = round(self._family.tools * self._definition(tool))
            self._by_text.put(key, known)
        return known


def words_of(schema: Any) -> Iterator[str]:
    """Yield the property names, types, values and descriptions of a schema, without its JSON."""
    if not isinstance(schema, Mapping):
        return
    for key in ("description", "type"):
        if isinstance(schema.get(key), str):
            yield schema[key]
    values = schema.get("enum")
    yield from map(str, values if isinstance(values, list | tuple) else ())
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, Mapping) else ():
        yield name
        yield from words_of(inner)
    yield from words_of(schema.get("items"))


def tool_json(tool: ToolDefinition) -> str:
    """Return a tool as most providers are sent it."""
    if tool.kind != "function" and tool.raw is not None:
        return json.dumps(tool.raw, ensure_ascii=False, default=str)
    shown = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return json.dumps(shown, ensure_ascii=False, default=str)


def is_forced(options: Mapping[str, Any]) -> bool:
    """Tell whether the request demands a tool call, in any provider's words."""
    choice = options.get("tool_choice")
    if isinstance(choice, str):
        return choice in ("required", "any")
    if not isinstance(choice, Mapping):
        return False
    return choice.get("type") in ("any", "tool", "function") or "any" in choice or "tool" in choice


def is_thinking(options: Mapping[str, Any]) -> bool:
    """Tell whether extended thinking is switched on, in the words of Anthropic, Bedrock or a router."""
    extra = options.get("additionalModelRequestFields")
    extra = extra if isinstance(extra, Mapping) else {}
    thinking = options.get("thinking") or extra.get("thinking") or extra.get("reasoning_config")
    if isinstance(thinking, Mapping):
        return thinking.get("type") == "enabled"
    reasoning = options.get("reasoning")
    if isinstance(reasoning, Mapping):
        return bool(reasoning.get("enabled", reasoning.get("effort") not in (None, "none", "minimal")))
    return False
