"""The memory of agents: what is sent, what is kept, who makes summaries, and what nobody sees of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.language_models import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from tests.langchain.memories import FILLER, LEXICAL, SUMMARY, answers, asked, eager, is_for_summary, sent
from tokenwise_core.cache import SemanticCache
from tokenwise_core.errors import BadInput
from tokenwise_core.memory import Memory, ToolResults, View
from tokenwise_core.scoping import scope
from tokenwise_core.switch import disable, enable
from tokenwise_langchain import (
    SemanticCacheMiddleware,
    SummaryBufferMiddleware,
    TokenBreakdownHandler,
    in_order,
)


def talk(agent: Any, turns: int, *, thread: str = "t", first: int = 0) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for n in range(first, first + turns):
        state = agent.invoke({"messages": [("human", f"Point {n}. {FILLER}")]}, thread_of(thread))
    return state


def thread_of(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


@pytest.fixture
def model(counted: Any) -> Any:
    return counted(says=answers, usage=None)


def new_agent(model: Any, memory: Memory | None = None, **settings: Any) -> Any:
    saver = settings.pop("checkpointer", None) or InMemorySaver()
    middleware = settings.pop("middleware", None) or [SummaryBufferMiddleware(memory or eager())]
    return create_agent(model, middleware=middleware, checkpointer=saver, system_prompt="Be kind.", **settings)


# What is sent, and what is kept ---------------------------------------------------------------------------------------


def test_the_request_is_shortened_and_the_history_stays_whole(model: Any) -> None:
    state = talk(new_agent(model), 12)
    assert len(state["messages"]) == 24
    assert [message.text[:8] for message in state["messages"][::2]] == [f"Point {n}."[:8] for n in range(12)]
    last = sent(model)[-1]
    assert len(last) < 20
    assert SUMMARY in last[1].text
    assert last[-1].text.startswith("Point 11.")


def test_a_summary_is_a_marked_message_in_the_users_role_with_a_lasting_id(model: Any) -> None:
    talk(new_agent(model), 12)
    with_summary = [messages[1] for messages in sent(model) if messages[1].text.startswith("[Summary")]
    assert all(isinstance(message, HumanMessage) for message in with_summary)
    mark = with_summary[-1].additional_kwargs
    assert mark["tokenwise"]["component"] == "summary"
    assert mark["tokenwise"]["source"].startswith("memory#")
    assert mark["lc_source"] == "tokenwise:summary"
    assert len({message.text for message in with_summary}) == len({message.id for message in with_summary})


def test_messages_of_the_application_are_sent_as_the_very_objects_unchanged(model: Any) -> None:
    agent = new_agent(model)
    state = talk(agent, 12)
    before = [message.model_dump() for message in state["messages"]]
    again = agent.invoke({"messages": [("human", "And now?")]}, thread_of("t"))
    assert [message.model_dump() for message in again["messages"][: len(before)]] == before


def test_what_was_derived_is_private_json_with_a_version(model: Any) -> None:
    agent = new_agent(model)
    state = talk(agent, 12)
    assert "tokenwise_memory" not in state
    kept = agent.get_state(thread_of("t")).values["tokenwise_memory"]
    assert json.loads(json.dumps(kept)) == kept
    assert kept["v"] == 1
    assert View.from_dict(kept).summaries


def test_a_run_says_in_its_metadata_what_was_decided(model: Any) -> None:
    seen: list[dict[str, Any]] = []

    class Watch(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            from langchain_core.runnables.config import ensure_config

            seen.append(ensure_config()["metadata"])
            return handler(request)

    talk(new_agent(model, middleware=[SummaryBufferMiddleware(eager()), Watch()]), 12)
    cut = next(facts for facts in seen if facts["tokenwise.memory"] == "summary")
    assert cut["tokenwise.memory_after"] < cut["tokenwise.memory_before"]
    assert seen[0]["tokenwise.memory"] == "unchanged"
    assert seen[3]["tokenwise.memory_stable"] > 0


# Who makes summaries --------------------------------------------------------------------------------------------------


def test_the_own_model_is_asked_behind_what_it_was_just_sent_with_its_tools(counted: Any) -> None:
    bound: list[Any] = []

    class Binding(counted):  # type: ignore[misc, valid-type]
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            bound.append(([one.name for one in tools], kwargs))
            return super().bind_tools(tools, **kwargs)

    model = Binding(says=answers, usage=None)
    talk(new_agent(model, tools=[look]), 16)
    request = asked(model)[0]
    before = model._asked[model._asked.index(request) - 1]
    assert [message.text for message in request[:-1]] == [message.text for message in before]
    assert isinstance(request[-1], HumanMessage)
    assert all(one == bound[0] for one in bound)
    assert len(bound) == model.calls, "for summaries, too"
    marks = [message.additional_kwargs.get("tokenwise", {}) for one in asked(model) for message in one]
    assert {mark["source"] for mark in marks if mark} == {"memory"}, "savings are booked with the application's calls"


def test_another_model_makes_the_summaries_if_given(model: Any, counted: Any) -> None:
    other = counted(says=SUMMARY, usage=None)
    talk(new_agent(model, middleware=[SummaryBufferMiddleware(eager(), summarizer=other)]), 12)
    assert not asked(model)
    assert other.calls >= 1
    assert [len(messages) for messages in other._asked] == [1] * other.calls, "stand-alone prompts"
    assert SUMMARY in sent(model)[-1][1].text


@pytest.mark.parametrize("summaries", ["inline", "after_answer", "background"])
async def test_summaries_are_made_whenever_the_memory_says_also_awaited(model: Any, summaries: str) -> None:
    memory = eager(summaries=summaries)
    agent = new_agent(model, memory)
    for n in range(14):
        await agent.ainvoke({"messages": [("human", f"Point {n}. {FILLER}")]}, thread_of("t"))
        await memory.adrain()
    assert SUMMARY in sent(model)[-1][1].text


@pytest.mark.parametrize("summaries", ["inline", "after_answer"])
async def test_a_summary_that_is_waited_for_blocks_no_event_loop(counted: Any, summaries: str) -> None:
    import threading

    loop, asked_in = asyncio.get_running_loop(), []

    def says(messages: list[BaseMessage]) -> str:
        if not is_for_summary(messages):
            return f"Noted. {FILLER}"
        alive = threading.Event()
        loop.call_soon_threadsafe(alive.set)
        asked_in.append(alive.wait(5))
        return SUMMARY

    agent = new_agent(counted(says=says, usage=None), eager(summaries=summaries))
    for n in range(10):
        await agent.ainvoke({"messages": [("human", f"Point {n}. {FILLER}")]}, thread_of("t"))
    assert asked_in
    assert all(asked_in)


def test_an_inline_summary_of_the_own_model_stands_behind_the_conversation_uncut(model: Any) -> None:
    talk(new_agent(model, eager(summaries="inline")), 12)
    request = asked(model)[0]
    assert request[0].text == "Be kind."
    assert request[1].text.startswith("Point 0.")


def calls_a_tool(messages: list[BaseMessage]) -> Any:
    if is_for_summary(messages):
        return AIMessage("I look.", tool_calls=[{"name": "look", "args": {"order": "1"}, "id": "c"}])
    return f"Noted. {FILLER}"


def fails(messages: list[BaseMessage]) -> Any:
    return ConnectionError() if is_for_summary(messages) else f"Noted. {FILLER}"


def is_empty(messages: list[BaseMessage]) -> Any:
    return "  " if is_for_summary(messages) else f"Noted. {FILLER}"


@pytest.mark.parametrize("says", [calls_a_tool, fails, is_empty])
def test_a_summary_that_fails_changes_nothing_and_is_tried_again(counted: Any, says: Any) -> None:
    now = [0.0]
    memory = eager(clock=lambda: now[0])
    model = counted(says=says, usage=None)
    agent = new_agent(model, memory)
    for n in range(12):
        talk(agent, 1, first=n)
        now[0] += 400
    assert memory.stats().summaries["failed"] >= 2
    assert len(sent(model)[-1]) == 24, "system message and all others"


def test_a_stream_of_messages_shows_no_summary(model: Any) -> None:
    agent = new_agent(model)
    said = []
    for n in range(12):
        for chunk, _ in agent.stream(
            {"messages": [("human", f"P {n} {FILLER}")]}, thread_of("t"), stream_mode="messages"
        ):
            said.append(chunk.text)
    assert asked(model)
    assert SUMMARY not in "".join(said)


async def test_an_awaited_stream_shows_none_nor_do_events(model: Any) -> None:
    agent = new_agent(model)
    said = []
    for n in range(12):
        given = {"messages": [("human", f"Point {n}. {FILLER}")]}
        async for chunk, _ in agent.astream(given, thread_of("t"), stream_mode="messages"):
            said.append(chunk.text)
    assert asked(model)
    assert SUMMARY not in "".join(said)


@pytest.mark.parametrize("summaries", ["inline", "after_answer", "background"])
def test_the_handler_books_a_summary_as_ours(model: Any, handler: TokenBreakdownHandler, summaries: str) -> None:
    memory = eager(summaries=summaries)
    agent = new_agent(model, memory).with_config(callbacks=[handler])
    for n in range(12):
        talk(agent, 1, first=n)
        memory.drain()
    events = handler.events()
    ours = [event for event in events if event.scope.agent == "tokenwise:summary"]
    assert len(ours) == len(asked(model))
    assert {event.scope.session for event in ours} == {"t"}
    assert len(events) == len(ours) + 12


# What must not break it, and what it must not break -------------------------------------------------------------------


@tool
def look(order: str) -> str:
    """Look an order up."""
    return f"Order {order}: " + "".join(f"line {n} of the log says nothing new. " for n in range(30))


def test_with_the_switch_off_it_is_as_if_it_were_not_there(model: Any) -> None:
    agent = new_agent(model)
    disable()
    try:
        talk(agent, 12)
    finally:
        enable()
    assert len(sent(model)[-1]) == 24
    assert not agent.get_state(thread_of("t")).values["tokenwise_memory"]


def test_what_fails_in_the_adapter_leaves_the_call_as_it_is(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    middleware = SummaryBufferMiddleware(eager())
    monkeypatch.setattr(middleware, "_call", lambda request: 1 / 0)
    talk(new_agent(model, middleware=[middleware]), 3)
    assert [len(messages) for messages in sent(model)] == [2, 4, 6]
    assert middleware.errors == 3


async def test_what_fails_behind_the_answer_does_not_fail_it(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    middleware = SummaryBufferMiddleware(eager())
    monkeypatch.setattr(middleware._keeper, "learn", lambda *_: 1 / 0)
    agent = new_agent(model, middleware=[middleware])
    state = await agent.ainvoke({"messages": [("human", "Hello?")]}, thread_of("t"))
    assert state["messages"][-1].text.startswith("Noted.")


def test_a_broken_session_store_is_gone_without(model: Any, tmp_path: Any) -> None:
    broken = tmp_path / "sessions.sqlite"
    broken.mkdir()
    state = talk(new_agent(model, eager(sessions=f"sqlite:///{broken}")), 12)
    assert len(state["messages"]) == 24
    assert SUMMARY in sent(model)[-1][1].text, "made and kept in this process"


def test_errors_of_the_model_are_the_callers(refusing: Any) -> None:
    with pytest.raises(ConnectionError):
        create_agent(refusing, middleware=[SummaryBufferMiddleware(eager())]).invoke({"messages": [("human", "Hi")]})


class Verdict(BaseModel):
    """An answer."""

    answer: str


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
def test_structured_answers_come_out_and_summaries_are_asked_apart(counted: Any, strategy: Any) -> None:
    def says(messages: list[BaseMessage]) -> Any:
        if is_for_summary(messages):
            return SUMMARY
        if strategy is ProviderStrategy:
            return json.dumps({"answer": f"Noted. {FILLER}"})
        call = {"name": "Verdict", "args": {"answer": f"Noted. {FILLER}"}, "id": f"v{len(messages)}"}
        return AIMessage("", tool_calls=[call])

    model = counted(says=says, usage=None)
    model.profile = ModelProfile(structured_output=True)
    state = talk(new_agent(model, response_format=strategy(Verdict)), 12)
    assert state["structured_response"] == Verdict(answer=f"Noted. {FILLER}")
    assert [len(messages) for messages in asked(model)] == [1] * len(asked(model)) != []
    assert SUMMARY in sent(model)[-1][1].text


def test_a_format_and_tools_count_as_what_stands_before_the_conversation(model: Any, counted: Any) -> None:
    def fixed(**settings: Any) -> int:
        memory = eager()
        agent = new_agent(counted(says=answers, usage=None), memory, **settings)
        agent.invoke({"messages": [("human", "Hi")]}, thread_of("t"))
        return memory.stats().sent_tokens

    plain, tools = fixed(), fixed(tools=[look])
    assert plain < tools < fixed(tools=[look], response_format=ToolStrategy(Verdict))


def test_shortened_results_are_copies_with_the_same_call(counted: Any) -> None:
    long = "\n".join(f"{n} nothing of note in this line of the log" for n in range(400))

    @tool
    def read() -> str:
        """Read the log."""
        return long

    def says(messages: list[BaseMessage]) -> Any:
        if isinstance(messages[-1], HumanMessage):
            return AIMessage("", tool_calls=[{"name": "read", "args": {}, "id": f"call-{len(messages)}"}])
        return "Read."

    model = counted(says=says, usage=None)
    memory = Memory(target_tokens=50_000, tool_results=ToolResults(max_tokens=200))
    agent = new_agent(model, memory, tools=[read])
    state = agent.invoke({"messages": [("human", "What does the log say?")]}, thread_of("t"))
    whole = next(message for message in state["messages"] if isinstance(message, ToolMessage))
    short = next(message for message in sent(model)[-1] if isinstance(message, ToolMessage))
    assert whole.text == long
    assert len(short.text) < len(long) / 4
    assert "recall" not in short.text, "this agent has no such tool"
    assert 'kept as "' in short.text
    assert (short.id, short.tool_call_id, short.name) == (whole.id, whole.tool_call_id, whole.name)
    agent.invoke({"messages": [("human", "Thanks.")]}, thread_of("t"))
    assert next(message for message in sent(model)[-1] if isinstance(message, ToolMessage)).text == short.text


def test_a_history_that_is_edited_or_cut_back_is_taken_up_where_it_differs(model: Any) -> None:
    agent = new_agent(model)
    state = talk(agent, 12)
    first, third = state["messages"][0], state["messages"][2]
    agent.update_state(thread_of("t"), {"messages": [HumanMessage("Point zero, corrected.", id=first.id)]})
    talk(agent, 1, first=12)
    assert "Point zero, corrected." in [message.text for message in sent(model)[-1]], "the summary of the old is gone"
    agent.update_state(thread_of("t"), {"messages": [RemoveMessage(id=third.id)]})
    talk(agent, 1, first=13)
    assert third.text not in [message.text for message in sent(model)[-1]]


# Threads, forks, other workers ----------------------------------------------------------------------------------------


def test_another_worker_goes_on_with_the_same_summary(model: Any, counted: Any) -> None:
    saver = InMemorySaver()
    talk(new_agent(model, checkpointer=saver), 12)
    summary = sent(model)[-1][1].text
    other = counted(says=answers, usage=None)
    talk(new_agent(other, checkpointer=saver), 1, first=12)
    assert other._asked[0][1].text == summary
    assert other._asked[0][1].id == sent(model)[-1][1].id


def test_a_fork_of_the_past_knows_nothing_of_the_future(model: Any) -> None:
    agent = new_agent(model)
    talk(agent, 2)
    past = agent.get_state(thread_of("t")).config
    talk(agent, 12, first=2)
    assert SUMMARY in sent(model)[-1][1].text
    agent.invoke({"messages": [("human", "Point two, otherwise.")]}, past)
    assert [message.text[:12] for message in sent(model)[-1]] == [
        "Be kind.", "Point 0. The", "Noted. There", "Point 1. The", "Noted. There", "Point two, o",
    ]  # fmt: skip


def test_an_interrupted_run_goes_on_where_it_was(counted: Any) -> None:
    @tool
    def refund(order: str) -> str:
        """Refund an order."""
        return str(interrupt(f"Refund {order}?"))

    def says(messages: list[BaseMessage]) -> Any:
        if is_for_summary(messages):
            return SUMMARY
        if messages[-1].text == "Refund it.":
            return AIMessage("", tool_calls=[{"name": "refund", "args": {"order": "A-17"}, "id": "call-r"}])
        return f"Noted. {FILLER}"

    model = counted(says=says, usage=None)
    agent = new_agent(model, tools=[refund])
    talk(agent, 12)
    halted = agent.invoke({"messages": [("human", "Refund it.")]}, thread_of("t"))
    assert halted["__interrupt__"][0].value == "Refund A-17?"
    agent.invoke(Command(resume="yes"), thread_of("t"))
    last = sent(model)[-1]
    assert SUMMARY in last[1].text
    assert [type(message).__name__ for message in last[-3:]] == ["HumanMessage", "AIMessage", "ToolMessage"]
    assert last[-1].text == "yes"


def test_graphs_in_one_thread_have_sessions_of_their_own(counted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = eager()
    lent: list[str] = []
    using = memory.using
    monkeypatch.setattr(memory, "using", lambda name: lent.append(name) or using(name))
    desk = new_agent(counted(says=answers, usage=None), memory)
    inner = create_agent(counted(says=answers, usage=None), middleware=[SummaryBufferMiddleware(memory)])
    graph = StateGraph(MessagesState)
    graph.add_node("one", inner)
    graph.add_node("two", inner)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    graph.add_edge("two", END)
    compiled = graph.compile(checkpointer=InMemorySaver())
    for _ in range(2):
        compiled.invoke({"messages": [("human", "Hi")]}, thread_of("t"))
    talk(desk, 1, thread="u")
    assert lent == ["t|one", "t|two", "t|one", "t|two", "u"]


def test_a_subgraph_goes_on_with_what_was_derived_for_it_before(counted: Any) -> None:
    model = counted(says=answers, usage=None)
    inner = create_agent(model, middleware=[SummaryBufferMiddleware(eager())])
    graph = StateGraph(MessagesState)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    graph.add_edge("inner", END)
    talk(graph.compile(checkpointer=InMemorySaver()), 12)
    assert SUMMARY in sent(model)[-1][0].text
    assert len(asked(model)) < 4


def test_without_a_thread_the_conversation_itself_is_the_session(model: Any) -> None:
    agent = create_agent(model, middleware=[SummaryBufferMiddleware(eager())])
    messages: list[BaseMessage] = []
    for n in range(12):
        messages = agent.invoke({"messages": [*messages, HumanMessage(f"Point {n}. {FILLER}")]})["messages"]
    assert len(messages) == 24
    assert SUMMARY in sent(model)[-1][0].text


def test_two_users_who_begin_with_the_same_words_share_nothing(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = eager()
    lent: list[str] = []
    using = memory.using
    monkeypatch.setattr(memory, "using", lambda name: lent.append(name) or using(name))
    agent = create_agent(model, middleware=[SummaryBufferMiddleware(memory)])
    for _ in range(2):
        agent.invoke({"messages": [("human", "Hello!")]})
    assert len(set(lent)) == 2


def test_the_scopes_session_counts_where_there_is_no_thread(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = eager()
    lent: list[str] = []
    using = memory.using
    monkeypatch.setattr(memory, "using", lambda name: lent.append(name) or using(name))
    agent = create_agent(model, middleware=[SummaryBufferMiddleware(memory)])
    with scope(session="s-1"):
        agent.invoke({"messages": [("human", "Hello!")]})
    chosen = create_agent(model, middleware=[SummaryBufferMiddleware(memory, session=lambda config: "mine")])
    chosen.invoke({"messages": [("human", "Hello!")]})
    assert lent == ["s-1", "mine"]


async def test_many_sessions_at_once_keep_apart(model: Any) -> None:
    agent = new_agent(model, eager(summaries="background"))

    async def one(name: str) -> None:
        for n in range(10):
            await agent.ainvoke({"messages": [("human", f"{name} says point {n}. {FILLER}")]}, thread_of(name))

    await asyncio.gather(*(one(f"user-{n}") for n in range(6)))
    for messages in sent(model):
        speakers = {message.text.split()[0] for message in messages if message.text.startswith("user-")}
        assert len(speakers) == 1


def test_state_survives_strict_serialisation(tmp_path: Any) -> None:
    program = """
