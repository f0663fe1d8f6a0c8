"""The one reader of reported usage: whatever a provider or a framework hands over, in; `Usage`, out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from tokenwise_core.usage.buckets import service_tier
from tokenwise_core.usage.dialects import (
    Reader,
    read_anthropic,
    read_bedrock,
    read_chat,
    read_cohere,
    read_google,
    read_langchain,
    read_ollama,
    read_responses,
)
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.fields import Fields, as_count, as_mapping

logger = logging.getLogger("tokenwise.usage")

_LANGCHAIN = frozenset({"input_token_details", "output_token_details", "total_cost"})
_GOOGLE = frozenset({
    "promptTokenCount", "prompt_token_count", "candidatesTokenCount", "candidates_token_count", "totalTokenCount",
    "total_token_count", "thoughtsTokenCount", "thoughts_token_count", "generation_token_count",
})  # fmt: skip
_BEDROCK = frozenset({"inputTokens", "outputTokens", "inputTokenCount", "outputTokenCount"})
_OLLAMA = frozenset({"prompt_eval_count", "eval_count"})
_CHAT = frozenset({"prompt_tokens", "completion_tokens"})
_MESSAGES = frozenset({"input_tokens", "output_tokens"})
_ANTHROPIC = frozenset({
    "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "iterations", "server_tool_use",
})  # fmt: skip
_COUNTS = _GOOGLE | _BEDROCK | _OLLAMA | _CHAT | _MESSAGES
_BY_COUNT: tuple[tuple[frozenset[str], Reader], ...] = (
    (_GOOGLE, read_google), (_BEDROCK, read_bedrock), (_OLLAMA, read_ollama),
)  # fmt: skip
_WIRE_NAMES = (
    *_COUNTS, *_LANGCHAIN, *_ANTHROPIC, "billed_units", "total_tokens",
    "prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details",
    "cached_content_token_count", "tool_use_prompt_token_count", "usage", "usage_metadata", "response", "message",
    "x_groq",
)  # fmt: skip
_HOLDERS = (
    "usage", "usageMetadata", "usage_metadata", "token_usage", "amazon-bedrock-invocationMetrics",
    "x_groq", "response", "message", "delta", "meta", "metadata", "response_metadata",
)  # fmt: skip
_MAX_DEPTH = 3


def normalize_usage(provider: str | None, raw: object) -> Usage:
    """Read *raw* usage into exclusive buckets; what cannot be read gives a `Usage` of None.

    The dialect is told by the keys, since gateways answer in other providers' dialects; *provider* (any name that
    contains the usual one) decides only what the keys leave open. A whole answer is searched for its usage.
    Never raises. `unknown["unreadable"]` names the type of what was not understood, which is logged once.
    """
    name = (provider or "").lower()
    try:
        data = as_mapping(raw, _WIRE_NAMES)
        reader = _reader(data, name) if data is not None else None
        if reader is None:
            data = as_mapping(find_usage(raw), _WIRE_NAMES)
            reader = _reader(data, name) if data is not None else None
        if reader is not None and data is not None:
            return reader(Fields(data), name)
    except Exception as error:  # fail open: a foreign object's attributes may do anything
        logger.debug("usage could not be read: %s", type(error).__name__)
    if raw is None or (isinstance(raw, Mapping) and not raw):
        return Usage()
    kind = type(raw).__name__
    _warn_unreadable(name, kind)
    return Usage(unknown={"unreadable": kind})


def usage_from_response(raw: object, additional_kwargs: object = None, *, provider: str | None = None) -> Usage | None:
    """Read the usage of an answer as the frameworks hand it on; None when nothing in it reports any.

    Looks at *raw* (LlamaIndex's `ChatResponse.raw`: dict, model, chunk, event of the Responses API, or a list of
    stream events), then at `additional_kwargs["usage"]`, then at *additional_kwargs* itself, where LlamaIndex's
    integrations put bare counts. Adds what only the answer around the usage tells: the service tier and the number
    of web searches.
    """
    for source in (raw, additional_kwargs):
        found = find_usage(source)
        if found is not None:
            return _with_surroundings(normalize_usage(provider, found), source)
    return None


def usage_from_message(
    usage_metadata: object, response_metadata: object = None, *, provider: str | None = None
) -> Usage | None:
    """Read the usage of a LangChain message; None when neither of its two reports says anything.

    `usage_metadata` keeps token counts only: what the call cost, the provider's tools and compaction stand in the
    provider's own usage inside `response_metadata`. That is taken where both agree on the totals; where they do not
    (chunks of a stream put together), LangChain's counts are.
    """
    counted = normalize_usage(provider or "langchain", usage_metadata) if find_usage(usage_metadata) else None
    own = usage_from_response(response_metadata, provider=provider)
    if counted is None or own is None:
        return counted or own
    if (own.input_tokens, own.output_tokens) != (counted.input_tokens, counted.output_tokens):
        return counted
    return replace(own, service_tier=counted.service_tier or own.service_tier)


def find_usage(body: object) -> object | None:
    """Return the usage inside a provider's answer, or None: no dialect knows the keys of anything in it.

    A list or tuple is taken for the events of a stream, whose usages are merged: the last value of a field counts,
    since all providers report running totals (Anthropic spreads them over the first and the last event).
    """
    try:
        return _search(body, _MAX_DEPTH)
    except Exception as error:  # fail open, as above; the type only, since messages may quote users
        logger.debug("an answer could not be searched for usage: %s", type(error).__name__)
        return None


def _search(body: object, depth: int) -> object | None:
    if isinstance(body, list | tuple):
        return _merged(_search(event, depth) for event in body)
    data = as_mapping(body, _WIRE_NAMES)
    if data is None:
        return None
    if _reader(data, "") is not None:
        return body
    if depth:
        for holder in _HOLDERS:
            inner = data.get(holder)
            found = _search(inner, depth - 1) if inner is not None and not isinstance(inner, list) else None
            if found is not None:
                return found
    return None


def _merged(usages: Iterable[object | None]) -> dict[str, Any] | None:
    merged: dict[str, Any] = {}
    for usage in usages:
        data = as_mapping(usage, _WIRE_NAMES) or {}
        merged.update({name: value for name, value in data.items() if value is not None})
    return merged or None


def _reader(data: Mapping[str, Any], provider: str) -> Reader | None:
    """Return the reader of the dialect whose keys *data* holds with a value."""
    counts = {name for name in data.keys() & _COUNTS if _is_count(data[name])}
    for keys, reader in _BY_COUNT:
        if counts & keys:
            return reader
    # A gateway may fill in both families of names and leave OpenAI's at zero.
    if counts & _CHAT and not (counts & _MESSAGES and not any(as_count(data.get(name)) for name in _CHAT)):
        return read_chat
    if data.keys() & _LANGCHAIN and _is_langchain(data):
        return read_langchain
    if counts & _MESSAGES:
        additive = "anthropic" in provider or any(data.get(name) is not None for name in _ANTHROPIC)
        return read_anthropic if additive else read_responses
    return read_cohere if as_mapping(data.get("billed_units")) else None


def _is_langchain(data: Mapping[str, Any]) -> bool:
    named = any(as_mapping(data.get(name)) is not None for name in ("input_token_details", "output_token_details"))
    return named or as_count(data.get("total_cost")) is not None


def _is_count(value: object) -> bool:
    return not isinstance(value, str) and as_count(value) is not None


def _with_surroundings(usage: Usage, body: object) -> Usage:
    data = as_mapping(body) or {}
    answer = Fields(as_mapping(data.get("response")) or data)
    tier = usage.service_tier or service_tier(answer)
    searches = sum(item.text("type") == "web_search_call" for item in answer.items("output"))
    if not searches or usage.web_searches is not None:
        return usage if tier == usage.service_tier else replace(usage, service_tier=tier)
    calls = max(searches, usage.server_tool_calls or 0)
    return replace(usage, service_tier=tier, web_searches=searches, server_tool_calls=calls)


@lru_cache(maxsize=64)
def _warn_unreadable(provider: str, kind: str) -> None:
    """Warn once for each provider and type."""
    logger.warning("usage of type %s (provider %s) is in no known dialect: booked as unknown", kind, provider or "?")
