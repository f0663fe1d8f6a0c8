"""Request bodies as they go over the wire, read into a `Prompt`; odd shapes are skipped, never an error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from tokenwise_core.messages import Api, Media, Message, OutputSchema, Prompt, Role, ToolCall, ToolDefinition

Body = Mapping[str, Any]
_ROLES: dict[str, Role] = {
    "system": "system", "developer": "developer", "user": "user", "assistant": "assistant", "tool": "tool",
    "model": "assistant", "function": "tool", "ai": "assistant", "human": "user",
}  # fmt: skip
_CONTENT_KEYS = frozenset(
    ("messages", "tools", "functions", "input", "instructions", "system", "contents", "systemInstruction",
     "system_instruction", "toolConfig", "response_format", "text", "output_config", "output_format", "stream",
     "stream_options", "store", "user", "metadata", "n", "include", "model")
)  # fmt: skip


def detect_api(body: Body) -> Api:
    """Return the API that a request body is written for."""
    if "contents" in body or "systemInstruction" in body or "generationConfig" in body:
        return "google"
    if "inferenceConfig" in body or _is_bedrock_tools(body) or "additionalModelRequestFields" in body:
        return "bedrock"
    if "messages" not in body:
        return "completion" if "prompt" in body and "input" not in body else "responses"
    if _bedrock_content(body):
        return "bedrock"
    if _anthropic_marks(body):
        return "anthropic"
    return "chat"


def read_request(body: Body, api: Api | None = None) -> Prompt:
    """Return the prompt of a request body; *api* is detected when not given."""
    api = api or detect_api(body)
    return _READERS[api](body)


# OpenAI Chat Completions ----------------------------------------------------------------------------------------------


def _chat(body: Body) -> Prompt:
    tools = [_function(_mapping(tool.get("function")), tool) for tool in _mappings(body.get("tools"))]
    tools += [_function(function, function) for function in _mappings(body.get("functions"))]
    schema = _mapping(_mapping(body.get("response_format")).get("json_schema"))
    return Prompt(
        messages=tuple(_chat_message(m, i) for i, m in enumerate(_mappings(body.get("messages")))),
        tools=tuple(tools),
        output_schema=_schema(schema),
        api="chat",
        options=_options(body),
    )


def _chat_message(message: Body, index: int) -> Message:
    calls = [_chat_call(_mapping(call.get("function") or call), call) for call in _mappings(message.get("tool_calls"))]
    if isinstance(message.get("function_call"), Mapping):
        calls.append(_chat_call(message["function_call"], {}))
    text, media = _content(message.get("content"))
    return Message(
        role=_role(message.get("role")),
        text=text + _string(message.get("refusal")),
        name=message.get("name") if isinstance(message.get("name"), str) else None,
        tool_calls=tuple(calls),
        tool_call_id=_id(message.get("tool_call_id")),
        media=media,
        reasoning=_string(message.get("reasoning_content")) or _string(message.get("reasoning")),
        index=index,
    )


def _chat_call(function: Body, call: Body) -> ToolCall:
    return ToolCall(name=_string(function.get("name")), arguments=_json(function.get("arguments")), id=_id(call.get("id")))


def _function(function: Body, raw: Body) -> ToolDefinition:
    kind = _string(raw.get("type")) or "function"
    return ToolDefinition(
        name=_string(function.get("name")) or kind,
        description=_string(function.get("description")),
        parameters=_mapping(function.get("parameters")),
        strict=function.get("strict") if isinstance(function.get("strict"), bool) else None,
        kind="function" if function.get("name") else kind,
        raw=raw,
    )


# OpenAI Responses -----------------------------------------------------------------------------------------------------


def _responses(body: Body) -> Prompt:
    messages: list[Message] = []
    if isinstance(body.get("instructions"), str) and body["instructions"]:
        messages.append(Message(role="system", text=body["instructions"]))
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else _mappings(given)
    for item in items:
        messages.append(_responses_item(item, len(messages)))
    added = [tool for item in items if item.get("type") == "additional_tools" for tool in _mappings(item.get("tools"))]
    tools = tuple(
        _function(_mapping(tool.get("function")) or tool, tool) if tool.get("type") in (None, "function") else _builtin(tool)
        for tool in (*_mappings(body.get("tools")), *added)
    )
    answer = _mapping(_mapping(body.get("text")).get("format"))
    return Prompt(
        messages=tuple(messages),
        tools=tools,
        output_schema=_schema(answer) if answer.get("type") == "json_schema" else None,
        api="responses",
        options={**_options(body), **({"tools_added": len(added)} if added else {})},
    )


def _responses_item(item: Body, index: int) -> Message:
    kind = _string(item.get("type")) or "message"
    if kind in ("function_call", "custom_tool_call", "mcp_call"):
        arguments = _json(item.get("arguments") if "arguments" in item else item.get("input"))
        call = ToolCall(name=_string(item.get("name")), arguments=arguments, id=_id(item.get("call_id")))
        return Message(role="assistant", tool_calls=(call,), index=index)
    if kind in ("function_call_output", "custom_tool_call_output"):
        text, media = _content(item.get("output"))
        return Message(role="tool", text=text, media=media, tool_call_id=_id(item.get("call_id")), index=index)
    if kind == "reasoning":
        shown = chain(_mappings(item.get("content")), _mappings(item.get("summary")))
        return Message(role="assistant", reasoning="".join(_string(part.get("text")) for part in shown), index=index)
    text, media = _content(item.get("content"))
    return Message(role=_role(item.get("role"), "user" if kind == "message" else "assistant"), text=text, media=media, index=index)


def _builtin(tool: Body) -> ToolDefinition:
    kind = _string(tool.get("type")) or "function"
    return ToolDefinition(name=_string(tool.get("name")) or kind, kind=kind, raw=tool)


# Anthropic ------------------------------------------------------------------------------------------------------------


def _anthropic(body: Body) -> Prompt:
    messages: list[Message] = []
    system, _ = _content(body.get("system"))
    if system:
        messages.append(Message(role="system", text=system))
    for message in _mappings(body.get("messages")):
        messages.extend(_block_messages(message, len(messages)))
    answer = _mapping(_mapping(body.get("output_config")).get("format")) or _mapping(body.get("output_format"))
    tools = (
        ToolDefinition(
            name=_string(tool.get("name")) or _string(tool.get("type")),
            description=_string(tool.get("description")),
            parameters=_mapping(tool.get("input_schema")),
            kind="function" if "input_schema" in tool else _string(tool.get("type")) or "function",
            raw=tool,
        )
        for tool in _mappings(body.get("tools"))
    )
    return Prompt(
        messages=tuple(messages), tools=tuple(tools), output_schema=_schema(answer), api="anthropic", options=_options(body)
    )


def _block_messages(message: Body, index: int) -> Iterator[Message]:
    """Yield a message of blocks; each tool result of a user's turn becomes a message of its own, as in other APIs."""
    content = message.get("content")
    blocks = list(_mappings(content)) if isinstance(content, list) else []
    rest = [block for block in blocks if not _is_result(block)]
    for block in blocks:
        if _is_result(block):
            result = _mapping(block.get("toolResult")) or block
            text, media = _content(result.get("content"))
            call_id = _id(result.get("tool_use_id") or result.get("toolUseId"))
            yield Message(role="tool", text=text, media=media, tool_call_id=call_id, index=index)
            index += 1
    if blocks and not rest:
        return
    text, media = _content(rest if blocks else content)
    yield Message(
        role=_role(message.get("role")),
        text=text,
        media=media,
        tool_calls=tuple(call for block in rest for call in _block_calls(block)),
        reasoning="".join(_block_reasoning(block) for block in rest),
        index=index,
    )


