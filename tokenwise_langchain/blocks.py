"""The blocks of a message's content, in LangChain's own forms and the providers', as text, media and reasoning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from tokenwise_core.messages import Media

Fields = Mapping[str, Any]

_CALLS = frozenset(
    ("tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call", "function_call", "server_tool_use",
     "server_tool_call", "input_json_delta")
)  # fmt: skip
_MEDIA = {
    "image": "image", "image_url": "image", "input_image": "image", "audio": "audio", "input_audio": "audio",
    "video": "video", "video_url": "video", "file": "file", "input_file": "file", "document": "file", "media": "file",
}  # fmt: skip
_LONG = 4_096
_PLACES = frozenset({"id", "index", "cache_control"})  # where a block stands and how it is billed, not what it shows


def read_content(content: object) -> tuple[str, tuple[Media, ...], str]:
    """Return the text of a message's content, the media in it, and its replayed reasoning."""
    if isinstance(content, str):
        return content, (), ""
    texts: list[str] = []
    media: list[Media] = []
    reasoning: list[str] = []
    for block in content if isinstance(content, list | tuple) else ():
        if isinstance(block, str):
            texts.append(block)
        elif isinstance(block, Mapping):
            _read_block(block, texts, media, reasoning)
    return "".join(texts), tuple(media), "".join(reasoning)


def _read_block(block: Fields, texts: list[str], media: list[Media], reasoning: list[str]) -> None:
    kind = as_text(block.get("type"))
    if kind in _CALLS:
        return  # the message's `tool_calls` holds them
    if kind in ("thinking", "reasoning", "reasoning_content"):
        reasoning.append(_thought(block))
    elif kind in _MEDIA and not _is_text_document(block):
        media.append(_medium(block, _MEDIA[kind]))
    elif kind == "non_standard" and isinstance(block.get("value"), Mapping):
        _read_block(block["value"], texts, media, reasoning)
    elif kind == "tool_result":
        text, found, _ = read_content(block.get("content"))
        texts.append(text)
        media.extend(found)
    else:
        texts.append(_block_text(block))


def _block_text(block: Fields) -> str:
    for key in ("text", "refusal"):
        if isinstance(block.get(key), str):
            return str(block[key])
    if _is_text_document(block):
        return as_text(block["source"].get("data"))
    return as_json(block["json"]) if "json" in block else ""


def _thought(block: Fields) -> str:
    for key in ("thinking", "reasoning", "text"):
        if isinstance(block.get(key), str):
            return str(block[key])
    parts = block.get("summary") or block.get("reasoning_content")
    parts = [parts] if isinstance(parts, Mapping) else parts
    return "".join(as_text(part.get("text")) for part in parts or () if isinstance(part, Mapping))


def _is_text_document(block: Fields) -> bool:
    source = block.get("source")
    return block.get("type") == "document" and isinstance(source, Mapping) and source.get("type") == "text"


def _medium(block: Fields, kind: str) -> Media:
    inner = block.get(str(block.get("type")))
    inner = inner if isinstance(inner, Mapping) else {}
    mime = as_text(block.get("mime_type") or inner.get("mime_type") or inner.get("media_type")).split("/")[0]
    detail = inner.get("detail") or block.get("detail")
    sort = mime if mime in ("image", "audio", "video") else kind
    return Media(
        kind=sort,  # type: ignore[arg-type]  # a Literal
        detail=detail if isinstance(detail, str) else None,
        digest=_media_digest(block),
    )


def _media_digest(block: Fields) -> str | None:
    """Hash what a medium shows; None for one that names neither data nor place."""
    shown = {name: value for name, value in block.items() if name not in _PLACES}
    return digest_of(shown) if shown.keys() - {"type", "mime_type", "detail"} else None


def unread(content: object) -> list[Any]:
    """Return the blocks that core's view of a message does not hold: not text, media, calls or reasoning."""
    blocks = content if isinstance(content, list | tuple) else ()
    return [block for block in blocks if isinstance(block, Mapping) and not _is_read(block)]


def _is_read(block: Fields) -> bool:
    kind = as_text(block.get("type"))
    if kind == "non_standard" and isinstance(block.get("value"), Mapping):
        return _is_read(block["value"])
    known = kind in _CALLS or kind in _MEDIA or kind in ("thinking", "reasoning", "reasoning_content", "tool_result")
    return known or bool(_block_text(block)) or kind in ("text", "input_text", "output_text", "refusal")


def digest_of(value: object) -> str:
    """Hash a value of a message by its canonical JSON."""
    text = json.dumps(_shortened(value), ensure_ascii=False, sort_keys=True, default=str)
    return _blake(text)


def _shortened(value: Any) -> Any:
    """Put hashes in place of long texts: a picture's data need not be written out once more."""
    if isinstance(value, str):
        return value if len(value) <= _LONG else [len(value), _blake(value)]
    if isinstance(value, Mapping):
        return {str(name): _shortened(item) for name, item in value.items()}
    return [_shortened(item) for item in value] if isinstance(value, list | tuple) else value


def _blake(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def as_text(value: object) -> str:
    """Return a text, nothing for what is none."""
    return value if isinstance(value, str) else ""


def as_json(value: object) -> str:
    """Return the JSON text that stands on the wire: as given, else written as the providers' SDKs write it."""
    if isinstance(value, str):
        return value
    return json.dumps({} if value is None else value, ensure_ascii=False, default=str)
