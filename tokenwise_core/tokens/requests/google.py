"""Bodies of Google: Gemini API and Vertex."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from tokenwise_core.messages import Message, OutputSchema, Prompt, ToolCall, ToolDefinition
from tokenwise_core.tokens.requests.shared import (
    Body,
    call_id,
    content_of,
    json_text,
    mapping,
    mappings,
    options_of,
    role_of,
    string,
)


def read_google(body: Body) -> Prompt:
    """Read a generateContent body."""
    messages: list[Message] = []
    system = body.get("systemInstruction") or body.get("system_instruction")
    if isinstance(system, Mapping):
        text, _ = content_of(system.get("parts"))
        messages.append(Message(role="system", text=text))
    elif isinstance(system, str):
        messages.append(Message(role="system", text=system))
    contents = body.get("contents")
    contents = [{"role": "user", "parts": [{"text": contents}]}] if isinstance(contents, str) else contents
    for content in mappings(contents):
        messages.extend(_google_messages(content, len(messages)))
    config = mapping(body.get("generationConfig") or body.get("generation_config"))
    schema = next((config[key] for key in _GOOGLE_SCHEMA if isinstance(config.get(key), Mapping)), None)
    return Prompt(
        messages=tuple(messages),
        tools=tuple(chain.from_iterable(_google_tools(tool) for tool in mappings(body.get("tools")))),
        output_schema=OutputSchema(schema=schema) if schema is not None else None,
        api="google",
        options={
            **options_of(body),
            **{key: config[key] for key in ("thinkingConfig", "thinking_config") if key in config},
        },
    )


_THINKING = ("thinkingConfig", "thinking_config")
_GOOGLE_SCHEMA = ("responseSchema", "responseJsonSchema", "response_schema", "response_json_schema")


def _google_messages(content: Body, index: int) -> Iterator[Message]:
    parts = list(mappings(content.get("parts")))
    for part in parts:
        result = mapping(part.get("functionResponse") or part.get("function_response"))
        if result:
            yield Message(role="tool", text=json_text(result.get("response")), name=string(result.get("name")) or None,
                          tool_call_id=call_id(result.get("id")), index=index)  # fmt: skip
            index += 1
    rest = [part for part in parts if not (part.get("functionResponse") or part.get("function_response"))]
    if parts and not rest:
        return
    text, media = content_of([part for part in rest if not part.get("thought")])
    calls = (mapping(part.get("functionCall") or part.get("function_call")) for part in rest)
    yield Message(
        role=role_of(content.get("role"), "user"),
        text=text,
        media=media,
        tool_calls=tuple(
            ToolCall(name=string(call.get("name")), arguments=json_text(call.get("args")), id=call_id(call.get("id")))
            for call in calls
            if call
        ),
        reasoning="".join(string(part.get("text")) for part in rest if part.get("thought")),
        index=index,
    )


def _google_tools(tool: Body) -> Iterator[ToolDefinition]:
    declared = tool.get("functionDeclarations") or tool.get("function_declarations")
    if declared is None:
        for kind in tool:
            yield ToolDefinition(name=kind, kind=kind, raw=tool)
        return
    for function in mappings(declared):
        parameters: Body = next((function[k] for k in _GOOGLE_PARAMETERS if isinstance(function.get(k), Mapping)), {})
        yield ToolDefinition(
            name=string(function.get("name")),
            description=string(function.get("description")),
            parameters=parameters,
            raw=function,
        )


_GOOGLE_PARAMETERS = ("parameters", "parametersJsonSchema", "parameters_json_schema")