def _is_result(block: Body) -> bool:
    return block.get("type") == "tool_result" or isinstance(block.get("toolResult"), Mapping)


def _block_calls(block: Body) -> Iterator[ToolCall]:
    use = _mapping(block.get("toolUse")) or (block if block.get("type") in ("tool_use", "server_tool_use") else {})
    if use:
        call_id = _id(use.get("id") or use.get("toolUseId"))
        yield ToolCall(name=_string(use.get("name")), arguments=_json(use.get("input")), id=call_id)


def _block_reasoning(block: Body) -> str:
    shown = _mapping(_mapping(block.get("reasoningContent")).get("reasoningText")).get("text")
    return _string(block.get("thinking")) if block.get("type") == "thinking" else _string(shown)


# Bedrock Converse -----------------------------------------------------------------------------------------------------


def _bedrock(body: Body) -> Prompt:
    messages: list[Message] = []
    system, _ = _content(body.get("system"))
    if system:
        messages.append(Message(role="system", text=system))
    for message in _mappings(body.get("messages")):
        messages.extend(_block_messages(message, len(messages)))
    tools = []
    for tool in _mappings(_mapping(body.get("toolConfig")).get("tools")):
        spec = _mapping(tool.get("toolSpec"))
        if spec:
            parameters = _mapping(_mapping(spec.get("inputSchema")).get("json"))
            description = _string(spec.get("description"))
            tools.append(ToolDefinition(name=_string(spec.get("name")), description=description, parameters=parameters, raw=tool))
        elif "cachePoint" not in tool:
            tools.append(ToolDefinition(name=next(iter(tool), "tool"), kind=next(iter(tool), "tool"), raw=tool))
    choice = _mapping(body.get("toolConfig")).get("toolChoice")
    return Prompt(
        messages=tuple(messages),
        tools=tuple(tools),
        output_schema=_bedrock_schema(body),
        api="bedrock",
        options={**_options(body), **({"tool_choice": choice} if choice else {})},
    )


