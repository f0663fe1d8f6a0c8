"""What the model calls under a query cost: an engine's response does not say, its instrumentation events do."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMCompletionEndEvent
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.event_handlers import BaseEventHandler
from typing_extensions import override

from tokenwise_core.usage.call import Answered
from tokenwise_core.usage.events import INPUT_BUCKETS, OUTPUT_BUCKETS, Usage
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.convert import to_answered
from tokenwise_llamaindex.dispatching import attach, detach

_COUNTS = ("input_tokens", "output_tokens", *INPUT_BUCKETS, *OUTPUT_BUCKETS, "side_input", "side_output")


class Spending:
    """The answers that models gave under one query; one that several decorated methods report counts once."""

    def __init__(self) -> None:
        self._answers: dict[int, ChatResponse | CompletionResponse] = {}

    def add(self, response: ChatResponse | CompletionResponse | None) -> None:
        """Note an answer; a call and the one that it makes bring the same object of the provider's."""
        if response is not None:
            key = id(response.raw if response.raw is not None else response)
            self._answers.setdefault(key, response)  # the object is kept: no other gets its id

    def answered(self) -> list[Answered]:
        """Return the answers as core reads them."""
        return [to_answered(snapshots.of_response(response)) for response in self._answers.values()]


_open: ContextVar[Spending | None] = ContextVar("tokenwise_llamaindex_spending", default=None)


@contextmanager
def watched(spending: Spending) -> Generator[None, None, None]:
    """Note in *spending* what models answer in this context and those copied from it."""
    token = _open.set(spending)
    _watcher.enter()
    try:
        yield
    finally:
        _watcher.leave()
        with suppress(ValueError):  # a generator that was given up ends in whatever context collects it
            _open.reset(token)


def total(usages: Iterable[Usage | None]) -> Usage | None:
    """Return the sum; None where there is none, or one is not known."""
    listed = list(usages)
    if not listed or any(usage is None or usage.input_tokens is None for usage in listed):
        return None
    counts: dict[str, Any] = {name: _sum(getattr(usage, name) for usage in listed) for name in _COUNTS}
    return Usage(**counts)


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


class _Handler(BaseEventHandler):
    @classmethod
    def class_name(cls) -> str:
        return "TokenwiseSpendingHandler"

    @override
    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        spending = _open.get()
        if spending is not None and isinstance(event, LLMChatEndEvent | LLMCompletionEndEvent):
            spending.add(event.response)


class _Watcher:
    """Listens on the dispatcher while somebody watches."""

    def __init__(self) -> None:
        self._handler = _Handler()
        self._watching = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Begin to listen."""
        with self._lock:
            self._watching += 1
            attach(self._handler)

    def leave(self) -> None:
        """Stop once nobody watches."""
        with self._lock:
            self._watching -= 1
            if not self._watching:
                detach(self._handler)


_watcher = _Watcher()
