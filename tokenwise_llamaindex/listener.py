"""Translates LlamaIndex's instrumentation events and spans into the meter's calls.

An event has no parent: the tree comes from the spans. Start and end of one model call share the span's id, streams
included, whose span ends when the generator is handed out, before its first token.
"""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache, partial
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from llama_index.core.chat_engine.types import BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
    LLMPredictStartEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent
from llama_index.core.workflow import Workflow
from llama_index_instrumentation.base import BaseEvent

from tokenwise_core.usage.call import Answered
from tokenwise_core.usage.events import Status
from tokenwise_core.usage.meter import Meter
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.cache.hits import TokenwiseCacheHitEvent
from tokenwise_llamaindex.requests import Batch, Fact, Request, Written, span_name
from tokenwise_llamaindex.snapshots import Snapshot
from tokenwise_llamaindex.templates import filled

log = logging.getLogger("tokenwise.llamaindex")

MAX_OPEN = 20_000  # calls, and spans with something to tell: those that never end are forgotten
MAX_IDLE = 256  # generators of one model class that were handed out and not begun

_RUN_ID = "llamaindex.run_id"
_LOGGED_ERRORS = 3
_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Listener:
    """The calls under way, by the id of the span that they began in."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.errors = 0
        self._requests: OrderedDict[Hashable, Request] = OrderedDict()
        self._batches: OrderedDict[str, deque[Batch]] = OrderedDict()
        self._facts: OrderedDict[Hashable, Fact] = OrderedDict()
        self._idle: dict[str, deque[Request]] = {}
        self._written = Written()

    def failed(self, error: Exception) -> None:
        """Count and log an error of our own: the dispatcher would hide it."""
        self.errors += 1
        if self.errors <= _LOGGED_ERRORS:
            log.warning("an event could not be accounted for (%s); the call goes on uncounted", type(error).__name__)

    def is_open(self, span: str) -> bool:
        """Say whether a call that began in *span* has not ended."""
        return span in self._requests or span in self._batches

    # Spans ------------------------------------------------------------------------------------------------------------

    def entered(self, span: str, parent: str | None, instance: object, arguments: Mapping[str, Any]) -> None:
        """Note that *span* began under *parent*."""
        self.meter.traces.enter(span, parent)
        fact = _fact(span, instance, arguments)
        if fact is not None:
            _put(self._facts, span, fact)

    def left(self, span: str) -> None:
        """Note that *span* ended well; a stream that it returned goes on."""
        self._facts.pop(span, None)
        request = self._requests.get(span)
        if request is None:
            self.meter.traces.leave(span)
        elif request.last is None:
            self._idle.setdefault(request.class_name, deque(maxlen=MAX_IDLE)).append(request)

    def dropped(self, span: str, error: BaseException | None) -> None:
        """Note that *span* ended by an exception, and with it the calls that are open in it."""
        for batch in self._batches.pop(span, ()):
            self.meter.end(batch.run, None, status=_status(error), error_type=_name(error))
        while span in self._requests:
            self._failed(span, error)
        self._facts.pop(span, None)
        self.meter.traces.leave(span)

    # Model calls ------------------------------------------------------------------------------------------------------

    def _chat_started(self, event: LLMChatStartEvent) -> None:
        self._started(event, [snapshots.of_message(message) for message in event.messages], plain=False)

    def _completion_started(self, event: LLMCompletionStartEvent) -> None:
        self._started(event, [snapshots.of_prompt(event.prompt)], plain=True)

    def _started(
        self, event: LLMChatStartEvent | LLMCompletionStartEvent, messages: list[Snapshot], *, plain: bool
    ) -> None:
        span = event.span_id or event.id_
        request = Request(
            span=span,
            run=span,
            messages=messages,
            params=event.additional_kwargs,
            model=event.model_dict,
            plain=plain,
            run_id=event.tags.get(_RUN_ID),
            above=self.meter.traces.ancestors(span),
            written=self._written,
        )
        outer = self._outer(request, event.id_)
        if outer is not None and plain and not outer.plain:
            request.flattens = outer
        facts = self._facts
        request.facts = tuple(facts[run] for run in request.above if run in facts)
        _put(self._requests, span, request)
        self.meter.start(request.run, request.details, parent=request.above[0] if request.above else None)

    def _outer(self, request: Request, event: str) -> Request | None:
        """Return the model call that makes this one, and hang this one under it."""
        shadowed = self._requests.get(request.span)
        if shadowed is not None:  # two calls in one span: the inner one needs an id of its own, alike in all handlers
            request.shadows = shadowed
            request.run, request.above = f"{request.span}/{event}", (shadowed.run, *request.above)
            return shadowed
        for run in request.above:
            if run in self._requests:
                return self._requests[run]
        return self._generator(request)

    def _generator(self, request: Request) -> Request | None:
        """Return the open call whose generator makes this one.

        `CustomLLM.astream_chat` calls `stream_chat` only when its generator is first advanced: its own span is over.
        """
        idle = self._idle.get(request.class_name, ())
        outer = next((waiting for waiting in idle if waiting.is_advanced_by(request)), None)
        if outer is not None:
            self._no_longer_idle(outer)
            request.above = (outer.run, *outer.above)
        return outer

    def _served(self, event: TokenwiseCacheHitEvent) -> None:
        """Book a hit: a call that began and ended in one event, under the span that it was asked in."""
        parent = event.span_id
        request = Request(
            span=event.id_,
            run=event.id_,
            messages=[snapshots.of_message(message) for message in event.messages],
            params=event.additional_kwargs,
            model=event.model_dict,
            plain=event.prompt,
            run_id=event.tags.get(_RUN_ID),
            above=(parent, *self.meter.traces.ancestors(parent)) if parent else (),
            written=self._written,
        )
        request.facts = tuple(self._facts[run] for run in request.above if run in self._facts)
        self.meter.start(request.run, request.details, parent=parent, streamed=event.streamed)
        answered = partial(request.served, snapshots.of_response(event.response), event.hit)
        self.meter.end(request.run, answered, status=Status.CACHE_HIT)

    def _progressed(self, event: LLMChatInProgressEvent | LLMCompletionInProgressEvent) -> None:
        request = self._requests.get(event.span_id)
        if request is None:
            return
        if request.last is None:
            self.meter.first_token(request.run)
            self._no_longer_idle(request)
            request.began = event.response.raw
        request.last = event.response

    def _ended(self, event: LLMChatEndEvent | LLMCompletionEndEvent) -> None:
        request = self._closed(event.span_id)
        if request is not None:
            self.meter.end(request.run, _answer(request, event.response))

    def _raised(self, event: ExceptionEvent) -> None:
        self._failed(event.span_id, event.exception)

    def _failed(self, span: Hashable, error: BaseException | None) -> None:
        """End a call that raised; a stream that was given up is charged for what it had said."""
        request = self._closed(span)
        if request is not None:
            self.meter.end(request.run, _answer(request, None), status=_status(error), error_type=_name(error))

    def _closed(self, span: Hashable) -> Request | None:
        request = self._requests.pop(span, None)
        if request is not None:
            if request.shadows is not None:
                _put(self._requests, span, request.shadows)
            self._no_longer_idle(request)
        return request

    def _no_longer_idle(self, request: Request) -> None:
        idle = self._idle.get(request.class_name)
        if idle and request in idle:
            idle.remove(request)

    # What prompts are made of -----------------------------------------------------------------------------------------

    def _predicting(self, event: LLMPredictStartEvent | LLMStructuredPredictStartEvent) -> None:
        if event.span_id:
            _put(self._facts, event.span_id, Fact(filled=filled(event.template, event.template_args)))

    def _retrieved(self, event: RetrievalEndEvent) -> None:
        self.meter.retrieved(event.span_id, [text for node in event.nodes for text in snapshots.of_node(node)])

    # Embeddings -------------------------------------------------------------------------------------------------------

    def _embedding_started(self, event: EmbeddingStartEvent) -> None:
        """Note the start of a batch: several may be open in one span, and end in the order in which they began."""
        span = event.span_id or event.id_
        batch = Batch(run=event.id_, model=event.model_dict, run_id=event.tags.get(_RUN_ID))
        if span not in self._batches:
            _put(self._batches, span, deque(maxlen=MAX_OPEN))
        self._batches[span].append(batch)
        self.meter.start(batch.run, batch.details, parent=event.span_id)

    def _embedding_ended(self, event: EmbeddingEndEvent) -> None:
        batches = self._batches.get(event.span_id or "")
        if not batches:
            return
        batch = batches.popleft()
        batch.texts = tuple(event.chunks)
        if not batches:
            self._batches.pop(event.span_id or "", None)
        self.meter.end(batch.run, None)

    actions: Mapping[type[BaseEvent], Callable[[Listener, Any], None]] = {
        LLMChatStartEvent: _chat_started,
        LLMChatInProgressEvent: _progressed,
        LLMChatEndEvent: _ended,
        LLMCompletionStartEvent: _completion_started,
        TokenwiseCacheHitEvent: _served,
        LLMCompletionInProgressEvent: _progressed,
        LLMCompletionEndEvent: _ended,
        LLMPredictStartEvent: _predicting,
        LLMStructuredPredictStartEvent: _predicting,
        ExceptionEvent: _raised,
        RetrievalEndEvent: _retrieved,
        EmbeddingStartEvent: _embedding_started,
        EmbeddingEndEvent: _embedding_ended,
    }
    """What each kind of event is translated by; all others are passed over."""


def _fact(span: str, instance: Any, arguments: Mapping[str, Any]) -> Fact | None:
    """Return what a span tells about the calls under it: the agent and step of a workflow, a chat engine."""
    if instance is None:
        step = arguments.get("ev")
        if step is None:
            return None
        return Fact(agent=getattr(step, "current_agent_name", None), node=span_name(span).rpartition(".")[2])
    match _kind(type(instance)):  # type: ignore[arg-type]  # a class is hashable
        case "engine":
            template = getattr(instance, "_condense_prompt_template", None)
            return Fact(engine=True, condense=getattr(template, "template", None))
        case "stream":  # of a chat engine, whose span is over when the thread of the stream begins
            return Fact(engine=True)
        case "workflow":
            name = getattr(instance, "name", None)
            return Fact(agent=name) if isinstance(name, str) else None
    return None


@lru_cache(maxsize=1024)
def _kind(instance: type[Any]) -> str | None:
    """Name the classes that tell something; asked for each span, and slow to ask."""
    kinds = (("engine", BaseChatEngine), ("stream", StreamingAgentChatResponse), ("workflow", Workflow))
    return next((kind for kind, base in kinds if issubclass(instance, base)), None)


def _answer(request: Request, response: ChatResponse | CompletionResponse | None) -> Callable[[], Answered] | None:
    """Return what projects the answer, or the last chunk of it; None where nothing came."""
    response = response if response is not None else request.last
    return None if response is None else partial(request.answered, snapshots.of_response(response, request.began))


def _status(error: BaseException | None) -> Status:
    """Tell a failure from a call that its user gave up (`GeneratorExit`, `CancelledError`, `KeyboardInterrupt`)."""
    return Status.ERROR if error is None or isinstance(error, Exception) else Status.ABORTED


def _put(entries: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    entries[key] = value
    if len(entries) > MAX_OPEN:
        entries.popitem(last=False)


def _name(error: BaseException | None) -> str | None:
    return None if error is None else type(error).__name__
