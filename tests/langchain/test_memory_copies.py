"""Copies, pickles and forks of what keeps memory: each opens its own, and goes on with the same sessions."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from tests.langchain.memories import FILLER, LEXICAL, SUMMARY, answers, eager, sent
from tokenwise_core.memory import Memory
from tokenwise_core.scoping import scope
from tokenwise_langchain import SummaryBufferHistory, SummaryBufferMiddleware, SummaryBufferRunnable

Copy = Callable[[Any], Any]
COPIES: dict[str, Copy] = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),
}


def stored(tmp_path: Path, **settings: Any) -> Memory:
    return eager(sessions=f"sqlite:///{tmp_path / 'sessions.sqlite'}", **settings)


def in_a_child(work: Callable[[], object]) -> None:
    """Do *work* in a forked process, which must end well, and soon."""
    child = os.fork()
    if child == 0:
        threading.Timer(20, lambda: os._exit(3)).start()
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def chat(turns: int) -> list[BaseMessage]:
    pairs = ([HumanMessage(f"Point {n}. {FILLER}"), AIMessage(f"Noted {n}. {FILLER}")] for n in range(turns))
    return [message for pair in pairs for message in pair]


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_middleware_keeps_an_agents_memory(counted: Any, how: str) -> None:
    model = counted(says=answers, usage=None)
    middleware = COPIES[how](SummaryBufferMiddleware(eager(), session="s", name="desk"))
    agent = create_agent(model, middleware=[middleware], checkpointer=InMemorySaver())
    for n in range(12):
        agent.invoke({"messages": [("human", f"Point {n}. {FILLER}")]}, {"configurable": {"thread_id": "t"}})  # type: ignore[list-item]
    assert SUMMARY in sent(model)[-1][0].text
    assert (middleware.name, middleware.errors) == ("desk", 0)


@pytest.mark.parametrize("how", COPIES)
def test_the_recall_tool_of_a_copy_asks_the_copy(counted: Any, how: str) -> None:
    middleware = COPIES[how](SummaryBufferMiddleware(eager(recall=LEXICAL), recall_tool=True))

    def says(messages: list[BaseMessage]) -> Any:
        if messages[-1].text == "Which bird?":
            return AIMessage("", tool_calls=[{"name": "recall", "args": {"id": "heron"}, "id": "1"}])
        return "It is grey." if isinstance(messages[-1], ToolMessage) else answers(messages)

    agent = create_agent(counted(says=says, usage=None), middleware=[middleware], checkpointer=InMemorySaver())
    for n in range(12):
        asked = f"Point {n}. {'A blue heron.' if n == 1 else ''} {FILLER}"
        agent.invoke({"messages": [("human", asked)]}, {"configurable": {"thread_id": "t"}})  # type: ignore[list-item]
    state = agent.invoke({"messages": [("human", "Which bird?")]}, {"configurable": {"thread_id": "t"}})  # type: ignore[list-item]
    assert "A blue heron." in state["messages"][-2].text
    assert [tool.name for tool in middleware.tools] == ["recall"]


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_runnable_goes_on_with_its_session(counted: Any, tmp_path: Path, how: str) -> None:
    runnable = SummaryBufferRunnable(stored(tmp_path), summarizer=counted(says=SUMMARY), name="step")
    config: Any = {"configurable": {"session_id": "s"}}
    for turns in range(1, 12):
        runnable.invoke(chat(turns)[:-1], config)
    runnable.memory.drain()
    again = COPIES[how](runnable)
    shown = again.invoke(chat(12)[:-1], config)
    assert SUMMARY in shown[0].text
    assert (again.name, again.errors) == ("step", 0)


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_history_reads_and_writes_the_same_session(tmp_path: Path, how: str) -> None:
    with scope(user="u-4"):
        history = SummaryBufferHistory("s", stored(tmp_path), fixed_tokens=7)
    history.add_messages([HumanMessage("Hello"), AIMessage("Hi")])
    again = COPIES[how](history)
    again.add_messages([HumanMessage("And now?")])
    assert [one.text for one in history.full_messages()] == ["Hello", "Hi", "And now?"]
    assert [one.text for one in again.full_messages()] == ["Hello", "Hi", "And now?"]
    assert history.memory.sessions.purge(user="u-4") == 1, "the session is still its owner's"


def test_a_deep_copy_shares_the_memory_and_the_summariser(counted: Any) -> None:
    memory, summarizer = eager(), counted()
    for one in (
        SummaryBufferMiddleware(memory, summarizer=summarizer),
        SummaryBufferRunnable(memory, summarizer=summarizer),
        SummaryBufferHistory("s", memory, summarizer=summarizer),
    ):
        again: Any = copy.deepcopy([one, one])
        assert again[0] is again[1] is not one
        assert again[0].memory is memory
        assert again[0]._summarizer is summarizer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_waits_for_no_lock_of_its_parent(tmp_path: Path) -> None:
    memory = stored(tmp_path)
    runnable, history = SummaryBufferRunnable(memory), SummaryBufferHistory("h", memory)
    middleware = SummaryBufferMiddleware(memory)
    history.add_messages([HumanMessage("Hello")])
    config: Any = {"configurable": {"session_id": "s"}}
    assert runnable.invoke(chat(2), config)

    def work() -> None:
        assert len(runnable.invoke(chat(3), config)) == 6
        assert runnable.errors == 0
        assert [one.text for one in history.messages] == ["Hello"]
        assert middleware._keeper.find("s", chat(2), "heron", view=None) == ""

    with runnable._lock, runnable._keeper._views._lock, middleware._keeper._views._lock, history._log._lock:
        in_a_child(work)
