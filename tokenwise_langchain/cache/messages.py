"""LangChain's answers as versioned JSON and back: what a cache stores of a message, and what a hit hands out.

A hit is always a new object, without the ids by which LangGraph would replace an older message, and without what
refers to a provider's own memory of another conversation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, Generation, LLMResult
from pydantic import BaseModel

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.cache.request import Hit
from tokenwise_core.usage.events import Usage
from tokenwise_langchain.blocks import Fields
from tokenwise_langchain.convert import snapshot, to_answer
from tokenwise_langchain.snapshots import Reply

VERSION = 1
MARK = "tokenwise"
"""Where a served message says so: `response_metadata["tokenwise"]`."""

_KEPT = ("content", "tool_calls", "invalid_tool_calls", "additional_kwargs", "response_metadata", "usage_metadata")
"""Not the name: an agent gives its messages its own."""
_OF_ONE_CONVERSATION = frozenset({"id", "response_id", "previous_response_id", "conversation", "headers", MARK})
"""Parts of `response_metadata` that must not be sent back in another conversation: `previous_response_id` goes on with
the one that it names."""


def to_cached(
    generations: Iterable[Generation], *, formats: Iterable[str] = (), output: dict[str, Any] | None = None
) -> CachedAnswer:
    """Return a model's answer, all its choices, as the cache keeps it.

    *formats* are tools that only give the answer its form (structured output): to call one is not to act. *output* is
    what stands beside the answers (`LLMResult.llm_output`).
    """
    choices = list(generations)
    reply = Reply(LLMResult(generations=[choices], llm_output=output)).answered()
    answers = [to_answer(_fields(choice), choice.generation_info) for choice in choices]
    called = {call.name for answer in answers for call in answer.tool_calls}
    formal = frozenset(formats)
    return CachedAnswer(
        text=reply.answer.text or _arguments(answers) if called <= formal else reply.answer.text,
        payload=_payload(choices),
        model=reply.response_model,
        provider=_provider(choices),
        usage=reply.usage,
        finish_reason=_finish(choices),
        tool_calls=bool(called - formal),
        refusal=any((_fields(choice).get("additional_kwargs") or {}).get("refusal") for choice in choices),
    )


def from_cached(hit: Hit) -> list[Generation] | None:
    """Return the generations of a hit, each message marked with it; None where a later release wrote them."""
    payload = hit.answer.payload
    if payload.get("v") != VERSION or not isinstance(payload.get("generations"), list):
        return None
    return [_decode(choice, hit.metadata()) for choice in payload["generations"]] or None


def message_of(hit: Hit) -> AIMessage | None:
    """Return the message of a hit on a chat model's only, or first, choice."""
    choices = from_cached(hit)
    first = choices[0] if choices else None
    return first.message if isinstance(first, ChatGeneration) and isinstance(first.message, AIMessage) else None


_SILENT = frozenset({"text", "thinking", "redacted_thinking", "reasoning", "reasoning_content"})
"""Blocks that are no answer: of texts, `Generation.text` tells."""


def _payload(choices: Sequence[Generation]) -> dict[str, Any]:
    """Return the choices as JSON; nothing of an empty answer, which is none."""
    if not any(map(_says_something, choices)):
        return {}
    return {"v": VERSION, "generations": [_encode(choice) for choice in choices]}


def _says_something(choice: Generation) -> bool:
    """Say whether there is more than blanks and thoughts."""
    fields = _fields(choice)
    blocks = fields["content"] if isinstance(fields["content"], list) else [fields["content"]]
    return bool(choice.text.strip() or fields.get("tool_calls") or any(map(_is_part_of_an_answer, blocks)))


def _is_part_of_an_answer(block: Any) -> bool:
    if isinstance(block, str):
        return bool(block.strip())
    return not isinstance(block, dict) or block.get("type") not in _SILENT


def _encode(choice: Generation) -> dict[str, Any]:
    info = to_json(choice.generation_info)
    if not isinstance(choice, ChatGeneration):
        return {"text": choice.text, "info": info}
    return {"message": encode_message(choice.message), "info": info}


