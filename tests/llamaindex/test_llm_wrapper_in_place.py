"""`TokenwiseLLM` under LlamaIndex's chat engines, query engines, agents and programs (points 23 and 27)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel, ValidationError
from llama_index.core.chat_engine import (
    CondensePlusContextChatEngine,
    CondenseQuestionChatEngine,
    ContextChatEngine,
    SimpleChatEngine,
)
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.program import FunctionCallingProgram, LLMTextCompletionProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import FunctionTool, QueryEngineTool

from tokenwise_core.cache import SemanticCache
from tokenwise_core.usage.events import Status
from tokenwise_llamaindex import TokenBreakdownHandler, TokenwiseLLM

NewCache = Callable[..., SemanticCache]
QUESTION = "How long does a refund take?"
REPHRASED = "how long does a refund take"


def last(messages: Sequence[ChatMessage], _params: Any) -> str:
    return f"said to: {(messages[-1].content or '')[-40:]}"


# Chat engines ---------------------------------------------------------------------------------------------------------


def simple(llm: TokenwiseLLM, index: VectorStoreIndex) -> Any:
    return SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults(llm=llm))


def context(llm: TokenwiseLLM, index: VectorStoreIndex) -> Any:
    memory = ChatMemoryBuffer.from_defaults(llm=llm)
    return ContextChatEngine.from_defaults(retriever=index.as_retriever(), llm=llm, memory=memory)


def condense(llm: TokenwiseLLM, index: VectorStoreIndex) -> Any:
    memory = ChatMemoryBuffer.from_defaults(llm=llm)
    engine = index.as_query_engine(llm=llm)
    return CondenseQuestionChatEngine.from_defaults(query_engine=engine, llm=llm, memory=memory)


def condense_context(llm: TokenwiseLLM, index: VectorStoreIndex) -> Any:
    memory = ChatMemoryBuffer.from_defaults(llm=llm)
    return CondensePlusContextChatEngine.from_defaults(retriever=index.as_retriever(), llm=llm, memory=memory)


ENGINES = pytest.mark.parametrize("build", [simple, context, condense, condense_context])


def converse(engine: Any, how: str, *texts: str) -> list[str]:
    async def awaited(text: str) -> str:
        if how == "achat":
            return str(await engine.achat(text))
        response = await engine.astream_chat(text)
        return "".join([token async for token in response.async_response_gen()])

    async def all_of_them() -> list[str]:
        return [await awaited(text) for text in texts]

    if how == "chat":
        return [str(engine.chat(text)) for text in texts]
    if how == "stream_chat":
        return ["".join(engine.stream_chat(text).response_gen) for text in texts]
    return asyncio.run(all_of_them())


@ENGINES
@pytest.mark.parametrize("how", ["chat", "stream_chat", "achat", "astream_chat"])
def test_a_conversation_had_before_is_served_whole(
    how: str, build: Any, clerk: Any, cache: SemanticCache, index: VectorStoreIndex
) -> None:
    inner = clerk(last)
    turns = (QUESTION, "And who pays for the parcel?")
    first = converse(build(TokenwiseLLM(inner, cache=cache), index), how, *turns)
    calls = len(inner.calls)
    cache.flush()
    assert converse(build(TokenwiseLLM(inner, cache=cache), index), how, *turns) == first
    assert len(inner.calls) == calls


@ENGINES
def test_the_same_last_turn_after_another_history_is_never_served(
    build: Any, clerk: Any, cache: SemanticCache, index: VectorStoreIndex
) -> None:
    inner = clerk(last)
    for opening in ("I bought a kettle.", "I bought a toaster."):
        before = len(inner.calls)
        converse(build(TokenwiseLLM(inner, cache=cache), index), "chat", opening, QUESTION)
        cache.flush()
        assert len(inner.calls) > before + 1


@pytest.mark.parametrize("build", [simple, context])
def test_the_last_turn_of_a_user_may_be_rephrased(
    build: Any, clerk: Any, cache: SemanticCache, index: VectorStoreIndex
) -> None:
    inner = clerk(last)
    first = converse(build(TokenwiseLLM(inner, cache=cache), index), "chat", QUESTION)
    cache.flush()
    assert converse(build(TokenwiseLLM(inner, cache=cache), index), "chat", REPHRASED) == first
    assert len(inner.calls) == 1


# Query engines --------------------------------------------------------------------------------------------------------


MODES = [
    (mode, streaming)
    for mode in ResponseMode
    for streaming in (False, True)
    if mode not in {"no_text", "context_only"} and not (streaming and "accumulate" in mode)  # it cannot stream
]


@pytest.mark.parametrize(("mode", "streaming"), MODES)
def test_every_response_mode_is_served_whole_the_second_time(
    mode: ResponseMode, streaming: bool, clerk: Any, cache: SemanticCache, index: VectorStoreIndex
) -> None:
    inner = clerk(last)
    engine = index.as_query_engine(llm=TokenwiseLLM(inner, cache=cache), response_mode=mode, streaming=streaming)
    first = str(engine.query(QUESTION))
    calls = len(inner.calls)
    assert calls
    assert str(engine.query(QUESTION)) == first
    assert len(inner.calls) == calls


async def test_an_awaited_query_engine_is_served_too(clerk: Any, cache: SemanticCache, index: VectorStoreIndex) -> None:
    inner = clerk(last)
    engine = index.as_query_engine(llm=TokenwiseLLM(inner, cache=cache), response_mode="tree_summarize", use_async=True)
    first = str(await engine.aquery(QUESTION))
    cache.flush()
    calls = len(inner.calls)
    assert str(await engine.aquery(REPHRASED)) == str(await engine.aquery(QUESTION)) == first
    assert len(inner.calls) == calls


def test_other_pages_for_the_same_question_are_another_request(
    clerk: Any, cache: SemanticCache, index: VectorStoreIndex
) -> None:
    inner = clerk(last)
    llm = TokenwiseLLM(inner, cache=cache)
    index.as_query_engine(llm=llm, similarity_top_k=1).query(QUESTION)
    cache.flush()
    index.as_query_engine(llm=llm, similarity_top_k=2).query(QUESTION)
    assert len(inner.calls) == 2


def test_a_selector_works_through_it(clerk: Any, cache: SemanticCache, index: VectorStoreIndex) -> None:
    inner = clerk(json.dumps([{"choice": 1, "reason": "it is the only one"}]))
    selector = LLMSingleSelector.from_defaults(llm=TokenwiseLLM(inner, cache=cache))
    tool = QueryEngineTool.from_defaults(index.as_query_engine(llm=clerk()), name="handbook", description="Refunds")
    for _ in range(2):
        assert selector.select([tool.metadata], QUESTION).ind == 0
    assert len(inner.calls) == 1


# Agents ---------------------------------------------------------------------------------------------------------------


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def with_tools(messages: Sequence[ChatMessage], params: dict[str, Any]) -> ChatMessage:
    """Call the weather tool, then tell its result."""
    if messages[-1].role == "tool":
        return ChatMessage(role="assistant", content=f"It is {messages[-1].content}.")
    call = ToolCallBlock(tool_call_id="call_1", tool_name="get_weather", tool_kwargs={"city": "Rome"})
    return ChatMessage(role="assistant", blocks=[TextBlock(text="Let me look."), call])


async def run(agent: Any, text: str) -> tuple[str, list[AgentStream]]:
    handler = agent.run(text)
    streamed = [event async for event in handler.stream_events() if isinstance(event, AgentStream)]
    return str(await handler), streamed


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_whose_tool_turns_are_cached_by_choice_runs_without_the_model(
    streaming: bool, clerk: Any, new_cache: NewCache
) -> None:
    inner = clerk(with_tools)
    llm = TokenwiseLLM(inner, cache=new_cache(tool_calls=True))
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(get_weather)], llm=llm, streaming=streaming)
    first, _ = await run(agent, "What is the weather in Rome?")
    second, streamed = await run(agent, "What is the weather in Rome?")
    assert first == second == "It is sunny in Rome."
    assert len(inner.calls) == 2
    if streaming:
        assert "".join(event.delta for event in streamed) == "Let me look.It is sunny in Rome."
        assert [event.tool_calls[0].tool_name for event in streamed if event.tool_calls] == ["get_weather"]


async def test_a_tool_call_is_not_cached_unless_the_user_chose_so(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(with_tools)
    agent = FunctionAgent(
        tools=[FunctionTool.from_defaults(get_weather)], llm=TokenwiseLLM(inner, cache=cache), streaming=True
    )
    for _ in range(2):
        await run(agent, "What is the weather in Rome?")
    assert len(inner.calls) == 3  # the call of the tool twice, what is said of its result once
    assert cache.stats().refused == {"tool_calls": 2}


def test_a_served_tool_call_has_an_id_of_its_own(clerk: Any, new_cache: NewCache) -> None:
    llm = TokenwiseLLM(clerk(with_tools), cache=new_cache(tool_calls=True))
    tools = [FunctionTool.from_defaults(get_weather)]
    ids = [llm.get_tool_calls_from_response(llm.chat_with_tools(tools, user_msg="Rome?"))[0].tool_id for _ in range(4)]
    assert len(set(ids)) == 4
    assert len(llm.inner.calls) == 1


def test_a_question_before_a_tool_call_is_not_served_when_rephrased(clerk: Any, new_cache: NewCache) -> None:
    cache = new_cache(tool_calls=True)
    llm = TokenwiseLLM(clerk(with_tools), cache=cache)
    for text in ("What is the weather in Rome?", "what is the weather in Rome"):
        llm.chat_with_tools([FunctionTool.from_defaults(get_weather)], user_msg=text)
        cache.flush()
    assert len(llm.inner.calls) == 2


async def test_the_four_calls_with_tools_reach_the_model_as_it_would_make_them(clerk: Any) -> None:
    tools = [FunctionTool.from_defaults(get_weather)]
    history = [ChatMessage(role="system", content="Be brief.")]
    asked = []
    for wrapped in (True, False):
        inner = clerk(with_tools)
        llm: Any = TokenwiseLLM(inner) if wrapped else inner
        offer = {"user_msg": "Rome?", "chat_history": history, "tool_required": True, "allow_parallel_tool_calls": True}
        llm.chat_with_tools(tools, **offer)
        await llm.achat_with_tools(tools, **offer)
        list(llm.stream_chat_with_tools(tools, **offer))
        [_ async for _ in await llm.astream_chat_with_tools(tools, **offer)]
        asked.append([([m.content for m in messages], params) for messages, params in inner.calls])
    assert asked[0] == asked[1]
    assert asked[0][0][1]["tool_choice"] == "required"
    assert len(history) == 1


def test_the_caller_s_history_is_not_appended_to(clerk: Any, cache: SemanticCache) -> None:
    class Appending(clerk):  # type: ignore[misc]
        """As `OpenAI` does it."""

        def _prepare_chat_with_tools(self, tools: Any, user_msg: Any = None, chat_history: Any = None, **_: Any) -> Any:
            chat_history.append(ChatMessage(role="user", content=user_msg))
            return {"messages": chat_history}

    history = [ChatMessage(role="system", content="Be brief.")]
    llm = TokenwiseLLM(Appending(), cache=cache)
    llm.chat_with_tools([], user_msg="Rome?", chat_history=history)
    llm._prepare_chat_with_tools([], user_msg="Rome?", chat_history=history)
    assert len(history) == 1


async def test_a_react_agent_is_served_and_its_actions_count_as_tool_calls(clerk: Any, new_cache: NewCache) -> None:
    def react(messages: Sequence[ChatMessage], _params: Any) -> str:
        if (messages[-1].content or "").startswith("Observation:"):
            return "Thought: I can answer.\nAnswer: It is sunny in Rome."
        return 'Thought: I need a tool.\nAction: get_weather\nAction Input: {"city": "Rome"}'

    calls = {}
    for tool_calls in (False, True):
        inner = clerk(react)
        llm = TokenwiseLLM(inner, cache=new_cache(tool_calls=tool_calls))
        agent = ReActAgent(tools=[FunctionTool.from_defaults(get_weather)], llm=llm, streaming=True)
        for _ in range(2):
            answer, streamed = await run(agent, "What is the weather in Rome?")
            assert answer == "It is sunny in Rome."
            assert streamed
        calls[tool_calls] = len(inner.calls)
    assert calls == {False: 3, True: 2}


async def test_a_workflow_of_agents_takes_it_for_a_function_calling_model(clerk: Any, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(clerk(with_tools), cache=cache)
    workflow = AgentWorkflow.from_tools_or_functions([get_weather], llm=llm)
    assert str(await workflow.run(user_msg="What is the weather in Rome?")) == "It is sunny in Rome."


def test_predict_and_call_runs_the_tool(clerk: Any, new_cache: NewCache) -> None:
    llm = TokenwiseLLM(clerk(with_tools), cache=new_cache(tool_calls=True))
    for _ in range(2):
        said = llm.predict_and_call([FunctionTool.from_defaults(get_weather)], user_msg="Rome?")
        assert said.response == "sunny in Rome"
    assert len(llm.inner.calls) == 1


# Structured output ----------------------------------------------------------------------------------------------------


class Days(BaseModel):
    """How long it takes."""

    days: int


TEMPLATE = PromptTemplate("Context: {context_str}\nQuestion: {query_str}")
FILLED = {"context_str": "Refunds take five days.", "query_str": QUESTION}


def as_call(_messages: Any, _params: Any) -> ChatMessage:
    """Call as `OpenAI` does: in a block, and beside it as it stood on the wire (streamed programs look there)."""
    call = ToolCallBlock(tool_call_id="c", tool_name="Days", tool_kwargs={"days": 5})
    wired = {"id": "c", "type": "function", "function": {"name": "Days", "arguments": '{"days": 5}'}}
    return ChatMessage(role="assistant", blocks=[call], additional_kwargs={"tool_calls": [wired]})


def as_text(_messages: Any, _params: Any) -> str:
    return '{"days": 5}'


async def each_way(llm: Any) -> list[Any]:
    found = [llm.structured_predict(Days, TEMPLATE, **FILLED), await llm.astructured_predict(Days, TEMPLATE, **FILLED)]
    found += list(llm.stream_structured_predict(Days, TEMPLATE, **FILLED))[-1:]
    found += [each async for each in await llm.astream_structured_predict(Days, TEMPLATE, **FILLED)][-1:]
    return found


@pytest.mark.parametrize(("say", "mode"), [(as_call, "default"), (as_text, "llm")])
async def test_structured_output_is_served_in_each_way_of_asking_for_it(
    say: Any, mode: str, clerk: Any, cache: SemanticCache
) -> None:
    inner = clerk(say, pydantic_program_mode=mode)
    found = await each_way(TokenwiseLLM(inner, cache=cache))
    assert [each.days for each in found] == [5, 5, 5, 5]
    # The "call" of a schema is data: nothing is done that an opt-in should guard. LlamaIndex requires it of plain calls
    # and leaves it to the model in streams, so those are two requests.
    assert len(inner.calls) == (2 if say is as_call else 1)


def test_a_query_may_be_rephrased_before_structured_output_too(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(as_call)
    llm = TokenwiseLLM(inner, cache=cache)
    llm.structured_predict(Days, TEMPLATE, **FILLED)
    cache.flush()
    assert llm.structured_predict(Days, TEMPLATE, **{**FILLED, "query_str": REPHRASED}).days == 5
    assert len(inner.calls) == 1


def test_an_answer_that_cannot_be_read_as_its_class_does_not_come_back(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(lambda _m, _p: '{"days": "many"}' if len(inner.calls) == 1 else '{"days": 5}')
    inner.pydantic_program_mode = "llm"
    llm = TokenwiseLLM(inner, cache=cache)
    with pytest.raises(ValidationError):
        llm.structured_predict(Days, TEMPLATE, **FILLED)
    assert llm.structured_predict(Days, TEMPLATE, **FILLED).days == 5


def test_two_schemas_never_share_an_answer(clerk: Any, cache: SemanticCache) -> None:
    class Hours(BaseModel):
        days: int
        hours: int = 0

    inner = clerk(as_text, pydantic_program_mode="llm")
    llm = TokenwiseLLM(inner, cache=cache)
    assert llm.structured_predict(Days, TEMPLATE, **FILLED) == Days(days=5)
    assert llm.structured_predict(Hours, TEMPLATE, **FILLED) == Hours(days=5)
    assert len(inner.calls) == 2


def test_a_model_s_own_way_of_structured_output_is_kept(clerk: Any, cache: SemanticCache) -> None:
    class Native(clerk):  # type: ignore[misc]
        """As `OpenAI`: a JSON schema in the request, and no tool."""

        def structured_predict(self, output_cls: Any, prompt: Any, llm_kwargs: Any = None, **args: Any) -> Any:
            messages = self._extend_messages(prompt.format_messages(**args))
            response = self.chat(messages, response_format=output_cls)
            return output_cls.model_validate_json(str(response.message.content))

    inner = Native(as_text)
    llm = TokenwiseLLM(inner, cache=cache)
    for _ in range(2):
        assert llm.structured_predict(Days, TEMPLATE, **FILLED).days == 5
    ((_, params),) = inner.calls
    assert params == {"response_format": Days}


def test_programs_and_structured_models_take_it(clerk: Any, cache: SemanticCache) -> None:
    by_call, by_text = clerk(as_call), clerk(as_text, pydantic_program_mode="llm")
    program = FunctionCallingProgram.from_defaults(
        Days, prompt_template_str="{query_str}", llm=TokenwiseLLM(by_call, cache=cache)
    )
    text = LLMTextCompletionProgram.from_defaults(
        output_cls=Days, prompt_template_str="{query_str}", llm=TokenwiseLLM(by_text, cache=cache)
    )
    structured = TokenwiseLLM(by_text, cache=cache).as_structured_llm(Days)
    for _ in range(2):
        assert program(query_str=QUESTION).days == 5
        assert text(query_str=QUESTION).days == 5
        assert structured.complete(QUESTION).raw.days == 5
        assert list(program.stream_call(query_str=QUESTION))[-1].days == 5
    assert len(by_text.calls) == 1


def test_what_a_program_filled_in_is_served_word_for_word_only(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk(as_text)
    program = LLMTextCompletionProgram.from_defaults(
        output_cls=Days, prompt_template_str="Read this. {text}", llm=TokenwiseLLM(inner, cache=cache)
    )
    for text in (QUESTION, REPHRASED, QUESTION):
        program(text=text)
        cache.flush()
    assert len(inner.calls) == 2


def test_a_structured_model_may_be_what_is_wrapped(clerk: Any, cache: SemanticCache) -> None:
    class Weeks(BaseModel):
        days: int

    inner = clerk(as_text, pydantic_program_mode="llm")
    for output_cls in (Days, Weeks, Days):
        llm = TokenwiseLLM(inner.as_structured_llm(output_cls), cache=cache)
        assert json.loads(llm.complete(QUESTION).text) == {"days": 5}
    assert len(inner.calls) == 2


def test_agents_are_booked_with_their_hits(clerk: Any, new_cache: NewCache, tracker: TokenBreakdownHandler) -> None:
    llm = TokenwiseLLM(clerk(with_tools), cache=new_cache(tool_calls=True))
    agent = FunctionAgent(name="helper", tools=[FunctionTool.from_defaults(get_weather)], llm=llm)
    for _ in range(2):
        asyncio.run(run(agent, "What is the weather in Rome?"))
    events = tracker.events()
    assert [event.status for event in events] == [Status.OK] * 2 + [Status.CACHE_HIT] * 2
    assert {event.scope.agent for event in events} == {"helper"}
    assert len({event.scope.trace for event in events}) == 2
