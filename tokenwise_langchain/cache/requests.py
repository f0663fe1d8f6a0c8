"""A LangChain model call as a cache's request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from tokenwise_core.cache.gate import is_rendered
from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.cache.semantic import SemanticCache
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.components import Component
from tokenwise_langchain.blocks import Fields, digest_of, unread
from tokenwise_langchain.cache.parameters import Called
from tokenwise_langchain.convert import to_prompt

QueryOf = Callable[[list[BaseMessage]], str | None]
"""Tells what is asked in a list of messages: a part of the last one; None where rephrasing must not hit."""


def cache_request(
    messages: Sequence[Fields],
    call: Called,
    *,
    query: str | None = None,
    semantic: bool = True,
    tags: Sequence[str] = (),
    category: str | None = None,
) -> CacheRequest:
    """Return the request for a model call; *query* says what is asked, else the last message may."""
    prompt = to_prompt(messages, call.params, call.provider)
    last = prompt.messages[-1] if prompt.messages else None
    if query is None and last is not None and all(tag.component != Component.USER_INPUT for tag in last.tags):
        semantic = semantic and not is_rendered(last.text)
    unseen = [part for fields in messages if (part := _unseen(fields))]
    return CacheRequest(
        prompt=prompt,
        model=call.model,
        provider=call.provider,
        parameters=call.parameters,
        extra={"unseen": digest_of(unseen)} if unseen else {},
        query=query,
        semantic=semantic,
        tags=tuple(tags),
        category=category,
    )


def _unseen(fields: Fields) -> list[Any]:
    """Return what a model is shown of a message beside what core's view of it holds."""
    extra = fields.get("additional_kwargs") or {}
    parts = [unread(fields.get("content")), extra.get("refusal"), extra.get("audio")]
    parts += [fields.get("role"), fields.get("status") if fields.get("status") != "success" else None]
    return parts if any(parts) else []


def facts_of(ticket: Ticket) -> dict[str, Any]:
    """Return what was decided on a request, for traces and states; JSON."""
    if ticket.hit is not None:
        return ticket.hit.metadata()
    return {"cache": "miss", **({"reason": ticket.reason} if ticket.reason else {})}


def checked(cache: SemanticCache) -> SemanticCache:
    """Return *cache*; a store's URL or a class in its place would only ever be misses."""
    if not isinstance(cache, SemanticCache):
        raise BadInput(f"{cache!r} is no cache: give SemanticCache(namespace='…', entries='sqlite:///…')")
    return cache
