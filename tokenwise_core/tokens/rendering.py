"""How OpenAI renders a prompt before it is tokenised: messages, tool rounds, tool definitions, answer schemas.

Worked out on recorded requests with their reported usage (one half to find a rule, the other to check it), beside
hmarr/openai-chat-tokens for the cl100k models and openai-harmony for the shape of the reasoning models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenwise_core.messages import Message, OutputSchema, Prompt, ToolCall, ToolDefinition
from tokenwise_core.protocols import CountText
from tokenwise_core.tokens.counts import Basis, MessageCount, PromptCount
from tokenwise_core.tokens.media import ImageRule, media_tokens
from tokenwise_core.tokens.memo import Memo, schema_key
from tokenwise_core.tokens.models import Family
from tokenwise_core.tokens.typescript import compact_function, function_text
from tokenwise_core.usage.components import CountSource, worst_source

_HEAD, _TAIL = "namespace functions {\n\n", "} // namespace functions"
_SECTION = "# Tools\n\n## functions\n\n"
MESSAGE = 3
"""Tokens around a message: start, end of the role, end."""
PREAMBLE = 82
"""Hidden text that reasoning models get with tools in Chat Completions, or with tools added on the way (Responses)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What one template does, in one API; numbers are tokens.

    *reply* opens the answer. *joins_system*: tool definitions are appended to the first system message, else they are
    a message of their own. *section*: the headings before the namespace are there. *around_tools* is what is left to
    explain around the definitions. *unnamed_first* applies when the first tool has no description or no parameters.
    *compact_arguments*: JSON arguments are shown again without spaces. *wraps_parallel*: calls made at once are shown
    as one call of `multi_tool_use.parallel`.
    """

    reply: int = 3
    joins_system: bool = True
    section: bool = True
    around_tools: int = -1
    unnamed_first: int = 0
    schema: int = 0
    call: int = 0
    assistant: int = 0
    compact_arguments: bool = True
    wraps_parallel: bool = False


RULES: Mapping[tuple[str, str], Rules] = {
    ("cl100k", "chat"): Rules(section=False, around_tools=5, compact_arguments=False, wraps_parallel=True),
    ("o200k", "chat"): Rules(wraps_parallel=True),
    ("o200k", "responses"): Rules(joins_system=False, section=False, call=-2),
    ("reasoning", "chat"): Rules(
        reply=2, joins_system=False, around_tools=PREAMBLE - 1, unnamed_first=-1, schema=-1, call=6
    ),
    ("reasoning", "responses"): Rules(
        reply=2, joins_system=False, around_tools=-1, unnamed_first=-1, schema=-1, call=4, assistant=2,
        compact_arguments=False,
    ),
}  # fmt: skip


class OpenAIRendering:
    """Counts prompts of one OpenAI family; *count* is the tokeniser's memoised count."""

    def __init__(self, count: CountText, family: Family, image: ImageRule) -> None:
        self._count = count
        self._family = family
        self._image = image
        self._tools: Memo[tuple[tuple[ToolDefinition, ...], tuple[int, ...]]] = Memo(64)
        self._by_text: Memo[int] = Memo(2_000)

    def prompt(self, prompt: Prompt, *, source: CountSource) -> PromptCount:
        """Count *prompt* by part; *source* is what the tokeniser itself is good for."""
        rules = self._rules(prompt)
        round_ = _Round(prompt.messages)
        host = _host(prompt.messages) if prompt.tools and rules.joins_system else -1
        messages = tuple(
            self._message(message, rules, round_, hosts=place == host) for place, message in enumerate(prompt.messages)
        )
        counted = PromptCount(
            messages=messages,
            tools=self._tool_counts(prompt.tools) if prompt.tools else (),
            tools_overhead=self._around_tools(prompt, rules, hosted=host >= 0) if prompt.tools else 0,
            schema=self._schema(prompt, rules) if prompt.output_schema else 0,
            overhead=rules.reply,
            source=worst_source((source, _certainty(prompt))),
        )
        if source is CountSource.EXACT:
            return counted
        return replace(counted, basis=Basis(estimate=counted.total, tools=bool(prompt.tools)))  # no tokeniser at hand

    def _rules(self, prompt: Prompt) -> Rules:
        # A router (`openai/gpt-5`) turns chat requests for reasoning models into Responses requests.
        api = "responses" if prompt.api == "responses" or self._family.routed else "chat"
        return RULES.get((self._family.template, api)) or RULES[self._family.template, "chat"]

    def _message(self, message: Message, rules: Rules, round_: _Round, *, hosts: bool) -> MessageCount:
        count = self._count
        overhead = MESSAGE + count(message.role)
        name = calls = 0
        if message.role == "tool":
            parallel = rules.wraps_parallel and round_.is_parallel(message)
            name = PARALLEL_RESULT if parallel else count(round_.name_of(message)) + (0 if self._legacy else 2)
            overhead -= self._legacy
        elif message.name:
            name = count(message.name) + 1
        if message.tool_calls:
            calls = self._calls(message.tool_calls, rules)
        elif message.role == "assistant":
            overhead += rules.assistant
        return MessageCount(
            text=count(message.text + self._seam) if hosts else count(message.text),
            tool_calls=calls,
            name=name,
            reasoning=count(message.reasoning) if message.reasoning else 0,
            media=media_tokens(message.media, self._image) if message.media else 0,
            overhead=overhead,
        )

    @property
    def _legacy(self) -> int:
        """A cl100k tool result bears the function's name in the place of a role."""
        return 1 if self._family.template == "cl100k" else 0

    @property
    def _seam(self) -> str:
        return "\n" if self._family.template == "cl100k" else "\n\n"

    def _calls(self, calls: Sequence[ToolCall], rules: Rules) -> int:
        count = self._count
        if len(calls) > 1 and rules.wraps_parallel:
            return count(" to=multi_tool_use.parallel") + count(_parallel(calls))
        if self._legacy:
            return sum(count(call.name) + count(call.arguments) + 3 for call in calls)
        show = compact if rules.compact_arguments else str
        return sum(count(" to=functions." + call.name) + count(show(call.arguments)) + rules.call for call in calls)

    def _around_tools(self, prompt: Prompt, rules: Rules, *, hosted: bool) -> int:
        """Return the marks around the definitions; those added on the way stand in a message of their own."""
        at = len(prompt.tools) - int(prompt.options.get("tools_added", 0))
        around = self._choice(prompt.options)
        if at > 0:
            around += self._namespace(prompt.tools[0], rules) + (0 if hosted else MESSAGE + 1)
        if at < len(prompt.tools):
            around += self._namespace(prompt.tools[max(at, 0)], rules) + PREAMBLE
        return around

    def _namespace(self, first: ToolDefinition, rules: Rules) -> int:
        head = (_SECTION if rules.section else "") + _HEAD + ("//" if first.description else "")
        around = self._count(head) + self._count(_TAIL) + rules.around_tools
        return around if first.description and first.parameters.get("properties") else around + rules.unnamed_first

    def _choice(self, options: Mapping[str, Any]) -> int:
        """Tokens that a named or forbidden call adds (cl100k models only)."""
        if not self._legacy:
            return 0
        choice, named = options.get("tool_choice"), 7
        if choice is None:
            choice, named = options.get("function_call"), 4
        if isinstance(choice, Mapping):
            function = choice.get("function", choice)
            return named + self._count(str(function.get("name", ""))) if isinstance(function, Mapping) else 0
        return 1 if choice == "none" else 0

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
        for tool, following in zip(tools, [*tools[1:], None], strict=True):
            slashes = "//" if following and following.description else ""
            yield self._piece(tool, slashes)

    def _piece(self, tool: ToolDefinition, slashes: str) -> int:
        key = (tool.name, tool.description, schema_key(tool.parameters), slashes)
        known = self._by_text.get(key)
        if known is None:
            if self._legacy:
                text = compact_function(tool.name, tool.description, tool.parameters)
            else:
                commented = self._family.template == "reasoning"
                text = function_text(tool.name, tool.description, tool.parameters, commented=commented)
            known = self._count(text.removeprefix("//") + "\n\n" + slashes)
            self._by_text.put(key, known)
        return known

    def _schema(self, prompt: Prompt, rules: Rules) -> int:
        schema = prompt.output_schema or OutputSchema()
        head = f"\n\n# Response Formats\n\n## {schema.name}\n\n"
        head += f"// {schema.description}\n" if schema.description else ""
        shown = json.dumps(_without_constraints(schema.schema), separators=(",", ":"), ensure_ascii=False, default=str)
        return self._count(head) + self._count(shown) + rules.schema


