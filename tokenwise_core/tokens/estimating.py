"""Prompts of models whose rendering is not known: a stand-in tokeniser and the family's measured factors."""

from __future__ import annotations

import json

from tokenwise_core.messages import Message, Prompt, ToolDefinition
from tokenwise_core.protocols import CountText
from tokenwise_core.tokens.counts import Basis, MessageCount, PromptCount
from tokenwise_core.tokens.media import media_tokens
from tokenwise_core.tokens.memo import Memo
from tokenwise_core.tokens.models import Family
from tokenwise_core.usage.components import CountSource


class FamilyRendering:
    """Counts prompts of one family; *count* is the stand-in tokeniser's memoised count."""

    def __init__(self, count: CountText, family: Family) -> None:
        self._count = count
        self._family = family
        self._tools: Memo[tuple[tuple[ToolDefinition, ...], tuple[int, ...]]] = Memo(64)

    def prompt(self, prompt: Prompt) -> PromptCount:
        """Count *prompt* by part, uncalibrated."""
        family = self._family
        messages = tuple(self._message(message) for message in prompt.messages)
        raw_tools = self._tool_counts(prompt.tools) if prompt.tools else ()
        tools = tuple(round(family.tools * tokens) for tokens in raw_tools)
        schema = 0
        if prompt.output_schema is not None:
            schema = round(family.tools * self._count(json.dumps(prompt.output_schema.schema)))
        counted = PromptCount(
            messages=messages,
            tools=tools,
            tools_overhead=round(family.tools_constant) if tools else 0,
            schema=schema,
            overhead=round(family.constant),
            source=CountSource.ESTIMATED,
        )
        basis = Basis(
            text=sum(message.total - message.overhead - message.media for message in messages),
            messages=len(messages),
            tools=sum(raw_tools),
            offered=len(tools),
            estimate=float(counted.total),
        )
        return PromptCount(
            messages=messages, tools=tools, tools_overhead=counted.tools_overhead, schema=schema,
            overhead=counted.overhead, source=CountSource.ESTIMATED, basis=basis,
        )  # fmt: skip

    def _message(self, message: Message) -> MessageCount:
        count, factor = self._count, self._family.text
        calls = sum(count(call.name) + count(call.arguments) for call in message.tool_calls)
        return MessageCount(
            text=round(factor * count(message.text)),
            tool_calls=round(factor * calls),
            name=count(message.name or ""),
            reasoning=round(factor * count(message.reasoning)),
            media=media_tokens(message.media, self._family) if message.media else 0,
            overhead=round(self._family.per_message),
        )

    def _tool_counts(self, tools: tuple[ToolDefinition, ...]) -> tuple[int, ...]:
        key = tuple(map(id, tools))
        known = self._tools.get(key)
        if known is None:
            known = (tools, tuple(self._count(_tool_json(tool)) for tool in tools))
            self._tools.put(key, known)
        return known[1]


def _tool_json(tool: ToolDefinition) -> str:
    if tool.kind != "function" and tool.raw is not None:
        return json.dumps(tool.raw, default=str)
    shown = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return json.dumps(shown, default=str)
