"""Pieces that every dialect is read with; nothing here raises on a shape that it does not know."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tokenwise_core.messages import Media, OutputSchema, Role

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


def content_of(content: Any) -> tuple[str, tuple[Media, ...]]:
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
        return json_text(block["json"])
    if isinstance(block.get("refusal"), str):
        return str(block["refusal"])
    return ""


_MEDIA_KEYS = {
    "image": "image", "image_url": "image", "input_image": "image", "input_audio": "audio", "audio": "audio",
    "video": "video", "video_url": "video", "document": "file", "file": "file", "input_file": "file",
    "inlineData": "file", "fileData": "file", "inline_data": "file", "file_data": "file", "container_upload": "file",
}  # fmt: skip


def _medium(block: Body) -> Media | None:
    kind = string(block.get("type"))
    key = kind if kind in _MEDIA_KEYS else next((k for k in block if k in _MEDIA_KEYS and k != "text"), None)
    if key is None:
        return None
    inner = mapping(block.get(key))
    mime = string(inner.get("mimeType") or inner.get("mime_type") or inner.get("media_type")).split("/")[0]
    sort = mime if mime in ("image", "audio", "video") else _MEDIA_KEYS[key]
    detail = inner.get("detail") or block.get("detail")
    return Media(kind=sort, detail=detail if isinstance(detail, str) else None)  # type: ignore[arg-type]


def schema_of(answer: Body) -> OutputSchema | None:
    """Return the answer schema of a `json_schema` format, None where there is none."""
    schema = answer.get("schema")
    if isinstance(schema, str):
        schema = _parsed(schema)
    if not isinstance(schema, Mapping):
        return None
    strict = answer.get("strict")
    return OutputSchema(
        name=string(answer.get("name")) or "response",
        schema=schema,
        description=string(answer.get("description")),
        strict=strict if isinstance(strict, bool) else None,
    )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def options_of(body: Body) -> dict[str, Any]:
    """Return the request's parameters: all that is not content."""
    return {key: value for key, value in body.items() if key not in _CONTENT_KEYS}


def role_of(role: Any, default: Role = "user") -> Role:
    """Return our name of a role, *default* for one that we do not know."""
    return _ROLES.get(role, default) if isinstance(role, str) else default


def string(value: Any) -> str:
    """Return *value* if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def call_id(value: Any) -> str | None:
    """Return *value* if it is a string, else None."""
    return value if isinstance(value, str) else None


def json_text(value: Any) -> str:
    """Return the JSON text that stands on the wire: as given, else written as the providers' SDKs write it."""
    if isinstance(value, str):
        return value
    return json.dumps({} if value is None else value, ensure_ascii=False, default=str)


def mapping(value: Any) -> Body:
    """Return *value* if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def mappings(values: Any) -> Iterable[Body]:
    """Return the objects of a list, an empty list for anything else."""
    return [value for value in values if isinstance(value, Mapping)] if isinstance(values, list | tuple) else []
