"""LlamaIndex's messages, tools, answers and embeddings as core's views; nothing is ever converted back.

A message arrives as a `Snapshot`, which the callbacks can afford to take: the framework changes the live objects later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr
from llama_index.core.tools import BaseTool
from numpy.typing import NDArray

from tokenwise_core.embeddings import UNKNOWN_WINDOW_BYTES, unit, within_bytes
from tokenwise_core.messages import (
    Answer,
    Api,
    Media,
    Message,
    Prompt,
    Role,
    ToolCall,
    ToolDefinition,
)
from tokenwise_core.protocols import Embedder
from tokenwise_core.usage.call import Answered
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.normalize import usage_from_response
from tokenwise_core.usage.parameters import counted_options, listed, read_output_schema, read_tags, read_tools
from tokenwise_llamaindex.snapshots import Reply, Snapshot

Fields = Mapping[str, Any]

_ROLES: Mapping[str, Role] = {
    "system": "system", "developer": "developer", "user": "user", "assistant": "assistant", "chatbot": "assistant",
    "model": "assistant", "tool": "tool", "function": "tool",
}  # fmt: skip


def to_prompt(messages: Iterable[Snapshot], params: Fields, *, api: Api = "chat") -> Prompt:
    """Project the snapshots of messages and the keyword arguments of the call into what goes over the wire."""
    return Prompt(
        messages=tuple(to_message(message, index) for index, message in enumerate(messages)),
        tools=to_tools(params),
        output_schema=read_output_schema(params),
        api=api,
        options=counted_options(params),
    )


# Messages -------------------------------------------------------------------------------------------------------------


def to_message(message: Snapshot, index: int = 0) -> Message:
    """Project the snapshot of one message."""
    texts: list[str] = []
    media: list[Media] = []
    reasoning: list[str] = []
    for block in message.blocks:
        _read_block(block, texts, media, reasoning)
    role = _ROLES.get(_value(message.role), "user")
    return Message(
        role=role,
        text="".join(texts),  # as the integrations send it: blocks follow each other without a separator
        name=_text(message.extra.get("name")) or None if role != "tool" else None,
        tool_calls=tuple(to_tool_calls(message)),
        tool_call_id=_text(message.extra.get("tool_call_id")) or None,
        media=tuple(media),
        reasoning="".join(reasoning),
        tags=tuple(read_tags(message.extra.get("tokenwise"))),
        index=index,
    )


def _read_block(block: str | Fields, texts: list[str], media: list[Media], reasoning: list[str]) -> None:
    if isinstance(block, str):
        texts.append(block)
        return
    kind = block.get("block_type")
    if kind == "text":
        texts.append(_text(block.get("text")))
    elif kind == "thinking":
        reasoning.append(_text(block.get("content")))
    elif kind in ("citable", "citation"):
        inner = block.get("content") if kind == "citable" else [block.get("cited_content")]
        for part in inner or ():
            _read_block(getattr(part, "__dict__", {}), texts, media, reasoning)
    elif kind in _MEDIA:
        data = block.get(_MEDIA[kind][1])
        media.append(
            Media(
                kind=_MEDIA[kind][0],  # type: ignore[arg-type]  # the table holds only what the Literal names
                detail=_text(block.get("detail")) or None,
                size_bytes=len(data) if isinstance(data, bytes) else None,
                digest=_digest(data, block),
            )
        )


_MEDIA = {
    "image": ("image", "image"), "audio": ("audio", "audio"), "video": ("video", "video"),
    "document": ("file", "data"),
}  # fmt: skip


def _digest(data: object, block: Fields) -> str | None:
    """Tell two media apart: by the data, the address, or the file as it lies there now; nothing is fetched."""
    if isinstance(data, bytes):
        return blake2b(data, digest_size=16).hexdigest()
    if block.get("url"):
        return str(block["url"])
    try:
        found = Path(block["path"]).stat()
    except (KeyError, TypeError, OSError):  # a stream, or a file that is gone: it could be anything
        return None
    return f"{block['path']}:{found.st_mtime_ns}:{found.st_size}"


def to_tool_calls(message: Snapshot) -> Iterator[ToolCall]:
    """Yield the calls in a message: its blocks, else what older integrations keep in `additional_kwargs`."""
    blocks = [block for block in message.blocks if not isinstance(block, str) and block["block_type"] == "tool_call"]
    for block in blocks:
        yield ToolCall(name=block["tool_name"], arguments=_json(block["tool_kwargs"]), id=block.get("tool_call_id"))
    for call in () if blocks else listed(message.extra.get("tool_calls")):
        function = _field(call, "function") or call
        arguments = _field(function, "arguments")
        yield ToolCall(
            name=_text(_field(function, "name")),
            arguments=_json(arguments if arguments is not None else _field(function, "input")),
            id=_text(_field(call, "id")) or None,
        )


# Tools and providers --------------------------------------------------------------------------------------------------


def to_tools(params: Fields) -> tuple[ToolDefinition, ...]:
    """Return the tools of a call: specifications in any provider's form, or LlamaIndex tools as they are."""
    given = params.get("tools") or params.get("functions")
    if isinstance(given, Mapping):  # Bedrock: {"tools": [...], "toolChoice": ...}
        given = given.get("tools")
    return read_tools(_specification(tool) for tool in listed(given))


