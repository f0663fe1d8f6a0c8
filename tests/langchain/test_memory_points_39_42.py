"""Points 39 to 42 of the checklist for the memory: both halves, names, order, imports, warnings, and v3 streams."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from langgraph.checkpoint.memory import InMemorySaver

from tests.langchain.memories import FILLER, SUMMARY, answers, asked, eager, is_for_summary, sent
from tokenwise_core.memory import Memory
from tokenwise_langchain import (
    SummaryBufferHistory,
    SummaryBufferMiddleware,
    SummaryBufferRunnable,
    TokenBreakdownHandler,
)

THREAD: Any = {"configurable": {"thread_id": "t"}}


def point(n: int) -> Any:
    return {"messages": [("human", f"Point {n}. {FILLER}")]}


def new_agent(model: Any, memory: Memory | None = None) -> Any:
    return create_agent(model, middleware=[SummaryBufferMiddleware(memory or eager())], checkpointer=InMemorySaver())


# 39


@pytest.mark.parametrize("kind", [SummaryBufferMiddleware, SummaryBufferHistory, SummaryBufferRunnable])
def test_point_39_every_public_call_has_its_awaited_half(kind: type) -> None:
    halves = {
        SummaryBufferMiddleware: ["wrap_model_call"],
        SummaryBufferHistory: ["add_messages", "clear"],
        SummaryBufferRunnable: ["invoke"],
    }
    for name in halves[kind]:
        assert name in vars(kind)
        assert inspect.iscoroutinefunction(vars(kind)[f"a{name}"])


def test_point_39_two_of_one_name_are_refused_by_the_agent_and_a_name_may_be_given(counted: Any) -> None:
    with pytest.raises(AssertionError):
        create_agent(counted(), middleware=[SummaryBufferMiddleware(), SummaryBufferMiddleware()])
    assert SummaryBufferMiddleware(name="desk memory").name == "desk memory"


def test_point_39_an_internal_call_says_so_in_tags_and_metadata(counted: Any) -> None:
    from langchain.agents.middleware.internal_call_transformer import internal_call_metadata
    from langchain_core.callbacks import BaseCallbackHandler

    seen: list[tuple[Any, Any, Any]] = []

    class Watch(BaseCallbackHandler):
        def on_chat_model_start(
            self, serialized: Any, messages: Any, *, tags: Any, metadata: Any, **kwargs: Any
        ) -> None:
            if is_for_summary(messages[0]):
                seen.append((kwargs["name"], tags, metadata))

    agent = new_agent(counted(says=answers, usage=None))
    for n in range(8):
        agent.invoke(point(n), {**THREAD, "callbacks": [Watch()]})
    name, tags, metadata = seen[0]
    assert name == "tokenwise:summary" == metadata["lc_source"]
    assert "nostream" in tags
    assert internal_call_metadata().items() <= metadata.items()
    assert metadata["thread_id"] == "t"


def test_point_39_a_saving_is_booked_once_with_the_call_that_it_was_made_on(
    counted: Any, handler: TokenBreakdownHandler
) -> None:
    model = counted(says=answers, usage=None)
    memory = eager()
    agent = new_agent(model, memory).with_config(callbacks=[handler])
    for n in range(16):
        agent.invoke(point(n), THREAD)
    events = handler.events()
    assert not [event for event in events if event.savings and event.scope.agent == "tokenwise:summary"]
    booked = handler.savings().by_lever()["memory"]
    with_summary = [messages for messages in sent(model) if any(m.text.startswith("[Summary") for m in messages)]
    assert len([event for event in events if event.savings]) == len(with_summary) > 3
    assert booked.counterfactual.input_tokens > booked.actual.input_tokens
    assert booked.overhead.output_tokens


# 40


def test_point_40_what_edits_the_users_words_stands_outside_and_the_model_sees_its_edits(counted: Any) -> None:
    from langchain.agents.middleware import PIIMiddleware

    model = counted(says=answers, usage=None)
    middleware: Any = [PIIMiddleware("email", strategy="redact"), SummaryBufferMiddleware(eager())]
    agent = create_agent(model, middleware=middleware, checkpointer=InMemorySaver())
    for n in range(12):
        agent.invoke({"messages": [("human", f"Point {n}: write to kim@example.com. {FILLER}")]}, THREAD)
    assert asked(model)
    assert not [m for messages in model._asked for m in messages if "kim@example.com" in m.text]


def test_point_40_a_fallback_inside_is_given_the_shortened_request(counted: Any, refusing: Any) -> None:
    from langchain.agents.middleware import ModelFallbackMiddleware

    spare = counted(says=answers, usage=None)
    middleware: Any = [SummaryBufferMiddleware(eager(), summarizer=spare), ModelFallbackMiddleware(spare)]
    agent = create_agent(refusing, middleware=middleware, checkpointer=InMemorySaver())
    for n in range(12):
        state = agent.invoke(point(n), THREAD)
    assert len(state["messages"]) == 24
    assert SUMMARY in sent(spare)[-1][0].text


# 41


@pytest.mark.parametrize("name", ["SummaryBufferMiddleware", "SummaryBufferHistory", "SummaryBufferRunnable"])
def test_point_41_imported_and_made_without_a_warning(name: str) -> None:
    given = '"s", Memory()' if name == "SummaryBufferHistory" else "Memory()"
    program = f"""
from tokenwise_core.memory import Memory
import tokenwise_langchain, sys
assert "langchain_core" not in sys.modules
tokenwise_langchain.{name}({given})
assert "langchain_community" not in sys.modules and "langchain_classic" not in sys.modules
assert {name!r} == "SummaryBufferMiddleware" or "langchain.agents" not in sys.modules
"""
    warnings = ["-W", "error::DeprecationWarning:tokenwise_langchain", "-W", "error::FutureWarning"]
    subprocess.run([sys.executable, *warnings, "-c", program], check=True, timeout=120)


# 42


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_point_42_streams_of_version_three_show_the_answer_and_no_summary(counted: Any) -> None:
    model = counted(says=answers, usage=None)
    agent = new_agent(model)
    for n in range(12):
        run = agent.stream_events(point(n), THREAD, version="v3")
        assert [str(message.text) for message in run.messages] == [f"Noted. {FILLER}"]
    assert asked(model)


async def test_point_42_all_modes_of_streams_bring_the_same_messages(counted: Any) -> None:
    model = counted(says=answers, usage=None)
    agent = new_agent(model)
    for n in range(12):
        said: list[Any] = []
        async for mode, piece in agent.astream(point(n), THREAD, stream_mode=["updates", "messages", "values"]):
            said.append((mode, piece))
        whole = [piece for mode, piece in said if mode == "values"][-1]["messages"][-1]
        text = "".join(str(piece[0].text) for mode, piece in said if mode == "messages")
        assert text == whole.text == f"Noted. {FILLER}"
    assert SUMMARY in sent(model)[-1][0].text


def test_point_42_a_runnable_is_one_run_named_in_traces() -> None:
    from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

    collected = RunCollectorCallbackHandler()
    runnable: Runnable[Any, list[BaseMessage]] = SummaryBufferRunnable(Memory(), name="shorten")
    runnable.invoke([HumanMessage("Hello"), AIMessage("Hi")], {"callbacks": [collected]})
    assert [run.name for run in collected.traced_runs] == ["shorten"]
