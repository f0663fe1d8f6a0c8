"""What a conversation holds and what is shown of it, asked of each of LangChain's memories."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

from tests.langchain.memories import FILLER, SUMMARY, answers, eager, sent
from tokenwise_core.errors import BadInput
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_langchain import SummaryBufferHistory, SummaryBufferMiddleware, SummaryBufferRunnable

THREAD: Any = {"configurable": {"thread_id": "t"}}


def chat(turns: int) -> list[BaseMessage]:
    pairs = ([HumanMessage(f"Point {n}. {FILLER}"), AIMessage(f"Noted {n}. {FILLER}")] for n in range(turns))
    return [message for pair in pairs for message in pair]


def is_cut(usage: MemoryUsage, messages: int) -> bool:
    assert usage.messages == messages
    assert usage.total_tokens == sum(usage.by_role.values())
    assert usage.has_summary == (usage.summaries > 0) == (usage.summary_tokens > 0)
    return usage.has_summary and usage.shown_tokens < usage.total_tokens


def test_an_agents_state_tells_what_it_holds_and_shows(counted: Any) -> None:
    middleware = SummaryBufferMiddleware(eager())
    agent: Any = create_agent(counted(says=answers, usage=None), middleware=[middleware], checkpointer=InMemorySaver())
    for n in range(12):
        out = agent.invoke({"messages": [("human", f"Point {n}. {FILLER}")]}, THREAD)
    usage = middleware.usage(agent.get_state(THREAD).values)
    assert is_cut(usage, 24)
    assert set(usage.by_role) == {"user", "assistant"}
    assert 0 < usage.stable_tokens <= usage.shown_tokens
    assert usage.relative_cost is not None
    assert middleware.usage(out, THREAD) == usage, "the process knows the thread's view"
    assert not is_cut(middleware.usage({"messages": chat(3)}), 6)
    other = SummaryBufferMiddleware(eager())
    assert other.usage(agent.get_state(THREAD).values) == usage, "the view stands in the state"


def test_asking_for_the_usage_changes_nothing(counted: Any) -> None:
    model = counted(says=answers, usage=None)
    middleware = SummaryBufferMiddleware(eager())
    agent: Any = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    for n in range(12):
        agent.invoke({"messages": [("human", f"Point {n}. {FILLER}")]}, THREAD)
        before = agent.get_state(THREAD).values
        middleware.usage({"messages": chat(1)}, THREAD)
        assert middleware.usage(before) == middleware.usage(before)
    assert SUMMARY in sent(model)[-1][0].text, "the summaries go on"


@pytest.mark.parametrize("state", [{}, [], None, {"tokenwise_memory": {}}])
def test_what_is_no_state_is_refused(state: Any) -> None:
    with pytest.raises(BadInput, match="get_state"):
        SummaryBufferMiddleware(eager()).usage(state)


def test_a_runnable_tells_it_of_a_session(counted: Any, tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.sqlite'}"
    config: Any = {"configurable": {"session_id": "s"}}
    runnable = SummaryBufferRunnable(eager(sessions=url), summarizer=counted(says=SUMMARY))
    for turns in range(1, 13):
        shown = runnable.invoke([SystemMessage("Be kind."), *chat(turns)[:-1]], config)
    messages = [SystemMessage("Be kind."), *chat(12)[:-1]]
    usage = runnable.usage(messages, config)
    assert is_cut(usage, 24)
    count = runnable.memory.counter.text
    assert usage.shown_tokens == pytest.approx(sum(count(str(one.text)) for one in shown), rel=0.15)
    assert not is_cut(runnable.usage(messages), 24), "nobody said whose it is"
    assert runnable.usage("Hello").messages == 1
    runnable.memory.drain()
    runnable.memory.close()
    assert is_cut(SummaryBufferRunnable(eager(sessions=url)).usage(messages, config), 24), "any worker knows it"


def test_all_agree_on_the_same_conversation() -> None:
    memory, messages = eager(target_tokens=100_000), chat(4)
    history = SummaryBufferHistory("h", memory)
    history.add_messages(messages)
    by_history = history.usage()
    assert not is_cut(by_history, 8)
    assert SummaryBufferMiddleware(memory).usage({"messages": messages}) == by_history
    assert SummaryBufferRunnable(memory).usage(messages) == by_history


def test_the_classic_memory_tells_it_too() -> None:
    pytest.importorskip("langchain_classic")
    from tokenwise_langchain import TokenwiseSummaryMemory

    memory = TokenwiseSummaryMemory()
    memory.save_context({"input": "Hello"}, {"output": "Hi"})
    assert memory.usage() == memory.history.usage()
    assert memory.usage().by_role.keys() == {"user", "assistant"}
