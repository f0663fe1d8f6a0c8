"""Bodies of OpenAI: Chat Completions, Responses, and the plain completion."""

from __future__ import annotations

from itertools import chain

from tokenwise_core.messages import Message, Prompt, ToolCall, ToolDefinition
from tokenwise_core.tokens.requests.shared import (
    Body,
    call_id,
    content_of,
    json_text,
    mapping,
    mappings,
    options_of,
    role_of,
    schema_of,
    string,
)


def read_chat(body: Body) -> Prompt:
    """Read a Chat Completions body."""
    tools = [_function(mapping(tool.get("function")), tool) for tool in mappings(body.get("tools"))]
    tools += [_function(function, function) for function in mappings(body.get("functions"))]
    schema = mapping(mapping(body.get("response_format")).get("json_schema"))
    return Prompt(
        messages=tuple(_chat_message(m, i) for i, m in enumerate(mappings(body.get("messages")))),
        tools=tuple(tools),
        output_schema=schema_of(schema),
        api="chat",
        options=options_of(body),
    )


def _chat_message(message: Body, index: int) -> Message:
    calls = [_chat_call(mapping(call.get("function") or call), call) for call in mappings(message.get("tool_calls"))]
    if mapping(message.get("function_call")):
        calls.append(_chat_call(message["function_call"], {}))
    text, media = content_of(message.get("content"))
    return Message(
        role=role_of(message.get("role")),
        text=text + string(message.get("refusal")),
        name=message.get("name") if isinstance(message.get("name"), str) else None,
        tool_calls=tuple(calls),
        tool_call_id=call_id(message.get("tool_call_id")),
        media=media,
        reasoning=string(message.get("reasoning_content")) or string(message.get("reasoning")),
        index=index,
    )


def _chat_call(function: Body, call: Body) -> ToolCall:
    return ToolCall(
        name=string(function.get("name")), arguments=json_text(function.get("arguments")), id=call_id(call.get("id"))
    )


def _function(function: Body, raw: Body) -> ToolDefinition:
    kind = string(raw.get("type")) or "function"
    return ToolDefinition(
        name=string(function.get("name")) or kind,
        description=string(function.get("description")),
        parameters=mapping(function.get("parameters")),
        strict=function.get("strict") if isinstance(function.get("strict"), bool) else None,
        kind="function" if function.get("name") else kind,
        raw=raw,
    )


def read_responses(body: Body) -> Prompt:
    """Read a Responses body."""
    messages: list[Message] = []
    if isinstance(body.get("instructions"), str) and body["instructions"]:
        messages.append(Message(role="system", text=body["instructions"]))
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else mappings(given)
    for item in items:
        messages.append(_responses_item(item, len(messages)))
    added = [tool for item in items if item.get("type") == "additional_tools" for tool in mappings(item.get("tools"))]
    tools = tuple(_responses_tool(tool) for tool in (*mappings(body.get("tools")), *added))
    answer = mapping(mapping(body.get("text")).get("format"))
    return Prompt(
        messages=tuple(messages),
        tools=tools,
        output_schema=schema_of(answer) if answer.get("type") == "json_schema" else None,
        api="responses",
        options={**options_of(body), **({"tools_added": len(added)} if added else {})},
    )


def _responses_item(item: Body, index: int) -> Message:
    kind = string(item.get("type")) or "message"
    if kind in ("function_call", "custom_tool_call", "mcp_call"):
        arguments = json_text(item.get("arguments") if "arguments" in item else item.get("input"))
        name = ".".join(part for part in (string(item.get("namespace")), string(item.get("name"))) if part)
        call = ToolCall(name=name, arguments=arguments, id=call_id(item.get("call_id")))
        return Message(role="assistant", tool_calls=(call,), index=index)
    if kind in ("function_call_output", "custom_tool_call_output"):
        text, media = content_of(item.get("output"))
        return Message(role="tool", text=text, media=media, tool_call_id=call_id(item.get("call_id")), index=index)
    if kind == "reasoning":
        shown = chain(mappings(item.get("content")), mappings(item.get("summary")))
        return Message(role="assistant", reasoning="".join(string(part.get("text")) for part in shown), index=index)
    text, media = content_of(item.get("content"))
    return Message(
        role=role_of(item.get("role"), "user" if kind == "message" else "assistant"),
        text=text,
        media=media,
        index=index,
    )


def _responses_tool(tool: Body) -> ToolDefinition:
    kind = string(tool.get("type")) or "function"
    if kind == "function":
        return _function(mapping(tool.get("function")) or tool, tool)
    return ToolDefinition(name=string(tool.get("name")) or kind, kind=kind, raw=tool)


def read_completion(body: Body) -> Prompt:
    """Read a body of the legacy completions."""
    given = body.get("prompt")
    given = [given] if isinstance(given, str) else given
    texts = [text for text in given if isinstance(text, str)] if isinstance(given, list | tuple) else []
    messages = tuple(Message(role="user", text=text, index=i) for i, text in enumerate(texts))
    return Prompt(messages=messages, api="completion", options=options_of(body))
