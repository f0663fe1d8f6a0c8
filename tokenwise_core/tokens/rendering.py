"""How OpenAI renders a prompt before it is tokenised: messages, tool rounds, tool definitions, answer schemas."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tokenwise_core.messages import Message, OutputSchema, Prompt, ToolDefinition
from tokenwise_core.protocols import CountText
from tokenwise_core.tokens.counts import MessageCount, PromptCount
from tokenwise_core.tokens.memo import Memo
from tokenwise_core.tokens.typescript import function_text
from tokenwise_core.usage.components import CountSource

_TOOLS_HEAD = "# Tools\n\n## functions\n\nnamespace functions {\n\n"
_TOOLS_TAIL = "} // namespace functions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Constants of one template, in tokens; see `RULES`."""

    reply: int = 3
    tools_constant: int = -1
    round: int = 0
    call: int = 5


RULES = {
    "cl100k": Rules(),
    "o200k": Rules(),
    "reasoning": Rules(reply=2, tools_constant=80, round=6),
}


class OpenAIRendering:
    """Counts prompts of one OpenAI template; *count* is the tokeniser's memoised count."""

    def __init__(self, count: CountText, template: str) -> None:
        self._count = count
        self._rules = RULES[template]
        self._tools: Memo[tuple[tuple[ToolDefinition, ...], tuple[int, ...]]] = Memo(64)

    def prompt(self, prompt: Prompt, *, source: CountSource) -> PromptCount:
        """Count *prompt* by part; *source* is what the tokeniser itself is good for."""
        names = _call_names(prompt.messages)
        tools = self._tool_counts(prompt.tools) if prompt.tools else ()
        host = _host(prompt.messages) if tools and self._rules.reply==3 else -1
        messages = tuple(
            self._message(message, names, hosts_tools=position == host, api=prompt.api) for position, message in enumerate(prompt.messages)
        )
        return PromptCount(
            messages=messages,
            tools=tools,
            tools_overhead=self._tools_overhead(host, described=bool(prompt.tools[0].description)) -(81 if prompt.api=="responses" and self._rules.reply==2 else 0) if tools else 0,
            schema=self._schema(prompt.output_schema) if prompt.output_schema else 0,
            overhead=self._rules.reply,
            source=source,
        )

    def _message(self, message: Message, names: Mapping[str, str], *, hosts_tools: bool, api="chat") -> MessageCount:
        count = self._count
        text = message.text + "\n\n" if hosts_tools else message.text
        name = 0
        if message.role == "tool":
            name = count(names.get(message.tool_call_id or "", message.name or "")) + 2
        elif message.name:
            name = count(message.name) + 1
        extra=0
        if self._rules.reply==2:
            if api=="responses":
                extra=4*len(message.tool_calls)
                if message.role=="assistant" and not message.tool_calls: extra=2
            else: extra=6*len(message.tool_calls)
        c = compact if api=="chat" else (lambda x:x)
        calls = sum(count(" to=functions." + call.name) + count(c(call.arguments)) for call in message.tool_calls)
        return MessageCount(text=count(text), tool_calls=calls, name=name, overhead=3 + count(message.role)+extra)

    def _tools_overhead(self, host: int, *, described: bool) -> int:
        own_message = 0 if host >= 0 else 4
        head = _TOOLS_HEAD + ("//" if described else "")
        return self._count(head) + self._count(_TOOLS_TAIL) + own_message + self._rules.tools_constant

    def _tool_counts(self, tools: tuple[ToolDefinition, ...]) -> tuple[int, ...]:
        key = tuple(map(id, tools))
        known = self._tools.get(key)
        if known is None:
            known = (tools, tuple(self._pieces(tools)))  # holding the tools keeps their ids theirs
            self._tools.put(key, known)
        return known[1]

    def _pieces(self, tools: Sequence[ToolDefinition]) -> Iterator[int]:
        """Yield each tool's tokens, cut where the tokeniser cuts too, so that they add up to those of the whole text.

        The marks `//` before a description merge with what stands before them, hence belong to the piece before.
        """
        count = self._count
        for tool, following in zip(tools, [*tools[1:], None], strict=True):
            text = function_text(tool.name, tool.description, tool.parameters)
            text = text.removeprefix("//") + "\n\n" + ("//" if following and following.description else "")
            yield count(text)

    def _schema(self, schema: OutputSchema) -> int:
        head = f"\n\n# Response Formats\n\n## {schema.name}\n\n" + (f"// {schema.description}\n" if schema.description else "")
        return self._count(head) + self._count(json.dumps(schema.schema, separators=(",", ":"))) - 10


def compact(arguments: str) -> str:
    """Return JSON without spaces, as arguments are shown to the model again; anything else as it is."""
    try:
        return json.dumps(json.loads(arguments), separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return arguments


def _host(messages: Iterable[Message]) -> int:
    """Return the place of the message that the tool definitions are appended to, −1 when there is none."""
    return next((i for i, message in enumerate(messages) if message.role in ("system", "developer")), -1)


def _call_names(messages: Iterable[Message]) -> dict[str, str]:
    """Return the tool's name by call id."""
    return {call.id: call.name for message in messages for call in message.tool_calls if call.id}
