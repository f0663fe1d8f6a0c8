"""A hit is one event: told, marked, counted once, and booked with what it saves (point 24)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import BaseModel, Field
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import MockLLM
from llama_index.core.prompts import PromptTemplate
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.event_handlers import BaseEventHandler

from tokenwise_core import Component
from tokenwise_core.cache import SemanticCache
from tokenwise_core.usage.events import Status
from tokenwise_llamaindex import TokenBreakdownHandler, TokenwiseCacheHitEvent, TokenwiseLLM

QUESTION = "How long does a refund take?"


def user(text: str = QUESTION) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


class Heard(BaseEventHandler):
    events: list[BaseEvent] = Field(default_factory=list)

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.events.append(event)

    def names(self) -> list[str]:
        return [event.class_name() for event in self.events]


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler, root = Heard(), get_dispatcher()
    root.event_handlers = [*root.event_handlers, handler]
    yield handler
    root.event_handlers = [other for other in root.event_handlers if other is not handler]


def test_a_hit_is_booked_with_what_the_stored_answer_had_cost(
    clerk: Any, cache: SemanticCache, tracker: TokenBreakdownHandler
) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache)
    llm.chat(user())
    llm.chat(user())
    miss, hit = tracker.events()
    assert (miss.status, miss.usage.input_tokens) == (Status.OK, 100)
    assert (hit.status, hit.usage.input_tokens, hit.cost.nano) == (Status.CACHE_HIT, 0, 0)
    (saving,) = hit.savings
    assert (saving.lever, saving.reason) == ("semantic_cache", "exact")
    assert (saving.counterfactual.input_tokens, saving.counterfactual.output_tokens) == (100, 20)
    assert hit.request_model == miss.request_model
    assert hit.response_model == "clerk-1"


@pytest.mark.parametrize("cached", [False, True])
def test_each_call_is_counted_once_by_our_handler(
    cached: bool, clerk: Any, cache: SemanticCache, tracker: TokenBreakdownHandler
) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache if cached else None)

    async def awaited() -> None:
        await llm.achat(user())
        async for _ in await llm.astream_chat(user()):
            pass
        await llm.acomplete(QUESTION)

    llm.chat(user())
    list(llm.stream_chat(user()))
    llm.complete(QUESTION)
    list(llm.stream_complete(QUESTION))
    asyncio.run(awaited())
    statuses = [event.status for event in tracker.events()]
    assert len(statuses) == 7
    assert statuses.count(Status.OK) == (2 if cached else 7)


def test_a_streamed_hit_is_booked_as_streamed(clerk: Any, cache: SemanticCache, tracker: TokenBreakdownHandler) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache)
    list(llm.stream_chat(user()))
    list(llm.stream_chat(user()))
    assert [(event.status, event.streamed) for event in tracker.events()] == [
        (Status.OK, True),
        (Status.CACHE_HIT, True),
    ]


def test_a_rephrased_hit_says_that_it_was_one(clerk: Any, cache: SemanticCache, tracker: TokenBreakdownHandler) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache)
    llm.chat(user())
    cache.flush()
    llm.chat(user(QUESTION.lower()))
    assert [saving.reason for saving in tracker.events()[1].savings] == ["semantic"]


async def test_of_equal_calls_at_once_one_is_spent_and_the_others_are_joined(
    clerk: Any, cache: SemanticCache, tracker: TokenBreakdownHandler
) -> None:
    llm = TokenwiseLLM(clerk(delay_s=0.05), cache=cache)
    await asyncio.gather(*(llm.achat(user()) for _ in range(5)))
    events = await asyncio.to_thread(tracker.events)
    assert [event.status for event in events].count(Status.OK) == 1
    hits = [event for event in events if event.status is Status.CACHE_HIT]
    assert [saving.reason for event in hits for saving in event.savings] == ["joined"] * 4


def test_the_prompt_of_a_miss_is_split_as_ever(
    clerk: Any, cache: SemanticCache, tracker: TokenBreakdownHandler
) -> None:
    template = PromptTemplate("Context:\n{context_str}\nQuestion: {query_str}")
    llm = TokenwiseLLM(clerk(), cache=cache)
    for _ in range(2):
        llm.predict(template, query_str=QUESTION, context_str="Refunds take five working days, says the handbook.")
    miss, hit = tracker.events()
    assert miss.breakdown.tokens[Component.RETRIEVED_CONTEXT] > 0
    assert miss.breakdown.tokens[Component.USER_INPUT] > 0
    assert hit.breakdown.input_tokens == 0
    assert hit.fingerprint == miss.fingerprint


def test_a_hit_inside_a_decorated_call_is_counted_once(
    clerk: Any, cache: SemanticCache, tracker: TokenBreakdownHandler
) -> None:
    class Days(BaseModel):
        days: int

    llm = TokenwiseLLM(clerk('{"days": 5}', pydantic_program_mode="llm"), cache=cache).as_structured_llm(Days)
    assert [llm.chat(user()).raw.days for _ in range(2)] == [5, 5]  # `StructuredLLM.chat` has events of its own
    assert [event.status for event in tracker.events()] == [Status.OK, Status.CACHE_HIT]


def test_a_hit_is_one_event_of_ours_and_none_of_the_model_s(clerk: Any, cache: SemanticCache, heard: Heard) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache)
    llm.chat(user())
    assert heard.names() == ["LLMChatStartEvent", "LLMChatEndEvent"]
    heard.events.clear()
    response = llm.chat(user())
    (event,) = heard.events
    assert isinstance(event, TokenwiseCacheHitEvent)
    assert event.tokenwise == response.additional_kwargs["tokenwise"]
    assert event.span_id.startswith("TokenwiseLLM.chat-")
    assert event.messages[0].content == QUESTION
    assert event.model_dict["class_name"] == "Clerk"
    assert "hit" not in event.model_dump()


def test_a_token_counter_of_the_older_kind_counts_misses_alone(cache: SemanticCache) -> None:
    counter = TokenCountingHandler()
    llm = TokenwiseLLM(MockLLM(), cache=cache)
    llm.callback_manager = CallbackManager([counter])
    llm.complete("hello there")
    counted = counter.total_llm_token_count
    assert counted > 0
    for _ in range(3):
        llm.complete("hello there")
    assert counter.total_llm_token_count == counted


def test_a_rate_limiter_is_asked_for_misses_alone(clerk: Any, cache: SemanticCache) -> None:
    class Limiter:
        acquired = 0

        def acquire(self) -> None:
            self.acquired += 1

    limiter = Limiter()
    llm = TokenwiseLLM(clerk(), cache=cache)
    llm.rate_limiter = limiter
    for _ in range(3):
        llm.chat(user())
    assert limiter.acquired == 1


def test_spans_hang_together(clerk: Any, cache: SemanticCache, tracker: TokenBreakdownHandler) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache)
    for _ in range(2):
        llm.predict(PromptTemplate("{query_str}"), query_str=QUESTION)
    assert all((event.parent_id or "").partition("-")[0].endswith((".chat", ".predict")) for event in tracker.events())
    assert {event.run_name for event in tracker.events()} == {"TokenwiseLLM.predict"}


def test_where_the_product_is_switched_off_nothing_is_looked_up(
    clerk: Any, cache: SemanticCache, switched_off: Callable[[], Any]
) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    with switched_off():
        llm.chat(user())
        llm.chat(user())
    assert len(inner.calls) == 2
