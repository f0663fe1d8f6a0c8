"""The run that a lever stands in: whose it is, what is noted on it, and where our failures end."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from langchain_core.runnables.config import RunnableConfig, ensure_config, var_child_runnable_config

from tokenwise_core.scoping import current_scope, scope
from tokenwise_langchain.snapshots import scope_of

_LOGGED_ERRORS = 3  # a lever that fails on every call must not write a line for each


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


class Guard:
    """The fail-open boundary of one lever: what goes wrong inside is logged (no user text), counted, and over.

    >>> with guard("look up"):
    ...     ...
    """

    def __init__(self, lever: str) -> None:
        self.lever, self.log = lever, logging.getLogger(f"tokenwise.{lever}")
        self.errors = 0
        self._told: set[str] = set()

    def __call__(self, doing: str) -> _Guarded:
        return _Guarded(self, doing)

    def told(self, reason: str) -> None:
        """Say, once each, why something is not stored."""
        if reason not in self._told and len(self._told) < _LOGGED_ERRORS:
            self._told.add(reason)
            self.log.warning("not stored in the %s: %s", self.lever, reason)


class _Guarded:
    __slots__ = ("_doing", "_guard")

    def __init__(self, guard: Guard, doing: str) -> None:
        self._guard, self._doing = guard, doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(error, Exception):
            return False
        guard = self._guard
        guard.errors += 1
        if guard.errors <= _LOGGED_ERRORS:
            failed = "the %s could not %s (%s): the call goes on without it"
            guard.log.warning(failed, guard.lever, self._doing, type(error).__name__)
        return True
