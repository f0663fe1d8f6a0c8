"""Bodies made of content blocks: Anthropic Messages and Bedrock Converse."""

from __future__ import annotations

from collections.abc import Iterator

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
    schema_of,
    string,
)


def read_anthropic(body: Body) -> Prompt:
    """Read a Messages body."""
    messages: list[Message] = []
    system, _ = content_of(body.get("system"))
    if system:
        messages.append(Message(role="system", text=system))
    for message in mappings(body.get("messages")):
        messages.extend(_block_messages(message, len(messages)))
    answer = mapping(mapping(body.get("output_config")).get("format")) or mapping(body.get("output_format"))
    tools = (
        ToolDefinition(
            name=string(tool.get("name")) or string(tool.get("type")),
            description=string(tool.get("description")),
            parameters=mapping(tool.get("input_schema")),
            kind="function" if "input_schema" in tool else string(tool.get("type")) or "function",
            raw=tool,
        )
        for tool in mappings(body.get("tools"))
    )
    return Prompt(
        messages=tuple(messages),
        tools=tuple(tools),
        output_schema=schema_of(answer),
        api="anthropic",
        options=options_of(body),
    )


def _block_messages(message: Body, index: int) -> Iterator[Message]:
    """Yield a message of blocks; each tool result of a user's turn becomes a message of its own, as in other APIs."""
    content = message.get("content")
    blocks = list(mappings(content)) if isinstance(content, list) else []
    rest = [block for block in blocks if not _is_result(block)]
    for block in blocks:
        if _is_result(block):
            result = mapping(block.get("toolResult")) or block
            text, media = content_of(result.get("content"))
            call = call_id(result.get("tool_use_id") or result.get("toolUseId"))
            yield Message(role="tool", text=text, media=media, tool_call_id=call, index=index)
            index += 1
    if blocks and not rest:
        return
    text, media = content_of(rest if blocks else content)
    yield Message(
        role=role_of(message.get("role")),
        text=text,
        media=media,
        tool_calls=tuple(call for block in rest for call in _block_calls(block)),
        reasoning="".join(_block_reasoning(block) for block in rest),
        index=index,
    )


def _is_result(block: Body) -> bool:
    return block.get("type") == "tool_result" or bool(mapping(block.get("toolResult")))


def _block_calls(block: Body) -> Iterator[ToolCall]:
    use = mapping(block.get("toolUse")) or (block if block.get("type") in ("tool_use", "server_tool_use") else {})
    if use:
        wire_id = call_id(use.get("id") or use.get("toolUseId"))
        yield ToolCall(name=string(use.get("name")), arguments=json_text(use.get("input")), id=wire_id)


def _block_reasoning(block: Body) -> str:
    shown = mapping(mapping(block.get("reasoningContent")).get("reasoningText")).get("text")
    return string(block.get("thinking")) if block.get("type") == "thinking" else string(shown)


def read_bedrock(body: Body) -> Prompt:
    """Read a Converse body."""
    messages: list[Message] = []
    system, _ = content_of(body.get("system"))
    if system:
        messages.append(Message(role="system", text=system))
    for message in mappings(body.get("messages")):
        messages.extend(_block_messages(message, len(messages)))
    tools = []
    for tool in mappings(mapping(body.get("toolConfig")).get("tools")):
        spec = mapping(tool.get("toolSpec"))
        if spec:
            parameters = mapping(mapping(spec.get("inputSchema")).get("json"))
            description = string(spec.get("description"))
            tools.append(
                ToolDefinition(name=string(spec.get("name")), description=description, parameters=parameters, raw=tool)
            )
        elif "cachePoint" not in tool:
            tools.append(ToolDefinition(name=next(iter(tool), "tool"), kind=next(iter(tool), "tool"), raw=tool))
    choice = mapping(body.get("toolConfig")).get("toolChoice")
    return Prompt(
        messages=tuple(messages),
        tools=tuple(tools),
        output_schema=_bedrock_schema(body),
        api="bedrock",
        options={**options_of(body), **({"tool_choice": choice} if choice else {})},
    )


def _bedrock_schema(body: Body) -> OutputSchema | None:
    structure = mapping(mapping(mapping(body.get("outputConfig")).get("textFormat")).get("structure"))
    return schema_of(mapping(structure.get("jsonSchema")))
