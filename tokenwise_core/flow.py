"""Decisions that need a model, written once: a generator yields what to ask, and is sent the answers.

>>> def fold(text):
...     return (yield Ask(f"Summarise: {text}", purpose="summary"))
>>> run(fold("a long story"), lambda ask: ask.prompt.upper())
'SUMMARISE: A LONG STORY'
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeVar

T = TypeVar("T")
MAX_AT_ONCE = 8
"""Questions of one flow that are put to the model side by side."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to a model: *prompt* stands by itself; *purpose* is what it is booked under ("summary").

    *max_tokens* bounds the answer. *instruction* is what to ask where the model can be shown the conversation as it was
    last sent: behind that prefix the provider reads most of it from its cache. Who answers may choose; None where
    only *prompt* will do.
    """

    prompt: str
    _: KW_ONLY
    purpose: str
    max_tokens: int | None = None
    instruction: str | None = None


Flow = Generator[Ask | Sequence[Ask], Any, T]
"""Yields one `Ask` and is sent its answer, or a list of them (asked at once) and is sent the list of answers."""

Asker = Callable[[Ask], str]
AsyncAsker = Callable[[Ask], Awaitable[str]]


def run(flow: Flow[T], ask: Asker) -> T:
    """Drive *flow* with a plain function; what *ask* raises is thrown into the flow, which may go on without."""
    try:
        step = next(flow)
        while True:
            try:
                answer = answered(step, ask)
            except Exception as error:  # the flow decides what a failed question means
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


async def arun(flow: Flow[T], ask: AsyncAsker) -> T:
    """Drive *flow* with a coroutine function: the same decisions."""
    try:
        step = next(flow)
        while True:
            try:
                answer = await aanswered(step, ask)
            except Exception as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


def answered(step: Ask | Sequence[Ask], ask: Asker) -> str | list[str]:
    """Return the answers to one step of a flow."""
    return ask(step) if isinstance(step, Ask) else _all(step, ask)


async def aanswered(step: Ask | Sequence[Ask], ask: AsyncAsker) -> str | list[str]:
    """Return the answers to one step of a flow, awaited."""
    return await ask(step) if isinstance(step, Ask) else await _aall(step, ask)


def _all(asks: Sequence[Ask], ask: Asker) -> list[str]:
    """Ask side by side, each in a copy of the caller's context: who is booked for it is not lost in the threads."""
    if len(asks) < 2:
        return [ask(one) for one in asks]
    with ThreadPoolExecutor(min(len(asks), MAX_AT_ONCE), thread_name_prefix="tokenwise-ask") as pool:
        return [future.result() for future in [pool.submit(copy_context().run, ask, one) for one in asks]]


async def _aall(asks: Sequence[Ask], ask: AsyncAsker) -> list[str]:
    places = asyncio.Semaphore(MAX_AT_ONCE)

    async def one(question: Ask) -> str:
        async with places:
            return await ask(question)

    return list(await asyncio.gather(*(one(question) for question in asks)))
