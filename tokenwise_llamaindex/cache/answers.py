"""A model's answer as JSON that a cache may keep, and back: a new object each time, with tool-call ids of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    CompletionResponse,
    ContentBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import BaseModel

from tokenwise_core.cache import CachedAnswer, Hit
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.cache.parameters import provider_name
from tokenwise_llamaindex.calls import LLMAnswer, LLMCall
from tokenwise_llamaindex.convert import to_answered

FORMAT = 1
"""Version of the payload; what another release wrote in a later one is not read."""

_BLOCKS: Mapping[str, type[BaseModel]] = {
    "text": TextBlock, "tool_call": ToolCallBlock, "thinking": ThinkingBlock, "citable": CitableBlock,
    "citation": CitationBlock,
}  # fmt: skip
_EXTRA = ("annotations", "citations", "refusal", "reasoning_content")  # of a message's or a response's own keywords
_ACTION = re.compile(r"^Action:\s*\S.*\n+Action Input:", re.MULTILINE)  # how a ReAct agent's model calls a tool
_PERSONAL = ("id", "encrypted_content")  # of thoughts: the provider knows them in one conversation only


class Unreadable(Exception):
    """A payload that is not ours to read, or that lacks what it should hold; the hit is not served."""


def kept(call: LLMCall, answer: LLMAnswer) -> CachedAnswer | None:
    """Return what a cache keeps of an answer; None where that would not be the whole (images, sound, bare calls)."""
    response = answer.response
    payload = _chat_payload(response) if isinstance(response, ChatResponse) else _completion_payload(response)
    if payload is None:
        return None
    answered = to_answered(snapshots.of_response(response, answer.began), provider_name(call.llm))
    calls = answered.answer.tool_calls
    data = call.asked.output_cls is not None  # a "call" of the schema of an answer: nothing is going to be done
    return CachedAnswer(
        text="\n".join(call.arguments for call in calls) if data and calls else answered.answer.text,
        payload=payload if calls or not _is_blank(response) else {},  # of neither text nor payload: core refuses it
        model=answered.response_model or call.llm.metadata.model_name,
        provider=provider_name(call.llm),
        usage=answered.usage,
        finish_reason=answer.finish_reason or answered.answer.finish_reason,
        tool_calls=(bool(calls) or _ACTION.search(answered.answer.text) is not None) and not data,
        refusal=bool(payload.get("extra", {}).get("refusal")),
    )


def served(call: LLMCall, hit: Hit) -> LLMAnswer:
    """Return a hit as the response that the model gave, marked as what it is; raise `Unreadable`."""
    payload = hit.answer.payload
    if payload.get("v") != FORMAT or payload.get("kind") != ("chat" if call.prompt is None else "completion"):
        raise Unreadable("another format")
    marks = {"tokenwise": hit.metadata()}
    raw = {"model": hit.answer.model, **marks}  # without usage: nothing was used
    logprobs = _logprobs(payload.get("logprobs"))
    if call.prompt is not None:
        if not isinstance(payload.get("text"), str):
            raise Unreadable("no text")
        completed = CompletionResponse(
            text=payload["text"],
            raw=raw,
            logprobs=logprobs,
            additional_kwargs={**_extra(payload.get("extra")), **marks},
        )
        return LLMAnswer(response=completed)
    blocks = [_block(block) for block in payload.get("blocks", ())]
    extra = _extra(payload.get("extra"))
    if payload.get("wired"):
        extra["tool_calls"] = [_wired(block) for block in blocks if isinstance(block, ToolCallBlock)]
    role = MessageRole(payload.get("role", "assistant"))
    message = ChatMessage(role=role, blocks=blocks, additional_kwargs=extra)
    return LLMAnswer(response=ChatResponse(message=message, raw=raw, logprobs=logprobs, additional_kwargs=marks))


def _is_blank(response: ChatResponse | CompletionResponse) -> bool:
    """Say whether a response says nothing; what was only thought is not said."""
    if isinstance(response, CompletionResponse):
        return not response.text.strip()
    return not any(
        block.text.strip() if isinstance(block, TextBlock) else not isinstance(block, ThinkingBlock)
        for block in response.message.blocks
    )


def _chat_payload(response: ChatResponse) -> dict[str, Any] | None:
    message = response.message
    blocks = [_block_payload(block) for block in message.blocks]
    called = any(isinstance(block, ToolCallBlock) for block in message.blocks)
    wired = bool(message.additional_kwargs.get("tool_calls"))
    if None in blocks or (wired and not called):
        return None  # older integrations keep calls as objects of the provider's, which only they can read
    return {
        "v": FORMAT,
        "kind": "chat",
        "role": message.role.value,
        "blocks": blocks,
        **_said(wired=wired, extra=_extra(message.additional_kwargs), logprobs=_logprobs_payload(response.logprobs)),
    }


def _completion_payload(response: CompletionResponse) -> dict[str, Any]:
    extra = _extra(response.additional_kwargs)
    probabilities = _logprobs_payload(response.logprobs)
    return {"v": FORMAT, "kind": "completion", "text": response.text, **_said(extra=extra, logprobs=probabilities)}


def _said(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _block_payload(block: ContentBlock) -> dict[str, Any] | None:
    if type(block) is TextBlock:
        return {"block_type": "text", "text": block.text}
    if block.block_type not in _BLOCKS:
        return None
    fields = block.model_dump(mode="json", exclude_none=True)
    fields.pop("class_name", None)
    if isinstance(block, ThinkingBlock):
        known = fields.get("additional_information", {})
        fields["additional_information"] = {name: value for name, value in known.items() if name not in _PERSONAL}
    return fields


def _block(fields: Any) -> Any:
    """Return a new block; only kinds that were kept are read, and a tool call gets an id that nobody has had."""
    kind = _BLOCKS.get(fields.get("block_type", "")) if isinstance(fields, Mapping) else None
    if kind is None:
        raise Unreadable("another block")
    block = kind.model_validate(fields)
    if isinstance(block, ToolCallBlock):
        block.tool_call_id = f"call_{uuid4().hex}"
    return block


def _wired(call: ToolCallBlock) -> dict[str, Any]:
    """Return a call as it stands on the wire, where LlamaIndex's streamed programs look whether there is one."""
    arguments = call.tool_kwargs if isinstance(call.tool_kwargs, str) else json.dumps(call.tool_kwargs)
    function = {"name": call.tool_name, "arguments": arguments}
    return {"id": call.tool_call_id, "type": "function", "function": function}


def _extra(fields: object) -> dict[str, Any]:
    """Return the keywords of a message that belong to its answer and are JSON."""
    if not isinstance(fields, Mapping):
        return {}
    return {name: fields[name] for name in _EXTRA if _is_json(fields.get(name)) and fields.get(name)}


def _is_json(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_json(content) for name, content in value.items())
    if isinstance(value, list | tuple):
        return all(_is_json(content) for content in value)
    return value is None or isinstance(value, str | int | float | bool)


def _logprobs_payload(rows: Iterable[Iterable[LogProb]] | None) -> list[list[dict[str, Any]]]:
    return [[probability.model_dump(mode="json") for probability in row] for row in rows or ()]


def _logprobs(rows: Any) -> list[list[LogProb]] | None:
    return [[LogProb.model_validate(probability) for probability in row] for row in rows] if rows else None