def _specification(tool: object) -> Fields:
    if isinstance(tool, BaseTool):
        return tool.metadata.to_openai_tool(skip_length_check=True)
    if isinstance(tool, BaseModel):
        return tool.model_dump(exclude_none=True)
    return tool if isinstance(tool, Mapping) else {"type": type(tool).__name__}


_PROVIDERS = (  # parts of `class_name()`, the more telling ones first
    ("azure", "azure"), ("openrouter", "openrouter"), ("bedrock", "bedrock"), ("anthropic", "anthropic"),
    ("vertex", "google"), ("gemini", "google"), ("genai", "google"), ("google", "google"), ("mistral", "mistralai"),
    ("groq", "groq"), ("cohere", "cohere"), ("deepseek", "deepseek"), ("fireworks", "fireworks"),
    ("together", "together"), ("ollama", "ollama"), ("perplexity", "perplexity"), ("openai", "openai"),
)  # fmt: skip


def provider_of(class_name: str) -> str | None:
    """Return the provider that an integration of this `class_name()` talks to, None where the name does not tell."""
    name = class_name.lower()
    if "openailike" in name.replace("_", ""):
        return None  # any server that speaks the dialect
    return next((provider for part, provider in _PROVIDERS if part in name), None)


def api_of(class_name: str) -> Api:
    """Return the API that an integration speaks."""
    provider = provider_of(class_name)
    if provider == "anthropic":
        return "anthropic"
    if provider == "google":
        return "google"
    if provider == "bedrock":
        return "bedrock"
    return "responses" if "responses" in class_name.lower() else "chat"


# Answers --------------------------------------------------------------------------------------------------------------


def to_answered(reply: Reply, provider: str | None = None) -> Answered:
    """Project an answer: its text and calls, the usage that the provider reported, the names in the raw object."""
    message = to_message(reply.message)
    body = _field(reply.raw, "response") or reply.raw  # the last event of a Responses stream holds the whole answer
    extra = reply.extra or reply.message.extra
    return Answered(
        answer=Answer(
            text=message.text,
            tool_calls=message.tool_calls,
            reasoning=message.reasoning,
            finish_reason=finish_reason(body),
        ),
        usage=_usage(reply, extra, provider),
        response_model=_text(_field(body, "model")) or _text(_field(body, "model_version")) or None,
        response_id=_text(_field(body, "id")) or _text(_field(body, "response_id")) or None,
    )


def _usage(reply: Reply, extra: Fields, provider: str | None) -> Usage | None:
    """Read the usage of an answer; what its last chunk does not tell may stand in the first one."""
    usage = usage_from_response(reply.raw, extra, provider=provider)
    if reply.began is None or (usage is not None and usage.input_tokens is not None):
        return usage
    return usage_from_response([reply.began, reply.raw], extra, provider=provider)


def finish_reason(body: object) -> str | None:
    """Return why the model stopped, where a provider's object says so."""
    first: object = None
    for name in ("choices", "candidates"):
        several = _field(body, name)
        if isinstance(several, list | tuple) and several:
            first = several[0]
    for source in (first, body):
        for name in ("finish_reason", "finishReason", "stop_reason", "stopReason", "done_reason", "status"):
            reason = _value(_field(source, name))
            if reason:
                return reason
    return None


# Embeddings -----------------------------------------------------------------------------------------------------------


class LlamaIndexEmbedder:
    """Any LlamaIndex `BaseEmbedding` as core's `Embedder`; vectors are normalised.

    The id is class and model name; say another *id* where that does not tell two models apart (other dimensions, other
    weights under one name). How long a text the model sees whole, nobody can ask it: *window_bytes* of UTF-8 is taken.
    """

    def __init__(
        self, embedding: BaseEmbedding, *, id: str | None = None, window_bytes: int = UNKNOWN_WINDOW_BYTES
    ) -> None:
        self._embedding, self._id, self._window_bytes = embedding, id, window_bytes

    @property
    def id(self) -> str:
        if self._id is not None:
            return self._id
        name, model = self._embedding.class_name(), self._embedding.model_name
        return f"{name}:{model}" if model and model != "unknown" else name

    def fits(self, text: str) -> bool:
        """Tell whether all of *text* is taken to be within the model's window."""
        return within_bytes(text, self._window_bytes)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector a text."""
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        rows = np.asarray(self._embedding.get_text_embedding_batch(list(texts)), dtype=np.float32)
        return unit(rows)


class CoreEmbedding(BaseEmbedding):
    """A core `Embedder` (the embedded default, for one) as LlamaIndex `BaseEmbedding`."""

    _embedder: Embedder = PrivateAttr()

    def __init__(self, embedder: Embedder, **settings: Any) -> None:
        super().__init__(model_name=embedder.id, **settings)
        self._embedder = embedder

    @classmethod
    def class_name(cls) -> str:
        return "CoreEmbedding"

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return [[float(x) for x in row] for row in self._embedder.embed(texts)]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def _field(value: object, name: str) -> Any:
    """Return a field of a dict or an object, None where it has none."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _value(value: object) -> str:
    return str(value.value) if isinstance(value, Enum) else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _json(value: object) -> str:
    """Return arguments as the JSON that integrations put on the wire."""
    if isinstance(value, str):
        return value
    return json.dumps({} if value is None else value, ensure_ascii=False, default=str)
