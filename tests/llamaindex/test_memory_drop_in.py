"""`SummaryBufferMemory` in the place of LlamaIndex's own memories: each agent and chat engine, plain and streamed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context

from tests.llamaindex.talking import (
    FACTS,
    Talker,
    answered,
    call,
    called,
    core_memory,
    is_summary_request,
    summing,
    texts,
    words,
)
from tokenwise_core.demo.workload import Turn
from tokenwise_llamaindex import ReplayLLM, SummaryBufferMemory, TokenBreakdownHandler, TokenwiseLLM

Ask = Callable[[BaseChatEngine, str], Awaitable[str]]


async def _chat(engine: BaseChatEngine, text: str) -> str:
    return str(engine.chat(text))


async def _achat(engine: BaseChatEngine, text: str) -> str:
    return str(await engine.achat(text))


async def _stream(engine: BaseChatEngine, text: str) -> str:
    response = engine.stream_chat(text)
    said = "".join(response.response_gen)
    if response.write_response_to_history_thread is not None:  # it puts the answer from a thread of its own
        response.write_response_to_history_thread.join()
    return said


async def _astream(engine: BaseChatEngine, text: str) -> str:
    response = await engine.astream_chat(text)
    said = "".join([piece async for piece in response.async_response_gen()])
    if response.awrite_response_to_history_task is not None:
        await response.awrite_response_to_history_task
    return said


WAYS = [_chat, _achat, _stream, _astream]


@pytest.fixture
def engines(index: VectorStoreIndex) -> dict[str, Callable[[Any, Any], BaseChatEngine]]:
    retriever = index.as_retriever()
    return {
        "simple": lambda llm, memory: SimpleChatEngine.from_defaults(llm=llm, memory=memory, system_prompt="A clerk."),
        "context": lambda llm, memory: ContextChatEngine.from_defaults(
            retriever=retriever, llm=llm, memory=memory, system_prompt="A clerk."
        ),
        "condense_plus_context": lambda llm, memory: CondensePlusContextChatEngine.from_defaults(
            retriever=retriever, llm=llm, memory=memory
        ),
        "condense_question": lambda llm, memory: CondenseQuestionChatEngine.from_defaults(
            query_engine=index.as_query_engine(llm=llm), llm=llm, memory=memory
        ),
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["simple", "context", "condense_plus_context", "condense_question"])
async def test_a_chat_engine_keeps_its_conversation_and_shows_a_summary_of_its_beginning(
    engines: dict[str, Any], name: str, way: Ask
) -> None:
    llm, memory = Talker(), summing(Talker())
    engine = engines[name](llm, memory)
    for number in range(18):
        assert (await way(engine, words(number))).strip() == ("Yes, that is so. " * 10).strip()
    assert [message.role.value for message in engine.chat_history] == ["user", "assistant"] * 18
    assert texts(engine.chat_history)[::2] == [words(number) for number in range(18)]
    last = "\n".join(texts(llm.requests[-1 if name != "condense_question" else -2]))
    assert FACTS in last
    assert words(0) not in last
    engine.reset()
    assert not engine.chat_history


async def test_an_engine_that_makes_its_own_memory_can_make_this_one() -> None:
    engine = SimpleChatEngine.from_defaults(llm=Talker(), memory_cls=SummaryBufferMemory)
    engine.chat("Hello?")
    assert isinstance(engine._memory, SummaryBufferMemory)
    assert texts(engine.chat_history)[0] == "Hello?"


def test_braces_in_a_summary_are_not_taken_for_a_templates_variables(engines: dict[str, Any]) -> None:
    facts = "- The template is {context_str} and {query_str}."
    llm, memory = Talker(), summing(Talker(facts=facts))
    engine = engines["context"](llm, memory)
    for number in range(18):
        engine.chat(words(number))
    assert facts in "\n".join(texts(llm.requests[-1]))


# Agents ---------------------------------------------------------------------------------------------------------------


def look(what: str) -> str:
    """Look something up."""
    return f"{what} was found."


def one_look_a_turn() -> Any:
    calls = iter(range(1_000))

    def say(messages: list[ChatMessage], _: Any) -> ChatMessage | str:
        return call(f"c{next(calls)}") if messages[-1].role is MessageRole.USER else "It was found. " * 5

    return say


def agents(llm: Any) -> dict[str, Any]:
    tool = FunctionTool.from_defaults(look)
    clerk = FunctionAgent(name="clerk", tools=[tool], llm=llm, system_prompt="A clerk.")
    return {
        "function": clerk,
        "unstreamed": FunctionAgent(name="clerk", tools=[tool], llm=llm, streaming=False),
        "workflow": AgentWorkflow(agents=[clerk], root_agent="clerk"),
    }


@pytest.mark.parametrize("name", ["function", "unstreamed", "workflow"])
async def test_an_agent_keeps_calls_and_results_together_over_many_runs(name: str) -> None:
    llm, memory = Talker(one_look_a_turn()), summing(Talker())
    agent = agents(llm)[name]
    context = Context(agent)
    for number in range(16):
        await agent.run(words(number), ctx=context, memory=memory)
    assert [message.role.value for message in memory.get_all()] == ["user", "assistant", "tool", "assistant"] * 16
    for messages in llm.requests:
        assert called(messages) == answered(messages)
    assert FACTS in "\n".join(texts(llm.requests[-1]))
    assert words(15) in texts(llm.requests[-1])


async def test_a_react_agent_keeps_its_conversation() -> None:
    llm, memory = Talker("Thought: I can answer without using any more tools.\nAnswer: Yes."), summing(Talker())
    agent = ReActAgent(tools=[FunctionTool.from_defaults(look)], llm=llm)
    for number in range(16):
        assert str(await agent.run(words(number), memory=memory)) == "Yes."
    assert texts(memory.get_all())[::2] == [words(number) for number in range(16)]
    assert FACTS in "\n".join(texts(llm.requests[-1]))


async def test_llamaindexs_own_mock_and_the_replayed_model_run_with_it(replayed: ReplayLLM, turns: list[Turn]) -> None:
    memory = SummaryBufferMemory.from_defaults(llm=MockFunctionCallingLLM(), token_limit=2_000)
    await FunctionAgent(tools=[], llm=MockFunctionCallingLLM()).run("Hello?", memory=memory)
    assert len(memory.get_all()) == 2
    memory = SummaryBufferMemory.from_defaults(llm=replayed, token_limit=2_000)
    agent = FunctionAgent(
        tools=[FunctionTool.from_defaults(lambda city: "sunny", name="get_weather", description="Tell the weather.")],
        llm=replayed,
    )
    assert str(await agent.run(turns[1].user, memory=memory)) == turns[1].right
    assert [message.role.value for message in memory.get_all()] == ["user", "assistant", "tool", "assistant"]


async def test_a_history_that_is_handed_to_each_run_is_taken_up_once() -> None:
    memory = summing()
    agent = FunctionAgent(tools=[], llm=Talker())
    history: list[ChatMessage] = []
    for number in range(4):
        await agent.run(words(number), chat_history=list(history), memory=memory)
        history = memory.get_all()
    assert len(history) == 8


# Summaries behind the request -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["function", "unstreamed", "workflow"])
async def test_a_summary_is_asked_behind_what_an_agent_sent_where_a_tokenwise_llm_saw_it(name: str) -> None:
    inner = Talker(one_look_a_turn())
    llm = TokenwiseLLM(inner)
    memory = summing(llm)
    agent = agents(llm)[name]
    for number in range(16):
        await agent.run(words(number), memory=memory)
    asked = inner.summary_requests
    assert asked
    for messages in asked:
        before = next(at for at, (sent, _) in enumerate(inner.calls) if sent == messages)
        sent, params = inner.calls[before - 1]
        assert texts(messages)[: len(sent)] == texts(sent)  # the prefix that the provider has just read
        assert inner.calls[before][1].get("tools") == params.get("tools")
        assert [message.role.value for message in messages[len(sent) :]] == ["assistant", "user"]
    assert FACTS in "\n".join(texts(inner.requests[-1]))


def test_a_plain_model_is_asked_by_itself() -> None:
    llm = Talker()
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=summing(llm))
    for number in range(18):
        engine.chat(words(number))
    assert {len(messages) for messages, _ in llm.calls if is_summary_request(messages)} == {1}


def test_nothing_of_a_call_is_kept_where_no_memory_asks_for_it() -> None:
    llm = TokenwiseLLM(Talker())
    SimpleChatEngine.from_defaults(llm=llm).chat("Hello?")
    assert not llm.recent._sent


# What is booked -------------------------------------------------------------------------------------------------------


async def test_the_breakdown_shows_summaries_and_the_saving_is_booked_with_the_call(
    tracker: TokenBreakdownHandler,
) -> None:
    llm = Talker()
    memory = summing(llm)
    agent = FunctionAgent(tools=[], llm=llm)
    for number in range(18):
        await agent.run(words(number), memory=memory)
    assert await memory.memory.adrain()
    events = tracker.events()
    mine = [event for event in events if event.scope.agent == "tokenwise:summary"]
    assert len(mine) == len(llm.summary_requests) > 0
    calls = [event for event in events if event not in mine]
    assert len(calls) == 18
    assert calls[-1].breakdown.tokens["summary"] > 0
    savings = [saving for event in calls for saving in event.savings if saving.lever == "memory"]
    assert savings
    assert len(savings) == sum("summary" in event.breakdown.tokens for event in calls)
    assert sum(saving.saved.input_tokens for saving in savings) > 0
    assert any(saving.overhead.output_tokens for saving in savings)


def test_the_context_engine_books_it_too(engines: dict[str, Any], tracker: TokenBreakdownHandler) -> None:
    llm = Talker()
    engine = engines["context"](llm, summing(llm))
    for number in range(18):
        engine.chat(words(number))
    calls = [event for event in tracker.events() if event.scope.agent is None]
    assert calls[-1].breakdown.tokens["summary"] > 0
    assert any(saving.lever == "memory" for saving in calls[-1].savings)


def test_switched_off_all_messages_are_sent(switched_off: Any) -> None:
    memory = SummaryBufferMemory.from_defaults(memory=core_memory(max_tokens=400))
    with switched_off():
        for number in range(30):
            memory.put_messages([ChatMessage(role="user", content=words(number)), ChatMessage(role="assistant")])
        assert memory.get() == memory.get_all()
        assert len(memory.get_all()) == 60
