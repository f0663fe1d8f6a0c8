"""How a request's steps are driven: model questions asked, work that may wait done within the time budget."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from tokenwise_core.deadline import TooBusy, Workers
from tokenwise_core.flow import Ask, Asker, AsyncAsker, Flow, aanswered, answered

log = logging.getLogger("tokenwise.memory")

T = TypeVar("T")

THOUGHT_S = 60.0
"""How long a computation of ours is waited for on an event loop."""


@dataclass(frozen=True, slots=True)
class Work(Generic[T]):
    """Work that may wait for a disk, a database or an embedder; *otherwise* is what stands in for it past its time."""

    function: Callable[[], T]
    otherwise: T


@dataclass(frozen=True, slots=True)
class Thought(Generic[T]):
    """A computation of ours that must be done, however long it takes: at once, or in a thread beside an event loop."""

    function: Callable[[], T]


@dataclass(frozen=True, slots=True)
class Settled(Generic[T]):
    """What a flow came to."""

    value: T


Course = Generator[Ask | Sequence[Ask] | Work[Any] | Thought[Any], Any, T]
"""A flow that may yield work and thoughts, too."""


def thought(flow: Flow[T]) -> Course[T]:
    """Return *flow* with all that it computes between its questions done as thoughts."""
    answer: Any = None
    error: Exception | None = None
    while True:
        step = yield Thought(partial(_on, flow, answer, error))
        if isinstance(step, Settled):
            value: T = step.value
            return value
        try:
            answer, error = (yield step), None
        except Exception as raised:  # the flow decides
            answer, error = None, raised


def _on(flow: Flow[T], answer: Any, error: Exception | None) -> Ask | Sequence[Ask] | Settled[T]:
    try:
        return flow.send(answer) if error is None else flow.throw(error)
    except StopIteration as end:
        return Settled(end.value)


class NobodyToAsk(Exception):
    """A flow asks a model, and none was given."""


def drive(course: Course[T], ask: Asker | None, workers: Workers, budget_s: float) -> T:
    """Run *course* to its end; all its work together may take *budget_s*."""
    left = budget_s
    try:
        step = next(course)
        while True:
            try:
                if isinstance(step, Work):
                    began = time.monotonic()
                    value = _tried(step, workers, left)
                    left = max(0.0, left - (time.monotonic() - began))
                elif isinstance(step, Thought):
                    value = step.function()
                else:
                    value = answered(step, ask or _nobody)
            except Exception as error:  # of the model: the course decides
                step = course.throw(error)
            else:
                step = course.send(value)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        course.close()


async def adrive(course: Course[T], ask: AsyncAsker | None, workers: Workers, budget_s: float) -> T:
    """Do the same on an event loop, which nothing blocks."""
    left = budget_s
    try:
        step = next(course)
        while True:
            try:
                if isinstance(step, Work):
                    began = time.monotonic()
                    value = await _atried(step, workers, left)
                    left = max(0.0, left - (time.monotonic() - began))
                elif isinstance(step, Thought):
                    value = await _thought_aside(step, workers)
                else:
                    value = await aanswered(step, ask or _anobody)
            except Exception as error:
                step = course.throw(error)
            else:
                step = course.send(value)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        course.close()


def _tried(work: Work[T], workers: Workers, budget_s: float) -> T:
    try:
        return workers.run(work.function, budget_s)
    except Exception as error:  # fail-open
        log.warning("memory goes on without a part of it (%s: %s)", type(error).__name__, error)
        return work.otherwise


async def _atried(work: Work[T], workers: Workers, budget_s: float) -> T:
    try:
        return await workers.arun(work.function, budget_s)
    except Exception as error:  # fail-open
        log.warning("memory goes on without a part of it (%s: %s)", type(error).__name__, error)
        return work.otherwise


async def _thought_aside(step: Thought[T], workers: Workers) -> T:
    try:
        return await workers.arun(step.function, THOUGHT_S)
    except TooBusy:  # it was not begun
        return step.function()


def _nobody(ask: Ask) -> str:
    raise NobodyToAsk(ask.purpose)


async def _anobody(ask: Ask) -> str:
    raise NobodyToAsk(ask.purpose)