def _bedrock_schema(body: Body) -> OutputSchema | None:
    structure = _mapping(_mapping(_mapping(body.get("outputConfig")).get("textFormat")).get("structure"))
    return _schema(_mapping(structure.get("jsonSchema")))


# Google ---------------------------------------------------------------------------------------------------------------


def _google(body: Body) -> Prompt:
    messages: list[Message] = []
    system = body.get("systemInstruction") or body.get("system_instruction")
    if isinstance(system, Mapping):
        text, _ = _content(system.get("parts"))
        messages.append(Message(role="system", text=text))
    elif isinstance(system, str):
        messages.append(Message(role="system", text=system))
    contents = body.get("contents")
    contents = [{"role": "user", "parts": [{"text": contents}]}] if isinstance(contents, str) else contents
    for content in _mappings(contents):
        messages.extend(_google_messages(content, len(messages)))
    config = _mapping(body.get("generationConfig") or body.get("generation_config"))
    schema = next((config[key] for key in _GOOGLE_SCHEMA if isinstance(config.get(key), Mapping)), None)
    return Prompt(
        messages=tuple(messages),
        tools=tuple(chain.from_iterable(_google_tools(tool) for tool in _mappings(body.get("tools")))),
        output_schema=OutputSchema(schema=schema) if schema is not None else None,
        api="google",
        options={**_options(body), **{key: config[key] for key in ("thinkingConfig", "thinking_config") if key in config}},
    )


_GOOGLE_SCHEMA = ("responseSchema", "responseJsonSchema", "response_schema", "response_json_schema")


def _google_messages(content: Body, index: int) -> Iterator[Message]:
    parts = list(_mappings(content.get("parts")))
    for part in parts:
        result = _mapping(part.get("functionResponse") or part.get("function_response"))
        if result:
            yield Message(role="tool", text=_json(result.get("response")), name=_string(result.get("name")) or None,
                          tool_call_id=_id(result.get("id")), index=index)  # fmt: skip
            index += 1
    rest = [part for part in parts if not (part.get("functionResponse") or part.get("function_response"))]
    if parts and not rest:
        return
    text, media = _content([part for part in rest if not part.get("thought")])
    calls = (_mapping(part.get("functionCall") or part.get("function_call")) for part in rest)
    yield Message(
        role=_role(content.get("role"), "user"),
        text=text,
        media=media,
        tool_calls=tuple(
            ToolCall(name=_string(call.get("name")), arguments=_json(call.get("args")), id=_id(call.get("id")))
            for call in calls
            if call
        ),
        reasoning="".join(_string(part.get("text")) for part in rest if part.get("thought")),
        index=index,
    )


def _google_tools(tool: Body) -> Iterator[ToolDefinition]:
    declared = tool.get("functionDeclarations") or tool.get("function_declarations")
    if declared is None:
        for kind in tool:
            yield ToolDefinition(name=kind, kind=kind, raw=tool)
        return
    for function in _mappings(declared):
        parameters = next((function[k] for k in _GOOGLE_PARAMETERS if isinstance(function.get(k), Mapping)), {})
        yield ToolDefinition(
            name=_string(function.get("name")), description=_string(function.get("description")), parameters=parameters, raw=function
        )


_GOOGLE_PARAMETERS = ("parameters", "parametersJsonSchema", "parameters_json_schema")


# Plain completion -----------------------------------------------------------------------------------------------------


