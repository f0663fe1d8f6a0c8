"""Whose call this is: a contextvar that follows asyncio tasks and the frameworks' own thread pools."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The names that a call is booked under; None where nobody said."""

    application: str | None = None
    agent: str | None = None
    task: str | None = None
    session: str | None = None
    user: str | None = None
    trace: str | None = None
    variant: str | None = None
    prompt_name: str | None = None
    prompt_version: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def filled_from(self, other: Scope) -> Scope:
        """Return self with what is None taken from *other*; labels are merged, self's win."""
        if other is self or other is _EMPTY:  # nearly always: runs inside one `scope(...)` share it
            return self
        missing = {
            name: getattr(other, name)
            for name in _NAMES
            if getattr(self, name) is None and getattr(other, name) is not None
        }
        labels = {**other.labels, **self.labels} if other.labels else self.labels
        return replace(self, labels=labels, **missing) if missing or labels is not self.labels else self


_NAMES = (
    "application", "agent", "task", "session", "user", "trace", "variant", "prompt_name", "prompt_version",
)  # fmt: skip
_EMPTY = Scope()
_current: ContextVar[Scope] = ContextVar("tokenwise_scope", default=_EMPTY)


def current_scope() -> Scope:
    """Return the scope in force here."""
    return _current.get()


@contextmanager
def scope(
    *,
    application: str | None = None,
    agent: str | None = None,
    task: str | None = None,
    session: str | None = None,
    user: str | None = None,
    trace: str | None = None,
    variant: str | None = None,
    prompt_name: str | None = None,
    prompt_version: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Iterator[Scope]:
    """Book every call inside under these names; what is not given is inherited from the scope outside.

    >>> with scope(application="desk", session="s-1"):
    ...     current_scope().session
    's-1'
    """
    inner = Scope(
        application=application, agent=agent, task=task, session=session, user=user, trace=trace,
        variant=variant, prompt_name=prompt_name, prompt_version=prompt_version, labels=dict(labels or {}),
    ).filled_from(_current.get())  # fmt: skip
    token = _current.set(inner)
    try:
        yield inner
    finally:
        _current.reset(token)


def carry_scope(function: Callable[P, R]) -> Callable[P, R]:
    """Return *function* bound to the scope in force here, for a plain `ThreadPoolExecutor` or `Thread`.

    Safe to call many times at once: each call runs in its own copy of the context.
    """
    context = copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(function, *args, **kwargs)

    return carried
