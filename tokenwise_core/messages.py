"""Read-only views of what is sent to a model: messages, tools, answer formats, the whole prompt.

Adapters project a framework's objects into these; nothing is ever converted back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]
Api = Literal["chat", "responses", "anthropic", "google", "bedrock", "completion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the model asked for; *arguments* is the JSON text that stands on the wire."""

    name: str
    arguments: str = "{}"
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image, sound, video or file in a message; sizes in pixels or bytes where known, never fetched.

    *digest* tells two of them apart (a hash of the data, or of the address or file id that stands in the request).
    """

    kind: Literal["image", "audio", "video", "file"]
    detail: str | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """Provenance of a piece of a message's text: characters [start, end) belong to *component* (all of it by default).

    *component* is a value of `usage.components.Component`.
    """

    component: str
    source: str | None = None
    start: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message, flattened: *text* is all text blocks joined as the provider joins them.

    *index* is its position in the framework's own list; *reasoning* is replayed thinking text; *at* is when it was
    said, in seconds since the epoch, where somebody knows.
    """

    role: Role
    text: str = ""
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    media: tuple[Media, ...] = ()
    reasoning: str = ""
    tags: tuple[Tag, ...] = ()
    index: int = 0
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A tool as offered: name, description, JSON schema of its parameters.

    *kind* is "function", or the provider's type of a built-in tool; *raw* is the wire form where we have it.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None
    kind: str = "function"
    raw: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSchema:
    """The JSON schema that the answer must follow (`response_format`, `text.format`)."""

    name: str = "response"
    schema: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """All that one request shows to the model.

    *options* holds request parameters that change the count (for example `tool_choice`, `reasoning`, `thinking`).
    """

    messages: tuple[Message, ...] = ()
    tools: tuple[ToolDefinition, ...] = ()
    output_schema: OutputSchema | None = None
    api: Api = "chat"
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: text, tool calls and reasoning text where the provider shows it."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    finish_reason: str | None = None
