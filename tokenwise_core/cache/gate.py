"""What may be cached at all, and what may be found by meaning: decided from the request and the answer alone."""

from __future__ import annotations

import re

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.cache.request import CacheRequest

VOLATILE_TTL_S = 300.0
"""Longest life of an answer to a question about now ("today", "latest"): no cache knows what has changed since."""

_CUT_OFF = frozenset({"length", "max_tokens", "max_output_tokens", "incomplete", "model_context_window_exceeded"})
_REFUSED = frozenset({"refusal", "content_filter", "safety", "blocklist", "prohibited_content", "recitation"})
_FAILED = frozenset({"error", "failed", "cancelled", "malformed_function_call"})
_VOLATILE = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|now|currently|latest|this (?:week|month|year|morning|afternoon|evening))\b",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"^\W{0,4}(?:retrieved |relevant |provided |given |additional )*"
    r"(?:context|documents?|passages?|sources?|excerpts?|chat history|conversation|question|query|instructions?)\b"
    r"[^\n:]{0,40}:",
    re.IGNORECASE | re.MULTILINE,
)


def refused_request(request: CacheRequest) -> str | None:
    """Return why this request gets no cache at all, None where it may have one."""
    media = [media for message in request.prompt.messages for media in message.media]
    if any(item.digest is None for item in media):
        return "unsafe:media"  # what cannot be told apart cannot be equal
    if not request.prompt.messages and request.query is None:
        return "unsafe:empty"
    return None


def exact_only(request: CacheRequest, query: str | None) -> str | None:
    """Return why a rephrased question must not hit here, None where it may; the embedder's window is not looked at."""
    if not request.semantic:
        return "unsafe:exact_only"
    messages = request.prompt.messages
    if messages and messages[-1].role == "tool":
        return "unsafe:tool_result"
    if query is None:
        return "unsafe:no_query"
    if any(message.media for message in messages):
        return "unsafe:media"
    said = request.query is not None or any(tag.component == "user_input" for tag in messages[-1].tags)
    if not said and "\n" in query and _TEMPLATE.search(query):
        return "unsafe:template"  # a rendered template: the question is somewhere inside, nobody said where
    return None


def is_volatile(query: str | None) -> bool:
    """Say whether the question is about now, so that its answer soon grows old."""
    return query is not None and _VOLATILE.search(query) is not None


def refused_answer(answer: CachedAnswer, *, tool_calls: bool) -> str | None:
    """Return why this answer must not be stored, None where it may be."""
    finish = (answer.finish_reason or "").lower()
    if not answer.complete or finish in _CUT_OFF:
        return "truncated"
    if answer.refusal or finish in _REFUSED:
        return "refusal"
    if finish in _FAILED:
        return "error"
    if answer.tool_calls:
        return None if tool_calls else "tool_calls"
    return None if answer.text.strip() or answer.payload else "empty"
