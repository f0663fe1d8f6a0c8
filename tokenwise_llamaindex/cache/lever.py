"""The semantic cache around a LlamaIndex model: what of a call makes its key, and how a hit is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.output_parsers import PydanticOutputParser

from tokenwise_core.cache import CachedAnswer, CacheRequest, Hit, SemanticCache, Ticket
from tokenwise_core.errors import BadInput
from tokenwise_core.stack import Course, Do, Proceed
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.cache.answers import kept, served
from tokenwise_llamaindex.cache.hits import announce
from tokenwise_llamaindex.cache.parameters import NoKeyError, call_settings, model_label, model_settings, provider_name
from tokenwise_llamaindex.calls import LLMAnswer, LLMCall
from tokenwise_llamaindex.convert import api_of, to_prompt

Question = Callable[[Sequence[ChatMessage]], str | None]
"""Finds what is asked in the messages of a call; None where it cannot tell."""


_OBSERVATION = "Observation:"
"""How a ReAct agent begins the message of a user in which it hands on a tool's result."""


class CacheLever:
    """Serves a call from a `SemanticCache`, and completes its ticket with the model's answer.

    What was asked is what *query* finds in the messages, else the query of the template that they were filled in from,
    else the last message of the user; of a template without a known query only the very same text is a hit.
    """

    place = "cache"
    fails_closed = False

    def __init__(self, cache: SemanticCache, *, query: Question | None = None) -> None:
        self.cache = a_cache(cache)
        self._query = query
        self._streaming: set[object] = set()

    def around(self, request: LLMCall) -> Course[LLMCall, LLMAnswer]:
        """Look the call up; on a miss let it through and keep its answer, if it came to its end."""
        try:
            asked = self._request(request)
        except NoKeyError:
            answer: LLMAnswer = yield Proceed(request)
            return answer
        if _owner() in self._streaming:  # it would wait for a stream that it reads itself
            ticket = yield Do(lambda: self.cache.lookup(asked), lambda: self.cache.alookup(asked))
        else:
            ticket = yield Do(lambda: begun(self.cache, asked), lambda: self.cache.abegin(asked))
        if ticket.hit is not None:
            return _serve(request, ticket.hit)
        if request.streamed:
            ticket.is_streamed()
        with ticket, self._reading(request):
            answer = yield Proceed(request)
            said = kept(request, answer)
            if said is not None and _is_readable(request.asked.output_cls, answer):
                ticket.complete(said)
            return answer

    def entry(self, call: LLMCall, answer: LLMAnswer) -> tuple[CacheRequest, CachedAnswer]:
        """Return what would be stored of a call and its answer; `BadInput` where nothing would be."""
        try:
            asked = self._request(call)
        except NoKeyError as error:
            raise BadInput(f"{error} holds what cannot be compared: such a call has no cache") from error
        said = kept(call, answer)
        if said is None:
            raise BadInput("the answer holds what is not kept (images, sound, calls that only their provider can read)")
        return asked, said

    def _request(self, call: LLMCall) -> CacheRequest:
        """Return what identifies a call, and what it asks; raise `NoKeyError`."""
        asked, shown = call.asked, call.shown()
        query = self._query(shown) if self._query is not None else None
        if query is None:
            query = asked.query
        prompt = to_prompt(
            [snapshots.of_message(message) for message in shown], call.params, api=api_of(call.llm.class_name())
        )
        return CacheRequest(
            prompt=prompt,
            model=model_label(call.llm),
            provider=provider_name(call.llm),
            parameters=call_settings(call.params),
            extra={
                "model": model_settings(call.llm),
                "kind": "chat" if call.prompt is None else f"completion:{call.formatted}",
            },
            query=query,
            semantic=_may_be_rephrased(call, query, shown),
        )

    @contextmanager
    def _reading(self, call: LLMCall) -> Generator[None, None, None]:
        """Remember who reads a stream while it is open."""
        owner = _owner()
        if not call.streamed or owner in self._streaming:
            yield
            return
        self._streaming.add(owner)
        try:
            yield
        finally:
            self._streaming.discard(owner)


def a_cache(given: object) -> SemanticCache:
    """Return *given*, if it is a cache: what is none would fail in each call, and be passed over in silence."""
    if not isinstance(given, SemanticCache):
        raise BadInput(f"cache is a {type(given).__name__}: give a tokenwise_core.cache.SemanticCache")
    return given


def begun(cache: SemanticCache, asked: CacheRequest) -> Ticket:
    """Begin a blocking call; on an event loop's own thread without waiting for an equal one: it may need the loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return cache.begin(asked)
    return cache.lookup(asked)


def _may_be_rephrased(call: LLMCall, query: str | None, shown: Sequence[ChatMessage]) -> bool:
    """Say whether it is known what is asked: not in a template without a query, nor where a tool's result stands.

    Chat engines fill templates in themselves and `complete` them: a plain prompt of several lines is taken for one.
    """
    last = (shown[-1].content or "") if shown else ""
    if last.startswith(_OBSERVATION):
        return False
    if query is not None:
        return True
    return not call.asked.templated and (call.prompt is None or "\n" not in last.strip())


def _owner() -> object:
    """Return who calls: the task, or the thread outside an event loop."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident() if task is None else id(task)


def _serve(call: LLMCall, hit: Hit) -> LLMAnswer:
    answer = served(call, hit)
    announce(
        hit,
        answer.response,
        messages=call.shown(),
        params=call.params,
        model=call.llm.to_payload(),
        prompt=call.prompt is not None,
        streamed=call.streamed,
    )
    return answer


def _is_readable(output_cls: type[BaseModel] | None, answer: LLMAnswer) -> bool:
    """Say whether an answer is what its caller will read it as: one that fails to parse must not come back."""
    if output_cls is None:
        return True
    response = answer.response
    blocks = response.message.blocks if isinstance(response, ChatResponse) else ()
    calls = [block.tool_kwargs for block in blocks if isinstance(block, ToolCallBlock)]
    text = response.message.content if isinstance(response, ChatResponse) else response.text
    try:
        for call in calls:
            _ = output_cls.model_validate_json(call) if isinstance(call, str) else output_cls.model_validate(call)
        if not calls:
            PydanticOutputParser(output_cls).parse(text or "")
    except (ValidationError, ValueError):
        return False
    return True
