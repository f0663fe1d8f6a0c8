"""LangChain's messages, tools, answer formats and embeddings as core's views; nothing is ever converted back.

A message arrives as the dict of its fields (`message.__dict__`): a snapshot that the callbacks can afford to take.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage
from numpy.typing import NDArray

from tokenwise_core.embeddings import UNKNOWN_WINDOW_BYTES, unit, within_bytes
from tokenwise_core.messages import (
    Answer,
    Api,
    Message,
    Prompt,
    Role,
    Tag,
    ToolCall,
    ToolDefinition,
)
from tokenwise_core.protocols import Embedder
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.parameters import counted_options, listed, read_output_schema, read_tags, read_tools
from tokenwise_langchain.blocks import Fields, as_json, as_text, read_content
from tokenwise_langchain.wire import openai_tool

_ROLES: Mapping[str, Role] = {
    "human": "user", "user": "user", "ai": "assistant", "assistant": "assistant", "system": "system",
    "developer": "developer", "tool": "tool", "function": "tool", "HumanMessageChunk": "user",
    "AIMessageChunk": "assistant", "SystemMessageChunk": "system", "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "tool",
}  # fmt: skip


def snapshot(message: BaseMessage) -> dict[str, Any]:
    """Copy a message's fields: later changes of the live message, or of its list of blocks, are not seen."""
    fields = dict(message.__dict__)
    if type(fields["content"]) is list:
        fields["content"] = list(fields["content"])
    return fields


def to_prompt(messages: Iterable[Fields], params: Fields, provider: str | None = None) -> Prompt:
    """Project the snapshots of messages and a model's `invocation_params` into what goes over the wire."""
    return Prompt(
        messages=tuple(to_messages(messages)),
        tools=to_tools(params),
        output_schema=read_output_schema(params),
        api=api_of(provider, params),
        options=counted_options(params),
    )


# Messages -------------------------------------------------------------------------------------------------------------


def to_messages(messages: Iterable[Fields]) -> Iterator[Message]:
    """Project snapshots of messages, each with its index; instructions to a reducer (`RemoveMessage`) are left out."""
    for index, fields in enumerate(messages):
        if fields.get("type") != "remove":
            yield to_message(fields, index)


def to_message(fields: Fields, index: int = 0) -> Message:
    """Project the snapshot of one message."""
    text, media, reasoning = read_content(fields.get("content"))
    extra = fields.get("additional_kwargs") or {}
    role = _role(fields, extra)
    return Message(
        role=role,
        text=text,
        name=fields.get("name") if role != "tool" else None,  # integrations leave a tool's name out
        tool_calls=to_tool_calls(fields),
        tool_call_id=fields.get("tool_call_id"),
        media=media,
        reasoning=reasoning or as_text(extra.get("reasoning_content")),
        tags=tuple(_tags(extra)),
        index=index,
    )


def _role(fields: Fields, extra: Fields) -> Role:
    if extra.get("__openai_role__") == "developer":
        return "developer"
    kind = fields.get("type")
    if kind in ("chat", "ChatMessageChunk"):
        kind = fields.get("role")
    return _ROLES.get(str(kind), "user")


def to_tool_calls(fields: Fields) -> tuple[ToolCall, ...]:
    """Return the calls of an AI message: parsed ones, those whose arguments are no JSON, the older function call."""
    parsed, broken = fields.get("tool_calls") or (), fields.get("invalid_tool_calls") or ()
    calls = [
        ToolCall(name=as_text(call.get("name")), arguments=as_json(call.get("args")), id=call.get("id"))
        for call in (*parsed, *broken)
        if isinstance(call, Mapping)
    ]
    older = (fields.get("additional_kwargs") or {}).get("function_call")
    if isinstance(older, Mapping) and not calls:
        calls.append(ToolCall(name=as_text(older.get("name")), arguments=as_text(older.get("arguments")) or "{}"))
    return tuple(calls)


def _tags(extra: Fields) -> Iterator[Tag]:
    """Yield provenance: marks of our own levers, and the framework's on the summary it inserts."""
    yield from read_tags(extra.get("tokenwise"))
    if extra.get("lc_source") == "summarization":
        yield Tag(component=Component.SUMMARY, source="SummarizationMiddleware")


# Tools, answer formats, APIs ------------------------------------------------------------------------------------------