PARALLEL_RESULT = 3
"""Tokens in the place of a result's name when several calls were made at once: the same for all names."""


class _Round:
    """Which call a tool result answers: built only when the prompt has calls."""

    __slots__ = ("_names", "_parallel")

    def __init__(self, messages: Sequence[Message]) -> None:
        self._names: dict[str, str] = {}
        self._parallel: set[str] = set()
        for message in messages:
            if message.tool_calls:
                ids = [call.id for call in message.tool_calls if call.id]
                self._names.update((call.id, call.name) for call in message.tool_calls if call.id)
                if len(message.tool_calls) > 1:
                    self._parallel.update(ids)

    def name_of(self, result: Message) -> str:
        return self._names.get(result.tool_call_id or "", result.name or "")

    def is_parallel(self, result: Message) -> bool:
        return result.tool_call_id in self._parallel


def compact(arguments: str) -> str:
    """Return JSON without spaces, as arguments are shown to the model again; anything else as it is."""
    try:
        return json.dumps(json.loads(arguments), separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError):
        return arguments


def _parallel(calls: Sequence[ToolCall]) -> str:
    """Return the wrapper in which o200k models make several calls at once."""
    uses = ",".join(
        f'{{"recipient_name":"functions.{call.name}","parameters":{compact(call.arguments)}}}' for call in calls
    )
    return f'{{"tool_uses":[{uses}]}}'


def _without_constraints(schema: Any, *, names: bool = False) -> Any:
    """Return a schema as it is shown: without `required` and `additionalProperties`, which the decoder enforces.

    *names*: the keys are names of properties, none of which is left out.
    """
    if isinstance(schema, Mapping):
        return {
            key: _without_constraints(value, names=not names and key in ("properties", "$defs", "definitions"))
            for key, value in schema.items()
            if names or key not in ("required", "additionalProperties")
        }
    if isinstance(schema, list | tuple):
        return [_without_constraints(value) for value in schema]
    return schema


def _host(messages: Iterable[Message]) -> int:
    """Return the place of the message that the tool definitions are appended to, −1 when there is none."""
    return next((i for i, message in enumerate(messages) if message.role in ("system", "developer")), -1)


def _certainty(prompt: Prompt) -> CountSource:
    """Messages are rendered exactly; tools and schemas nearly so; media, built-in tools and replayed reasoning not."""
    if prompt.tools or prompt.output_schema is not None:
        return CountSource.ESTIMATED
    plain = all(not (m.media or m.reasoning or m.tool_calls or m.role == "tool") for m in prompt.messages)
    return CountSource.EXACT if plain else CountSource.ESTIMATED
