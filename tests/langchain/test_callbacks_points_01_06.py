"""Points 1 to 6 of the accounting checklist: hops, joining, tools, cache hits, odd usage, details as subsets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import CallbackManager
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from tokenwise_core.usage.components import Component, CountSource
from tokenwise_core.usage.events import Status
from tokenwise_langchain import ReplayChatModel, TokenBreakdownHandler

QUESTION = "How long does a refund of order A-17 take?"
Make = Callable[..., Any]


class Verdict(BaseModel):
    """An answer, and how sure it is."""

    answer: str = Field(description="The answer in one sentence, without a greeting.")
    sure: bool = Field(description="Whether the handbook says so in as many words.")


@tool
def get_weather(city: str) -> str:
    """Say what the weather is like in a city today."""
    return f"{city}: sunny, 24 degrees"


class CountingExecutor(ThreadPoolExecutor):
    """Counts the hops out of the event loop."""

    def __init__(self) -> None:
        super().__init__(2)
        self.hops = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.hops += 1
        return super().submit(*args, **kwargs)


# 1 --------------------------------------------------------------------------------------------------------------------


async def test_point_01_a_streamed_token_costs_no_hop_out_of_the_event_loop(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    executor = CountingExecutor()
    asyncio.get_running_loop().set_default_executor(executor)
    chunks = [chunk async for chunk in model.astream(QUESTION)]
    without, executor.hops = executor.hops, 0
    counted = [chunk async for chunk in model.astream(QUESTION, config={"callbacks": [handler]})]
    assert len(counted) == len(chunks) > 5
    assert executor.hops == without


def test_point_01_no_token_is_counted_while_the_stream_runs(
    model: ReplayChatModel, handler: TokenBreakdownHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[object] = []
    monkeypatch.setattr(handler.meter.recorder, "submit", submitted.append)
    for _ in model.stream(QUESTION, config={"callbacks": [handler]}):
        assert submitted == []
    assert len(submitted) == 1


async def test_point_01_async_code_calls_the_handler_in_its_own_thread(
    says: Make, handler: TokenBreakdownHandler
) -> None:
    executor = CountingExecutor()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)
    manager = CallbackManager(handlers=[handler], inheritable_handlers=[handler])
    assert all(h.run_inline for h in manager.handlers)
    await says("x").ainvoke("hello", config={"callbacks": [handler]})
    with_handler, executor.hops = executor.hops, 0
    await says("x").ainvoke("hello")
    assert executor.hops == with_handler


# 2 --------------------------------------------------------------------------------------------------------------------


def test_point_02_the_model_known_only_at_the_start_is_in_the_event(says: Make, handler: TokenBreakdownHandler) -> None:
    says("x").invoke("hi", config={"callbacks": [handler], "metadata": {"ls_model_name": "gpt-4o"}})
    (event,) = handler.events()
    assert (event.request_model, event.provider) == ("gpt-4o", "genericfakechatmodel")


def test_point_02_a_run_is_forgotten_at_its_end_and_at_its_error(
    says: Make, refusing: GenericFakeChatModel, handler: TokenBreakdownHandler
) -> None:
    says("x").invoke("hi", config={"callbacks": [handler]})
    with pytest.raises(ConnectionError):
        refusing.invoke("hi", config={"callbacks": [handler]})
    assert handler.meter.open_runs() == ()
    assert not handler.meter.traces._runs
    assert [event.status for event in handler.events()] == [Status.OK, Status.ERROR]


def test_point_02_runs_that_never_end_do_not_pile_up(
    says: Make, handler: TokenBreakdownHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenwise_core.usage.meter.MAX_OPEN", 5)
    abandoned = [says("a b c").stream("hi", config={"callbacks": [handler]}) for _ in range(20)]
    for stream in abandoned:
        next(stream)
    assert len(handler.meter.open_runs()) == 5
    assert handler.meter.errors == 15


def test_point_02_an_end_without_a_start_is_ignored(handler: TokenBreakdownHandler) -> None:
    from uuid import uuid4

    handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=AIMessage("x"))]]), run_id=uuid4())
    handler.on_llm_error(ValueError("x"), run_id=uuid4())
    handler.on_llm_new_token(token="x", run_id=uuid4())
    assert handler.events() == ()
    assert handler.errors == 0


# 3 --------------------------------------------------------------------------------------------------------------------


def test_point_03_bound_tools_are_counted_from_what_is_sent(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    model.bind_tools([get_weather]).invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.tools_offered == 1
    assert event.breakdown[Component.TOOL_DEFINITIONS] > 20


def test_point_03_the_tool_behind_structured_output_is_counted(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    answer = model.with_structured_output(Verdict).invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert isinstance(answer, Verdict)
    assert event.breakdown[Component.TOOL_DEFINITIONS] > 20
    assert event.breakdown[Component.TOOL_CALLS] > 0


@pytest.mark.parametrize("given", ["schema of the model", "class"])
def test_point_03_a_response_format_is_an_output_schema(
    given: str, says: Make, model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    if given == "class":
        says("{}").bind(response_format=Verdict).invoke(QUESTION, config={"callbacks": [handler]})
    else:
        model.with_structured_output(Verdict, method="json_schema").invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.breakdown[Component.OUTPUT_SCHEMA] > 20
    assert event.breakdown[Component.TOOL_DEFINITIONS] == 0


@pytest.mark.parametrize(
    ("strategy", "component", "offered"),
    [(ToolStrategy(Verdict), Component.TOOL_DEFINITIONS, 2), (ProviderStrategy(Verdict), Component.OUTPUT_SCHEMA, 1)],
)
def test_point_03_an_agents_answer_format_is_seen_though_its_config_does_not_list_it(
    strategy: Any, component: Component, offered: int, model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    agent = create_agent(model, [get_weather], response_format=strategy)
    agent.invoke({"messages": [HumanMessage(QUESTION)]}, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.tools_offered == offered
    assert event.breakdown[component] > 20


# 4 --------------------------------------------------------------------------------------------------------------------

USAGE = {"input_tokens": 900, "output_tokens": 100, "total_tokens": 1000}


def test_point_04_a_cache_hit_spends_nothing_and_is_booked_as_saved(
    says: Make, reply: Make, handler: TokenBreakdownHandler
) -> None:
    answered = reply(usage=USAGE, response_metadata={"model_name": "gpt-4o"})
    cached = says(answered, cache=InMemoryCache())
    for _ in range(2):
        cached.invoke("same", config={"callbacks": [handler], "metadata": {"ls_model_name": "gpt-4o"}})
    paid, hit = handler.events()
    assert (paid.status, hit.status) == (Status.OK, Status.CACHE_HIT)
    assert hit.breakdown.total_tokens == 0
    assert hit.savings[0].saved.tokens == 1000
    assert hit.savings[0].saved.nano == paid.cost.nano > 0  # type: ignore[union-attr]
    assert handler.breakdown().total_tokens == 1000


def test_point_04_a_hit_on_an_answer_without_usage_is_a_hit(says: Make, handler: TokenBreakdownHandler) -> None:
    cached = says("Fine.", cache=InMemoryCache())
    for _ in range(2):
        cached.invoke("same words", config={"callbacks": [handler]})
    paid, hit = handler.events()
    assert hit.status is Status.CACHE_HIT
    assert hit.savings[0].saved.tokens == paid.breakdown.total_tokens > 0


def test_point_04_a_stream_is_not_taken_for_a_hit(model: ReplayChatModel, handler: TokenBreakdownHandler) -> None:
    list(model.stream(QUESTION, config={"callbacks": [handler]}))
    assert [event.status for event in handler.events()] == [Status.OK]


def test_point_04_the_mark_of_our_own_caches_is_a_hit(says: Make, reply: Make, handler: TokenBreakdownHandler) -> None:
    marked = reply(usage=USAGE, response_metadata={"tokenwise": {"cache": "semantic", "score": 0.98}})
    says(marked).invoke("hi", config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.status is Status.CACHE_HIT
    assert event.savings[0].saved.tokens == 1000


# 5 --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usage",
    [
        None, {}, {"output_tokens": 5}, {"input_tokens": None, "output_tokens": None, "total_tokens": None},
        {"input_tokens": 7.0, "output_tokens": 5.0, "total_tokens": 12.0}, {"total_tokens": 12},
        {"input_tokens": "7", "output_tokens": [], "total_tokens": {}}, {"nonsense": object()},
    ],
)  # fmt: skip
def test_point_05_odd_usage_is_tolerated_and_completed_by_our_count(
    usage: dict[str, Any] | None, says: Make, reply: Make, handler: TokenBreakdownHandler
) -> None:
    answer = says(reply("Five working days.", usage=usage)).invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert answer.content == "Five working days."
    assert event.breakdown.input_tokens > 0
    assert event.breakdown.output_tokens > 0
    assert handler.errors == 0


def test_point_05_without_a_model_name_in_the_answer_the_requests_name_counts(
    says: Make, reply: Make, handler: TokenBreakdownHandler
) -> None:
    says(reply(usage=USAGE)).invoke("hi", config={"callbacks": [handler], "metadata": {"ls_model_name": "gpt-4o-mini"}})
    (event,) = handler.events()
    assert event.model == "gpt-4o-mini"
    assert event.breakdown.total_tokens == 1000
    assert event.cost is not None


def test_point_05_usage_of_integrations_that_report_it_beside_the_message_is_read(
    handler: TokenBreakdownHandler,
) -> None:
    class Older(FakeListLLM):
        def _generate(self, *args: Any, **kwargs: Any) -> LLMResult:
            result = super()._generate(*args, **kwargs)
            result.llm_output = {
                "token_usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42},
                "model_name": "gpt-3.5-turbo-instruct",
            }
            return result

    Older(responses=["Fine."]).invoke("Hello there", config={"callbacks": [handler]})
    (event,) = handler.events()
    assert (event.operation, event.model) == ("completion", "gpt-3.5-turbo-instruct")
    assert (event.breakdown.input_tokens, event.breakdown.output_tokens) == (40, 2)
    assert event.breakdown.source is CountSource.REPORTED


def test_point_05_a_string_models_batch_books_the_usage_of_its_one_response_once(
    handler: TokenBreakdownHandler,
) -> None:
    class Older(FakeListLLM):
        def _generate(self, *args: Any, **kwargs: Any) -> LLMResult:
            result = super()._generate(*args, **kwargs)
            result.llm_output = {"token_usage": {"prompt_tokens": 40, "completion_tokens": 2, "total_tokens": 42}}
            return result

    Older(responses=["Fine."]).generate(["one", "two", "three"], callbacks=[handler])
    assert len(handler.events()) == 3
    assert handler.breakdown().total_tokens == 42


def test_point_05_a_string_models_batch_without_usage_is_counted_by_us(handler: TokenBreakdownHandler) -> None:
    class Unreporting(FakeListLLM):
        def _generate(self, *args: Any, **kwargs: Any) -> LLMResult:
            return super()._generate(*args, **kwargs).model_copy(update={"llm_output": {"token_usage": {}}})

    Unreporting(responses=["Fine."]).generate(["one", "two", "three"], callbacks=[handler])
    assert all(event.breakdown.total_tokens > 0 for event in handler.events())


# 6 --------------------------------------------------------------------------------------------------------------------


def test_point_06_details_are_subsets_of_the_totals(says: Make, reply: Make, handler: TokenBreakdownHandler) -> None:
    usage = {
        "input_tokens": 2000, "output_tokens": 300, "total_tokens": 2300,
        "input_token_details": {"cache_read": 1500, "cache_creation": 100},
        "output_token_details": {"reasoning": 250},
    }  # fmt: skip
    messages = [SystemMessage("Be brief. " * 400), HumanMessage("hi")]
    says(reply(usage=usage)).invoke(messages, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.breakdown.total_tokens == 2300
    assert event.breakdown.cached_tokens == event.usage.cache_read == 1500
    assert event.usage.input_uncached == 400
    assert event.breakdown[Component.REASONING] == 250


def test_point_06_keys_with_a_service_tier_in_front_are_read_and_unknown_ones_kept(
    says: Make, reply: Make, handler: TokenBreakdownHandler
) -> None:
    usage = {
        "input_tokens": 2000, "output_tokens": 300, "total_tokens": 2300,
        "input_token_details": {"priority_cache_read": 1500, "priority": 500, "crystal_tokens": 3},
        "output_token_details": {"priority_reasoning": 250},
    }  # fmt: skip
    says(reply(usage=usage)).invoke("hi", config={"callbacks": [handler]})
    (event,) = handler.events()
    assert (event.usage.cache_read, event.usage.reasoning) == (1500, 250)
    assert event.usage.service_tier == "priority"
    assert any("crystal_tokens" in key for key in event.usage.unknown)
