"""Point 1: one event a provider response, whatever calls whatever, in whichever way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import PromptTemplate, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import LLM, MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM, MockLLMWithChatMemoryOfLastCall

from tokenwise_core import scope
from tokenwise_core.usage.events import Status
from tokenwise_llamaindex import ReplayLLM, TokenBreakdownHandler

ASK = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="How are you?")]
TEMPLATE = PromptTemplate("Context: {context_str}\nQuestion: {query_str}\nAnswer: ")
FILLED = {"context_str": "The kettle is blue.", "query_str": "Which colour is it?"}


def chat(llm: LLM) -> None:
    llm.chat(ASK)


def complete(llm: LLM) -> None:
    llm.complete("How are you?")


def stream_chat(llm: LLM) -> None:
    assert list(llm.stream_chat(ASK))


def stream_complete(llm: LLM) -> None:
    assert list(llm.stream_complete("How are you?"))


def predict(llm: LLM) -> None:
    llm.predict(TEMPLATE, **FILLED)


def stream(llm: LLM) -> None:
    assert "".join(llm.stream(TEMPLATE, **FILLED))


async def achat(llm: LLM) -> None:
    await llm.achat(ASK)


async def acomplete(llm: LLM) -> None:
    await llm.acomplete("How are you?")


async def astream_chat(llm: LLM) -> None:
    assert [chunk async for chunk in await llm.astream_chat(ASK)]


async def astream_complete(llm: LLM) -> None:
    assert [chunk async for chunk in await llm.astream_complete("How are you?")]


async def apredict(llm: LLM) -> None:
    await llm.apredict(TEMPLATE, **FILLED)


async def astream(llm: LLM) -> None:
    assert [token async for token in await llm.astream(TEMPLATE, **FILLED)]


SYNC = [chat, complete, stream_chat, stream_complete, predict, stream]
ASYNC = [achat, acomplete, astream_chat, astream_complete, apredict, astream]
MODELS: dict[str, Callable[[], LLM]] = {
    "MockLLM, text": lambda: MockLLM(max_tokens=4),
    "MockLLM, chat": lambda: MockLLM(max_tokens=4, is_chat_model=True),
    "MockLLM calling itself": lambda: MockLLMWithChatMemoryOfLastCall(max_tokens=4, is_chat_model=True),
    "MockFunctionCallingLLM": lambda: MockFunctionCallingLLM(is_chat_model=True),
    "ReplayLLM": ReplayLLM,
}


@pytest.fixture(params=MODELS)
def llm(request: pytest.FixtureRequest) -> LLM:
    return MODELS[request.param]()


@pytest.mark.parametrize("call", SYNC)
def test_a_call_is_one_event(llm: LLM, call: Callable[[LLM], None], tracker: TokenBreakdownHandler) -> None:
    call(llm)
    (event,) = tracker.events()
    assert event.status is Status.OK
    assert event.streamed is call.__name__.startswith("stream")


@pytest.mark.parametrize("call", ASYNC)
async def test_an_awaited_call_is_one_event(
    llm: LLM, call: Callable[[LLM], Awaitable[None]], tracker: TokenBreakdownHandler
) -> None:
    await call(llm)
    (event,) = tracker.events()
    assert event.status is Status.OK


@pytest.mark.parametrize("call", SYNC)
def test_calls_in_threads_are_one_event_each(
    llm: LLM, call: Callable[[LLM], None], tracker: TokenBreakdownHandler
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, [llm] * 8))
    assert len(tracker.events()) == 8


@pytest.mark.parametrize("call", ASYNC)
async def test_calls_in_tasks_are_one_event_each(
    llm: LLM, call: Callable[[LLM], Awaitable[None]], tracker: TokenBreakdownHandler
) -> None:
    await asyncio.gather(*(call(llm) for _ in range(8)))
    assert len(tracker.events()) == 8


def test_a_stream_begun_in_one_thread_and_read_in_another_is_one_event(tracker: TokenBreakdownHandler) -> None:
    chunks = MockLLM(max_tokens=4).stream_chat(ASK)
    reader = threading.Thread(target=lambda: list(chunks))
    reader.start()
    reader.join()
    assert [event.streamed for event in tracker.events()] == [True]


async def test_two_streams_that_are_read_in_turns_are_two_events(tracker: TokenBreakdownHandler) -> None:
    llm = MockLLM(max_tokens=4)
    one, other = await llm.astream_chat(ASK), await llm.astream_chat(ASK)
    async for _ in one:
        await anext(other)
    assert [chunk async for chunk in other] == []
    assert len(tracker.events()) == 2


async def test_a_question_asked_while_a_stream_waits_is_a_call_of_its_own(tracker: TokenBreakdownHandler) -> None:
    llm = ReplayLLM()
    waiting = await llm.astream_chat(ASK)
    llm.chat([ChatMessage(content="Something else entirely?")])
    assert [chunk async for chunk in waiting]
    assert len(tracker.events()) == 2


# Engines, programs and agents -----------------------------------------------------------------------------------------


class Colour(BaseModel):
    """What colour a thing has."""

    answer: str


def test_structured_prediction_is_one_event_with_its_forced_tool(
    replayed: ReplayLLM, tracker: TokenBreakdownHandler
) -> None:
    question = PromptTemplate("{query_str}")
    colour = replayed.structured_predict(Colour, question, query_str="How long does a refund of order A-17 take?")
    assert "five working days" in colour.answer
    (event,) = tracker.events()
    assert event.tools_offered == 1
    assert event.breakdown["tool_definitions"] > 0 < event.breakdown["tool_calls"]


async def test_structured_prediction_awaited_is_one_event(replayed: ReplayLLM, tracker: TokenBreakdownHandler) -> None:
    question = PromptTemplate("{query_str}")
    await replayed.astructured_predict(Colour, question, query_str="How long does a refund of order A-17 take?")
    assert len(tracker.events()) == 1


def test_a_structured_model_around_a_model_is_one_event(replayed: ReplayLLM, tracker: TokenBreakdownHandler) -> None:
    replayed.as_structured_llm(Colour).chat([ChatMessage(content="How long does a refund of order A-17 take?")])
    assert len(tracker.events()) == 1


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "simple_summarize", "accumulate"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_query_engine_is_one_event_a_model_call(
    mode: str, streaming: bool, index: VectorStoreIndex, tracker: TokenBreakdownHandler
) -> None:
    if streaming and mode == "accumulate":
        pytest.skip("LlamaIndex does not stream it")
    engine = index.as_query_engine(llm=ReplayLLM(), response_mode=mode, streaming=streaming, similarity_top_k=2)
    tracker.reset()
    answer = engine.query("How long does a refund take?")
    if streaming:
        assert "".join(answer.response_gen)
    calls = [event for event in tracker.events() if event.operation == "chat"]
    assert len(calls) == (2 if mode in ("refine", "accumulate") else 1)


@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question", "simple"])
def test_a_chat_engine_is_one_event_a_model_call(
    mode: Any, index: VectorStoreIndex, tracker: TokenBreakdownHandler
) -> None:
    llm = ReplayLLM()
    engine = SimpleChatEngine.from_defaults(llm=llm) if mode == "simple" else index.as_chat_engine(mode, llm=llm)
    tracker.reset()
    engine.chat("How long does a refund take?")
    assert "".join(engine.stream_chat("And for a kettle?").response_gen)
    calls = [event for event in tracker.events() if event.operation == "chat"]
    condensing = mode.startswith("condense")
    assert len(calls) == 2 + condensing
    assert calls[-1].streamed


async def test_a_chat_engine_awaited_is_one_event_a_model_call(
    index: VectorStoreIndex, tracker: TokenBreakdownHandler
) -> None:
    engine = index.as_chat_engine("context", llm=ReplayLLM())
    tracker.reset()
    await engine.achat("How long does a refund take?")
    answer = await engine.astream_chat("And for a kettle?")
    assert [token async for token in answer.async_response_gen()]
    calls = [event for event in tracker.events() if event.operation == "chat"]
    assert [call.streamed for call in calls] == [False, True]


def get_weather(city: str) -> str:
    """Say what the weather is like in a city today."""
    return f"{city}: sunny, 24 degrees"


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
async def test_an_agent_is_one_event_a_step_under_its_name_and_run(
    streaming: bool, wrapped: bool, replayed: ReplayLLM, tracker: TokenBreakdownHandler
) -> None:
    agent = FunctionAgent(
        name="forecaster", description="Knows the weather.", tools=[get_weather], llm=replayed, streaming=streaming
    )
    workflow = AgentWorkflow(agents=[agent], root_agent="forecaster") if wrapped else agent
    with scope(session="s-1"):
        handle = workflow.run("What is the weather in Rome today?")
    assert str(await handle) == "It is sunny in Rome."
    asked, answered = tracker.events()
    assert asked.scope.agent == answered.scope.agent == "forecaster"
    assert asked.scope.session == answered.scope.session == "s-1"
    assert asked.scope.trace == answered.scope.trace
    assert asked.node == "run_agent_step"
    assert asked.breakdown["tool_calls"] > 0 == answered.breakdown["tool_calls"]
    assert answered.breakdown["tool_results"] > 0


async def test_two_runs_of_an_agent_are_two_traces(replayed: ReplayLLM, tracker: TokenBreakdownHandler) -> None:
    agent = FunctionAgent(tools=[get_weather], llm=replayed)
    await asyncio.gather(*(agent.run("What is the weather in Rome today?") for _ in range(2)))
    events = tracker.events()
    assert len(events) == 4
    assert len({event.scope.trace for event in events}) == 2


async def test_a_react_agent_is_one_event_a_step(tracker: TokenBreakdownHandler) -> None:
    says = iter(
        ['Thought: I need it.\nAction: get_weather\nAction Input: {"city": "Rome"}', "Thought: Done.\nAnswer: Sunny."]
    )
    llm = MockFunctionCallingLLM(
        response_generator=lambda messages, **kwargs: ChatMessage(role="assistant", content=next(says)),
        is_chat_model=True,
    )
    await ReActAgent(tools=[get_weather], llm=llm, streaming=False).run("What is the weather in Rome today?")
    assert len(tracker.events()) == 2


async def test_a_model_called_inside_a_tool_is_a_call_of_its_own(tracker: TokenBreakdownHandler) -> None:
    inner = MockLLM(max_tokens=3)

    async def look_up(topic: str) -> str:
        """Ask a model."""
        return (await inner.acomplete(topic)).text

    call = ToolCallBlock(tool_call_id="c1", tool_name="look_up", tool_kwargs={"topic": "kettles"})
    says = iter([ChatMessage(role="assistant", blocks=[call]), ChatMessage(role="assistant", content="Done.")])
    outer = MockFunctionCallingLLM(response_generator=lambda messages, **kwargs: next(says), is_chat_model=True)
    await FunctionAgent(tools=[look_up], llm=outer, streaming=False).run("What about kettles?")
    assert len(tracker.events()) == 3
