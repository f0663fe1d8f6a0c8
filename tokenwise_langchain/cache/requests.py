"""A LangChain model call as a cache's request, the scope it is asked in, and the boundary that lets no failure out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import RunnableConfig, ensure_config, var_child_runnable_config

from tokenwise_core.cache.gate import is_rendered
from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.cache.semantic import SemanticCache
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.errors import BadInput
from tokenwise_core.scoping import current_scope, scope
from tokenwise_core.usage.components import Component
from tokenwise_langchain.blocks import Fields, digest_of, unread
from tokenwise_langchain.cache.parameters import Called
from tokenwise_langchain.convert import to_prompt
from tokenwise_langchain.snapshots import scope_of

log = logging.getLogger("tokenwise.cache")
_LOGGED_ERRORS = 3  # a cache that fails on every call must not write a line for each

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


@contextmanager
def scoped(metadata: Mapping[str, Any] | None) -> Iterator[None]:
    """Fill the scope in force with the thread, user and agent that LangChain knows; what the application said wins."""
    known = current_scope().filled_from(scope_of(metadata)) if metadata else current_scope()
    if known is current_scope():
        yield
        return
    with scope(session=known.session, user=known.user, agent=known.agent):
        yield


def whose(config: RunnableConfig) -> dict[str, Any]:
    """Return whose call this is as far as LangChain and LangGraph know."""
    return {**config.get("configurable", {}), **config.get("metadata", {})}


def facts_of(ticket: Ticket) -> dict[str, Any]:
    """Return what was decided on a request, for traces and states; JSON."""
    if ticket.hit is not None:
        return ticket.hit.metadata()
    return {"cache": "miss", **({"reason": ticket.reason} if ticket.reason else {})}


@contextmanager
def traced(facts: Mapping[str, Any]) -> Iterator[None]:
    """Let the runs inside carry *facts* in their metadata, as `tokenwise.cache`, `tokenwise.hit_id`, …"""
    token = var_child_runnable_config.set(with_facts(ensure_config(), facts))
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def with_facts(config: RunnableConfig, facts: Mapping[str, Any]) -> RunnableConfig:
    """Return *config* with *facts* in its metadata."""
    named = {f"tokenwise.{name}": value for name, value in facts.items()}
    return {**config, "metadata": {**config.get("metadata", {}), **named}}


def checked(cache: SemanticCache) -> SemanticCache:
    """Return *cache*; a store's URL or a class in its place would only ever be misses."""
    if not isinstance(cache, SemanticCache):
        raise BadInput(f"{cache!r} is no cache: give SemanticCache(namespace='…', entries='sqlite:///…')")
    return cache


class Guard:
    """The fail-open boundary of one cache: what goes wrong inside is logged (no user text), counted, and over.

    >>> with guard("look up"):
    ...     ...
    """

    def __init__(self) -> None:
        self.errors = 0
        self._told: set[str] = set()

    def __call__(self, doing: str) -> _Guarded:
        return _Guarded(self, doing)

    def told(self, reason: str) -> None:
        """Say, once each, why something is not stored."""
        if reason not in self._told and len(self._told) < _LOGGED_ERRORS:
            self._told.add(reason)
            log.warning("not stored in the cache: %s", reason)


class _Guarded:
    __slots__ = ("_doing", "_guard")

    def __init__(self, guard: Guard, doing: str) -> None:
        self._guard, self._doing = guard, doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        self._guard.errors += 1
        if self._guard.errors <= _LOGGED_ERRORS:
            log.warning("the cache could not %s (%s): the call goes on without it", self._doing, type(error).__name__)
        return True
