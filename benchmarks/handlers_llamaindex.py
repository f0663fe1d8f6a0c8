"""What our handler costs the thread that calls the model, over one that does nothing; LlamaIndex's own beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span_handlers import NullSpanHandler

from tokenwise_core.usage.store import MemoryStore
from tokenwise_llamaindex import TokenBreakdownHandler

ROUNDS = 5  # the calmest one counts: a shared machine's speed changes by half from second to second
CALLS, QUICK_CALLS, WARM = 2000, 60, 50
USAGE = {"prompt_tokens": 640, "completion_tokens": 9, "total_tokens": 649}


class Constant(CustomLLM):
    """A model that costs nothing: one event a call, usage reported as OpenAI does, or not at all."""

    reports: bool = True

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, model_name="gpt-4o-mini")

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        message = ChatMessage(role="assistant", content="Your parcel arrives on Tuesday.")
        return ChatResponse(message=message, raw={"usage": USAGE if self.reports else None, "model": "gpt-4o-mini"})

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="Your parcel arrives on Tuesday.")

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        yield CompletionResponse(text="Your parcel arrives on Tuesday.", delta="")


class EmptyEvents(BaseEventHandler):
    def handle(self, event: Any, **kwargs: Any) -> None:
        pass


class EmptySpans(NullSpanHandler):
    pass


@contextmanager
def empty() -> Iterator[None]:
    root, events, spans = get_dispatcher(), EmptyEvents(), EmptySpans()
    root.add_event_handler(events)
    root.add_span_handler(spans)
    try:
        yield
    finally:
        root.event_handlers.remove(events)
        root.span_handlers = [handler for handler in root.span_handlers if handler is not spans]


def prompt_of_13() -> list[ChatMessage]:
    """A system prompt and six rounds of a support desk's conversation, some 640 tokens."""
    said = "I ordered the blue kettle on the third of May and it has not come; order number {} says shipped. " * 2
    answered = "Order {} left our warehouse on the fifth; the carrier's depot in Leeds has it since the seventh. " * 2
    messages = [ChatMessage(role="system", content="You are the support desk of a kitchen shop. Be brief and exact.")]
    for number in range(6):
        messages.append(ChatMessage(role="user", content=said.format(number, number)))
        messages.append(ChatMessage(role="assistant", content=answered.format(number, number)))
    return messages


def figures(data: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    calls = QUICK_CALLS if quick else CALLS
    goals = {"goal": 40.0, "must": 60.0}
    return [
        _figure("handler.llamaindex.us", calls, reports=True, **goals),
        _figure("handler.llamaindex.no_usage_us", calls, reports=False, goal=None, must=None),
    ]


def _figure(key: str, calls: int, *, reports: bool, goal: float | None, must: float | None) -> dict[str, Any]:
    messages = prompt_of_13()
    handler = TokenBreakdownHandler(store=MemoryStore(), log=False)
    plain = Constant(reports=reports)
    counted = Constant(reports=reports, callback_manager=CallbackManager([TokenCountingHandler()]))

    def bare() -> None:
        plain.chat(messages)

    def peer() -> None:
        counted.chat(messages)

    variants = [(empty, bare), (lambda: handler, bare), (empty, peer)]
    rounds = [interleaved(variants, calls // ROUNDS, handler.flush) for _ in range(ROUNDS)]
    alone, ours, theirs = min(rounds, key=lambda times: median(times[0]))

    def over(times: list[float]) -> float:
        """The median of the differences within a turn: the machine's speed changes from turn to turn."""
        return round(median(mine - base for mine, base in zip(times, alone, strict=True)), 1)

    assert len(handler.events()) >= calls, "the handler missed calls: its time says nothing"
    usage, base = "with" if reports else "without", median(alone)
    return {
        "area": "accounting", "key": key, "ours": over(ours), "goal": goal, "must": must, "unit": "µs",
        "better": "lower", "n": calls, "peers": {"TokenCountingHandler": over(theirs)},
        "note": f"CPU time of the calling thread over a handler that does nothing ({base:.0f} µs a call), {usage} "
        f"reported usage; ours counts in the recorder's thread; the calmest of {ROUNDS} rounds",
    }  # fmt: skip


def interleaved(
    variants: Sequence[tuple[Callable[[], Any], Callable[[], None]]],
    calls: int,
    settle: Callable[[], None],
    block: int = 10,
) -> list[list[float]]:
    """Return the CPU time of each variant in µs, the median of each turn.

    They take turns, so that a busy machine hits all alike. *settle* lets our writer finish between two turns: what it
    does meanwhile would slow the others.
    """
    times: list[list[float]] = [[] for _ in variants]
    for turn in range(WARM // block + calls // block):
        for position, (listening, call) in enumerate(variants):
            with listening():
                taken = [_timed(call) for _ in range(block)]
            settle()
            if turn >= WARM // block:
                times[position].append(median(taken) / 1e3)
    return times


def _timed(call: Callable[[], None]) -> int:
    began = time.thread_time_ns()
    call()
    return time.thread_time_ns() - began