def _completion(body: Body) -> Prompt:
    given = body.get("prompt")
    texts = [given] if isinstance(given, str) else [text for text in given or () if isinstance(text, str)]
    messages = tuple(Message(role="user", text=text, index=i) for i, text in enumerate(texts))
    return Prompt(messages=messages, api="completion", options=_options(body))


# Shared pieces --------------------------------------------------------------------------------------------------------


def _content(content: Any) -> tuple[str, tuple[Media, ...]]:
    """Return the text of blocks joined without a separator, and what else they show."""
    if content is None:
        return "", ()
    if isinstance(content, str):
        return content, ()
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list | tuple):
        return str(content), ()
    texts: list[str] = []
    media: list[Media] = []
    for block in content:
        if isinstance(block, str):
            texts.append(block)
        elif isinstance(block, Mapping):
            found = _medium(block)
            if found is not None:
                media.append(found)
            else:
                texts.append(_block_text(block))
    return "".join(texts), tuple(media)


def _block_text(block: Body) -> str:
    if isinstance(block.get("text"), str) and not block.get("thought"):
        return str(block["text"])
    if "json" in block:
        return _json(block["json"])
    if isinstance(block.get("refusal"), str):
        return str(block["refusal"])
    return ""


_MEDIA_KEYS = {
    "image": "image", "image_url": "image", "input_image": "image", "input_audio": "audio", "audio": "audio",
    "video": "video", "video_url": "video", "document": "file", "file": "file", "input_file": "file", "inlineData": "file",
    "fileData": "file", "inline_data": "file", "file_data": "file", "container_upload": "file",
}  # fmt: skip


def _medium(block: Body) -> Media | None:
    kind = block.get("type")
    key = kind if kind in _MEDIA_KEYS else next((k for k in block if k in _MEDIA_KEYS and k != "text"), None)
    if key is None:
        return None
    inner = _mapping(block.get(key))
    mime = _string(inner.get("mimeType") or inner.get("mime_type") or inner.get("media_type")).split("/")[0]
    sort = mime if mime in ("image", "audio", "video") else _MEDIA_KEYS[key]
    detail = inner.get("detail") or block.get("detail")
    return Media(kind=sort, detail=detail if isinstance(detail, str) else None)  # type: ignore[arg-type]


def _schema(answer: Body) -> OutputSchema | None:
    schema = answer.get("schema")
    if isinstance(schema, str):
        schema = _parsed(schema)
    if not isinstance(schema, Mapping):
        return None
    strict = answer.get("strict")
    return OutputSchema(
        name=_string(answer.get("name")) or "response",
        schema=schema,
        description=_string(answer.get("description")),
        strict=strict if isinstance(strict, bool) else None,
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _options(body: Body) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in _CONTENT_KEYS}


def _role(role: Any, default: Role = "user") -> Role:
    return _ROLES.get(role, default) if isinstance(role, str) else default


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _json(value: Any) -> str:
    """Return the JSON text that stands on the wire: as given, else written as the providers' SDKs write it."""
    if isinstance(value, str):
        return value
    return json.dumps({} if value is None else value, ensure_ascii=False, default=str)


def _mapping(value: Any) -> Body:
    return value if isinstance(value, Mapping) else {}


def _mappings(values: Any) -> Iterable[Body]:
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list | tuple) else []


def _is_bedrock_tools(body: Body) -> bool:
    return isinstance(body.get("toolConfig"), Mapping) and "tools" in body["toolConfig"]


def _bedrock_content(body: Body) -> bool:
    """A Converse block has no `type`: its key names it."""
    blocks = (b for m in _mappings(body.get("messages")) for b in _mappings(m.get("content")))
    first = next(iter(blocks), None)
    return first is not None and "type" not in first


def _anthropic_marks(body: Body) -> bool:
    if "system" in body or "thinking" in body or "anthropic_version" in body:
        return True
    if any("input_schema" in tool for tool in _mappings(body.get("tools"))):
        return True
    kinds = {b.get("type") for m in _mappings(body.get("messages")) for b in _mappings(m.get("content"))}
    if kinds & {"tool_use", "tool_result", "thinking"}:
        return True
    return "max_tokens" in body and "claude" in _string(body.get("model")) and not body.get("response_format")


_READERS = {
    "chat": _chat,
    "responses": _responses,
    "anthropic": _anthropic,
    "google": _google,
    "bedrock": _bedrock,
    "completion": _completion,
}