def encode_message(message: Any) -> dict[str, Any]:
    """Return an AI message's fields as JSON, without ids."""
    fields = message.__dict__
    kept = {name: to_json(fields.get(name)) for name in _KEPT if fields.get(name)}
    kept["content"] = _forgetful(to_json(fields["content"]))
    metadata = kept.get("response_metadata") or {}
    kept["response_metadata"] = {name: value for name, value in metadata.items() if name not in _OF_ONE_CONVERSATION}
    if (kept.get("usage_metadata") or {}).get("total_cost") == 0:
        del kept["usage_metadata"]["total_cost"]  # LangChain's mark of a hit, not what the answer cost
    return kept


def _decode(choice: Fields, mark: Fields) -> Generation:
    if "message" not in choice:
        return Generation(text=choice["text"], generation_info=choice.get("info"))
    return ChatGeneration(message=decode_message(choice["message"], mark), generation_info=choice.get("info"))


def decode_message(kept: Fields, mark: Fields) -> AIMessage:
    """Build a new message of stored fields, with the *mark* of the hit; its tool calls get new ids."""
    fields = {name: _renewed(kept[name]) for name in _KEPT if name in kept}
    fields["response_metadata"] = {**fields.get("response_metadata", {}), MARK: dict(mark)}
    _rename_calls(fields)
    return AIMessage(**fields)


def _renewed(value: Any) -> Any:
    """Copy JSON: who changes a served message changes no other."""
    if isinstance(value, Mapping):
        return {name: _renewed(item) for name, item in value.items()}
    return [_renewed(item) for item in value] if isinstance(value, list | tuple) else value


def _rename_calls(fields: dict[str, Any]) -> None:
    """Give the tool calls new ids, in all places: a graph pairs calls with their results by these."""
    calls = [*fields.get("tool_calls", ()), *fields.get("invalid_tool_calls", ())]
    ids = {call["id"]: f"call_{uuid4().hex}" for call in calls if call.get("id")}
    content = fields.get("content")
    blocks = content if isinstance(content, list) else []
    extra = fields.get("additional_kwargs", {}).get("tool_calls")
    for place in (*calls, *blocks, *(extra if isinstance(extra, list) else ())):
        for name in ("id", "call_id", "tool_call_id"):
            if isinstance(place, dict) and place.get(name) in ids:
                place[name] = ids[place[name]]


def _forgetful(content: Any) -> Any:
    """Leave out of content blocks what refers to items that a provider keeps of one conversation (`msg_…`, `rs_…`)."""
    if not isinstance(content, list):
        return content
    return [
        {name: value for name, value in block.items() if name != "id"}
        if isinstance(block, dict) and block.get("type") in ("text", "output_text", "refusal")
        else block
        for block in content
        if not (isinstance(block, dict) and block.get("type") == "reasoning" and str(block.get("id")).startswith("rs_"))
    ]


def to_json(value: Any) -> Any:
    """Return *value* as JSON; parsed answers (pydantic) as dicts, and what JSON cannot hold is left out."""
    if isinstance(value, Enum):
        return to_json(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, BaseModel):
        return to_json(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        items = {str(name): (item, to_json(item)) for name, item in value.items()}
        return {name: made for name, (item, made) in items.items() if made is not None or item is None}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return None


def _fields(choice: Generation) -> dict[str, Any]:
    message = getattr(choice, "message", None)
    return {"content": choice.text} if message is None else snapshot(message)


def _finish(choices: Sequence[Generation]) -> str | None:
    """Return the least happy reason for which a choice ended."""
    reasons = [to_answer(_fields(choice), choice.generation_info).finish_reason for choice in choices]
    unhappy = (reason for reason in reasons if reason and reason.lower() not in _HAPPY)
    return next(unhappy, reasons[0] if reasons else None)


_HAPPY = frozenset(
    ("stop", "end_turn", "stop_sequence", "completed", "complete", "finished", "eos", "tool_calls", "tool_use",
     "function_call")
)  # fmt: skip


def _arguments(answers: Sequence[Any]) -> str:
    return "\n".join(call.arguments for answer in answers for call in answer.tool_calls)


def to_usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    """Return a usage as LangChain's messages carry it; None where the totals are not known."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    writes = (usage.cache_write_5m or 0) + (usage.cache_write_1h or 0)
    return UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cache_read or 0, cache_creation=writes),
        output_token_details=OutputTokenDetails(reasoning=usage.reasoning or 0),
    )


def _provider(choices: Sequence[Generation]) -> str | None:
    metadata = (_fields(choices[0]).get("response_metadata") or {}) if choices else {}
    provider = metadata.get("model_provider")
    return provider if isinstance(provider, str) else None
