"""What frameworks send beside the messages, in any provider's form: tools, answer schemas, counted options, marks.

Both adapters hand over their call's parameters as they are; nothing here raises on what it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from tokenwise_core.messages import Api, OutputSchema, Tag, ToolDefinition
from tokenwise_core.tokens import read_request
from tokenwise_core.usage.components import Component

Fields = Mapping[str, Any]

_COMPONENTS = frozenset(str(component) for component in Component)
_COUNTED = (
    "tool_choice", "parallel_tool_calls", "max_tokens", "max_completion_tokens", "max_output_tokens", "reasoning",
    "reasoning_effort", "thinking", "thinking_budget", "thinking_config", "previous_response_id", "truncation",
)  # fmt: skip


def counted_options(params: Fields) -> dict[str, Any]:
    """Return the parameters that change what a prompt counts, or what is replayed for it."""
    return {name: params[name] for name in _COUNTED if params.get(name) is not None}


def read_tools(tools: Iterable[Fields]) -> tuple[ToolDefinition, ...]:
    """Read tool specifications, each in the form of any provider, in their order."""
    runs = ((api, list(run)) for api, run in groupby(tools, key=_form))
    return tuple(tool for api, run in runs for tool in read_request(_body(api, run), api).tools)


def _form(tool: Fields) -> Api:
    """Return the API in whose form a tool is written; the Responses reader knows the chat form and built-in tools."""
    if "toolSpec" in tool:
        return "bedrock"
    if "functionDeclarations" in tool or "function_declarations" in tool:
        return "google"
    if "input_schema" in tool:
        return "anthropic"
    return "responses" if "type" in tool else "chat"


def _body(api: Api, tools: list[Fields]) -> Fields:
    """Return the request body that carries *tools*; in the chat form the older, bare functions."""
    if api == "bedrock":
        return {"toolConfig": {"tools": tools}}
    return {"functions": tools} if api == "chat" else {"tools": tools}


def read_output_schema(params: Fields) -> OutputSchema | None:
    """Return the JSON schema that the answer must follow, in whichever parameter the provider takes it."""
    answer, text = params.get("response_format"), params.get("text")
    if isinstance(answer, type):
        schema = getattr(answer, "model_json_schema", None)
        return OutputSchema(name=answer.__name__, schema=schema(), strict=True) if callable(schema) else None
    if isinstance(answer, Mapping) and "json_schema" in answer:
        return read_request({"response_format": answer}, "chat").output_schema
    if isinstance(text, Mapping) and "format" in text:
        return read_request({"text": text}, "responses").output_schema
    if isinstance(params.get("output_config"), Mapping) or isinstance(params.get("output_format"), Mapping):
        return read_request(params, "anthropic").output_schema
    for key in ("response_schema", "response_json_schema", "format"):  # Google; Ollama
        if isinstance(params.get(key), Mapping):
            return OutputSchema(schema=params[key])
    return None


def read_tags(mark: object) -> Iterator[Tag]:
    """Yield the provenance in a mark of ours: a dict or a list of them, with `component`, `start` and `end`."""
    for one in listed(mark) or (mark,):
        if isinstance(one, Mapping) and str(one.get("component")) in _COMPONENTS:
            start, end, source = one.get("start"), one.get("end"), one.get("source")
            yield Tag(
                component=str(one["component"]),
                source=source if isinstance(source, str) else None,
                start=start if isinstance(start, int) else 0,
                end=end if isinstance(end, int) else None,
            )


def listed(value: object) -> Sequence[Any]:
    """Return a list or tuple as it is, nothing for anything else."""
    return value if isinstance(value, list | tuple) else ()