def to_tools(params: Fields) -> tuple[ToolDefinition, ...]:
    """Return the tools that are bound to the call, in the order of the wire; structured-output tools among them."""
    given = [raw for name in ("tools", "functions") for raw in listed(params.get(name))]
    return read_tools(raw if isinstance(raw, Mapping) else _as_openai_tool(raw) for raw in given)


def _as_openai_tool(raw: Any) -> Fields:
    """Convert a tool object that an integration binds as it is; one that cannot be converted keeps its name."""
    try:
        return openai_tool(raw)
    except (TypeError, ValueError, AttributeError):
        return {"type": type(raw).__name__}


_APIS: tuple[tuple[Api, tuple[str, ...]], ...] = (
    ("bedrock", ("bedrock",)),
    ("anthropic", ("anthropic",)),
    ("google", ("google", "gemini", "vertex")),
)
_RESPONSES_ONLY = ("previous_response_id", "include", "truncation", "context_management", "text")


def api_of(provider: str | None, params: Fields) -> Api:
    """Return the API that the model's integration speaks."""
    name = (provider or "").lower()
    for api, parts in _APIS:
        if any(part in name for part in parts):
            return api
    if params.get("use_responses_api") or any(params.get(key) for key in _RESPONSES_ONLY):
        return "responses"
    reasoning = params.get("reasoning")
    return "responses" if "openai" in name and isinstance(reasoning, Mapping) and reasoning else "chat"


# Answers --------------------------------------------------------------------------------------------------------------


def to_answer(fields: Fields, generation_info: Fields | None = None) -> Answer:
    """Project the snapshot of an AI message; its finish reason is under the name that the provider gave it."""
    text, _, reasoning = read_content(fields.get("content"))
    extra = fields.get("additional_kwargs") or {}
    metadata = {**(generation_info or {}), **(fields.get("response_metadata") or {})}
    return Answer(
        text=text + as_text(extra.get("refusal")),
        tool_calls=to_tool_calls(fields),
        reasoning=reasoning or as_text(extra.get("reasoning_content")),
        finish_reason=next((str(metadata[key]) for key in _FINISH if metadata.get(key)), None),
    )


_FINISH = ("finish_reason", "stop_reason", "stopReason", "done_reason", "status")


def joined(answers: Sequence[Answer]) -> Answer:
    """Return all of a response's choices as one answer: they were all generated, and billed."""
    if len(answers) == 1:
        return answers[0]
    return Answer(
        text="\n".join(answer.text for answer in answers if answer.text),
        tool_calls=tuple(call for answer in answers for call in answer.tool_calls),
        reasoning="\n".join(answer.reasoning for answer in answers if answer.reasoning),
        finish_reason=answers[0].finish_reason if answers else None,
    )


# Embeddings -----------------------------------------------------------------------------------------------------------


class LangChainEmbedder:
    """Any LangChain `Embeddings` as core's `Embedder`; vectors are normalised.

    The id is class and model name; say another *id* where that does not tell two models apart (other dimensions, other
    weights under one name). How long a text the model sees whole, nobody can ask it: *window_bytes* of UTF-8 is taken.
    """

    def __init__(
        self, embeddings: Embeddings, *, id: str | None = None, window_bytes: int = UNKNOWN_WINDOW_BYTES
    ) -> None:
        self._embeddings, self._id, self._window_bytes = embeddings, id, window_bytes

    @property
    def id(self) -> str:
        if self._id is not None:
            return self._id
        model = next((getattr(self._embeddings, name, None) for name in ("model", "model_name", "model_id")), None)
        name = type(self._embeddings).__name__
        return f"{name}:{model}" if isinstance(model, str) else name

    def fits(self, text: str) -> bool:
        """Tell whether all of *text* is taken to be within the model's window."""
        return within_bytes(text, self._window_bytes)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one unit vector a text."""
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        rows = np.asarray(self._embeddings.embed_documents(list(texts)), dtype=np.float32)
        return unit(rows)


class CoreEmbeddings(Embeddings):
    """A core `Embedder` (the embedded default, for one) as LangChain `Embeddings`."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one unit vector a text."""
        return [[float(x) for x in row] for row in self.embedder.embed(texts)]

    def embed_query(self, text: str) -> list[float]:
        """Return the unit vector of a query."""
        return self.embed_documents([text])[0]
