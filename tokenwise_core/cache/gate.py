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
_LONG_QUESTION = 60  # words; 17 of 22,434 questions asked of banks and forums are longer, none has several paragraphs
_MANY_LINES = 8
_LONGEST = 4_000  # characters; beyond, patterns would take longer than an event loop may wait
_SECTION = re.compile(
    r"^\W{0,4}(?:retrieved |relevant |provided |given |additional )*"
    r"(?:context|documents?|passages?|sources?|excerpts?|chat history|conversation|question|query|instructions?)\b"
    r"[^\n:]{0,40}:",
    re.IGNORECASE | re.MULTILINE,
)
_RENDERED = re.compile(
    r"<(?:context|documents?|passages?|sources?|chat_history|history|question|query|examples?)\b[^>]*>"
    r"|^\s*(?:system|human|ai|user|assistant|tool|function|input|output|observation|thought)\s*:"
    r"|^\W{0,4}(?:user|human|customer|follow[- ]?up|standalone|original|new|final|current|search|helpful)[- ]+"
    r"(?:question|query|input|request|message|answer|response)\b[^\n:]{0,40}:"
    r"|\b(?:following|provided|retrieved) (?:pieces? of )?(?:retrieved )?"
    r"(?:context|documents?|passages?|excerpts?|search results?|snippets?)\b",
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
    if not said and is_rendered(query):
        return "unsafe:template"  # a rendered template: the question is somewhere inside, nobody said where
    return None


def is_rendered(text: str) -> bool:
    """Say whether a text looks like a template with its variables filled in: the question is somewhere inside.

    So does one of several paragraphs, or many lines, that is longer than questions are: most of what would be embedded
    is what the question is about.
    """
    if len(text) > _LONGEST:
        return True
    if _RENDERED.search(text) is not None or ("\n" in text and _SECTION.search(text) is not None):
        return True
    return ("\n\n" in text and len(text.split()) > _LONG_QUESTION) or text.count("\n") > _MANY_LINES


def is_volatile(query: str | None) -> bool:
    """Say whether the question is about now, so that its answer soon grows old; of a long text, its two ends say."""
    if query is None:
        return False
    shown = query if len(query) <= _LONGEST else f"{query[: _LONGEST // 2]}\n{query[-_LONGEST // 2 :]}"
    return _VOLATILE.search(shown) is not None


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