from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from tokenwise_core.memory import BlockSummary, Memory, View
from tokenwise_langchain import SummaryBufferMiddleware

memory = Memory(BlockSummary(epsilon=1000.0), target_tokens=300, summaries="after_answer", recall=None)
model = GenericFakeChatModel(messages=(AIMessage("Noted, and some more words besides. " * 8) for _ in range(100)))
agent = create_agent(model, middleware=[SummaryBufferMiddleware(memory)], checkpointer=InMemorySaver())
config = {"configurable": {"thread_id": "t"}}
for n in range(12):
    agent.invoke({"messages": [("human", f"Point {n}, with some more words. " * 6)]}, config)
values = agent.get_state(config).values
print(len(values["messages"]), len(View.from_dict(values["tokenwise_memory"]).summaries) > 0)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:tokenwise_langchain", "-c", program],
        capture_output=True, text=True, env={**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"}, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["24", "True"]
    assert "unregistered" not in done.stderr.lower()
    assert "blocked" not in done.stderr.lower()


# Beside others --------------------------------------------------------------------------------------------------------


def test_ours_stand_in_their_one_order_and_others_where_they_were_put(new_cache: Callable[..., SemanticCache]) -> None:
    first, last = AgentMiddleware[Any, Any, Any](), AgentMiddleware[Any, Any, Any]()
    memory, cache = SummaryBufferMiddleware(eager()), SemanticCacheMiddleware(new_cache())
    assert in_order(first, memory, cache, last) == [first, cache, memory, last]
    assert in_order(memory, last, cache) == [cache, last, memory]


def test_a_hit_of_the_cache_outside_leaves_memory_alone(model: Any, new_cache: Callable[..., SemanticCache]) -> None:
    memory = eager()
    middleware = in_order(SummaryBufferMiddleware(memory), SemanticCacheMiddleware(new_cache()))
    talk(new_agent(model, middleware=middleware), 12)
    requests, calls = memory.stats().requests, model.calls
    agent = new_agent(model, middleware=middleware)
    talk(agent, 12, thread="other")
    assert model.calls == calls, "all answers come from the cache, whatever memory made of the first conversation"
    assert memory.stats().requests == requests
    assert not agent.get_state(thread_of("other")).values["tokenwise_memory"]


# The tool -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("awaited", [False, True])
async def test_the_model_may_recall_what_left_its_context(counted: Any, awaited: bool) -> None:
    def says(messages: list[BaseMessage]) -> Any:
        if is_for_summary(messages):
            return SUMMARY
        if messages[-1].text == "What was point 2?":
            return AIMessage("", tool_calls=[{"name": "recall", "args": {"id": "point 2 blue heron"}, "id": "call-r"}])
        return f"Noted. {FILLER}"

    model = counted(says=says, usage=None)
    middleware = SummaryBufferMiddleware(eager(recall=LEXICAL), recall_tool=True)
    agent = new_agent(model, middleware=[middleware])
    for n in range(12):
        heron = "It is about a blue heron." if n == 2 else ""
        agent.invoke({"messages": [("human", f"Point {n}. {heron} {FILLER}")]}, thread_of("t"))
    given = {"messages": [("human", "What was point 2?")]}
    state = await agent.ainvoke(given, thread_of("t")) if awaited else agent.invoke(given, thread_of("t"))
    result = next(message for message in state["messages"] if isinstance(message, ToolMessage))
    assert "It is about a blue heron." in result.text
    assert "recall" not in [message.name for message in state["messages"] if isinstance(message, HumanMessage)]


def test_the_model_may_recall_the_whole_of_a_shortened_result(counted: Any) -> None:
    long = "\n".join(f"{n} nothing of note in this line of the log" for n in range(400))

    @tool
    def read() -> str:
        """Read the log."""
        return long

    def says(messages: list[BaseMessage]) -> Any:
        last = messages[-1]
        if last.text == "Read it.":
            return AIMessage("", tool_calls=[{"name": "read", "args": {}, "id": "call-1"}])
        if isinstance(last, ToolMessage) and last.name == "read":
            name = last.text.split('recall("')[1].split('"')[0]
            return AIMessage("", tool_calls=[{"name": "recall", "args": {"id": name}, "id": "call-2"}])
        return "Read."

    model = counted(says=says, usage=None)
    memory = Memory(target_tokens=50_000, tool_results=ToolResults(max_tokens=200))
    agent = new_agent(model, middleware=[SummaryBufferMiddleware(memory, recall_tool=True)], tools=[read])
    state = agent.invoke({"messages": [("human", "Read it.")]}, thread_of("t"))
    results = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    assert [message.text for message in results] == [long, long]
    assert sent(model)[-1][-1].text == long, "what was asked for is not shortened again"


def test_what_is_no_memory_is_refused_where_it_is_given() -> None:
    with pytest.raises(BadInput, match=r"give a Memory, such as Memory\(target_tokens=4000\)"):
        SummaryBufferMiddleware(4_000)  # type: ignore[arg-type]
