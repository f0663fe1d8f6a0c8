"""Memory as a step of a chain: sessions, sync and async, batch, what is learnt, and what fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from tests.langchain.memories import FILLER, SUMMARY, eager
from tokenwise_core.memory import Memory
from tokenwise_core.scoping import scope
from tokenwise_core.switch import disable, enable
from tokenwise_langchain import SummaryBufferRunnable


def config(session: str = "s") -> Any:
    return {"configurable": {"session_id": session}}


def history(turns: int, *, first: int = 0) -> list[BaseMessage]:
    pairs = ([HumanMessage(f"Point {n}. {FILLER}"), AIMessage(f"Noted {n}. {FILLER}")] for n in range(first, turns))
    return [message for pair in pairs for message in pair]


def grown(runnable: SummaryBufferRunnable, turns: int = 12, session: str = "s") -> list[BaseMessage]:
    """Ask turn by turn, as a conversation grows."""
    messages: list[BaseMessage] = []
    shown: list[BaseMessage] = []
    for n in range(turns):
        messages = [*messages, HumanMessage(f"Point {n}. {FILLER}")]
        shown = runnable.invoke(messages, config(session))
        messages = [*messages, AIMessage(f"Noted {n}. {FILLER}")]
    return shown


def test_a_list_of_messages_goes_in_and_a_shorter_one_comes_out(counted: Any) -> None:
    shown = grown(SummaryBufferRunnable(eager(), summarizer=counted(says=SUMMARY)))
    assert SUMMARY in shown[0].text
    assert shown[-1].text.startswith("Point 11.")
    assert len(shown) < 23


def test_it_is_a_step_between_prompt_and_model(counted: Any) -> None:
    model = counted(usage=None)
    prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), MessagesPlaceholder("past"), ("human", "{ask}")])
    chain = prompt | SummaryBufferRunnable(eager()) | model
    for n in range(12):
        chain.invoke({"past": history(n), "ask": f"Point {n}. {FILLER}"}, config())
    last = model._asked[-1]
    assert last[0].text == "Be kind."
    assert last[1].text.startswith("[Summary")
    assert last[-1].text.startswith("Point 11.")


@pytest.mark.parametrize("given", ["Hello", [("human", "Hello")], [HumanMessage("Hello")]])
def test_it_takes_what_a_chat_model_takes(given: Any) -> None:
    assert SummaryBufferRunnable(eager()).invoke(given, config()) == [HumanMessage("Hello")]


async def test_awaited_streamed_and_in_batches_it_does_the_same() -> None:
    runnable = SummaryBufferRunnable(eager())
    messages = history(3)
    assert await runnable.ainvoke(messages, config("a")) == messages
    assert list(runnable.stream(messages, config("b"))) == [messages]
    assert [shown async for shown in runnable.astream(messages, config("c"))] == [messages]
    lists = [history(2), history(3), history(4)]
    assert runnable.batch(lists, [config(name) for name in "def"]) == lists
    assert await runnable.abatch(lists, [config(name) for name in "ghi"]) == lists


def test_sessions_keep_apart_and_another_worker_goes_on(counted: Any, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.sqlite'}"
    memory = eager(sessions=url)
    grown(SummaryBufferRunnable(memory, summarizer=counted(says=SUMMARY)))
    memory.close()
    other = counted(says="Another summary.")
    fresh = SummaryBufferRunnable(eager(sessions=url), summarizer=other)
    again = [*history(12), HumanMessage("And now?")]
    assert SUMMARY in fresh.invoke(again, config())[0].text
    assert fresh.invoke(again, config("another"))[0].text.startswith("Point 0.")
    fresh.memory.close()


def test_the_scopes_session_or_a_chosen_one_counts_where_the_config_names_none() -> None:
    lent: list[str] = []
    memory = eager()
    using = memory.using
    memory.using = lambda name: lent.append(name) or using(name)  # type: ignore[method-assign, func-returns-value]
    with scope(session="s-1"):
        SummaryBufferRunnable(memory).invoke("Hello")
    SummaryBufferRunnable(memory, session="mine").invoke("Hello")
    SummaryBufferRunnable(memory).invoke("Hello", {"configurable": {"thread_id": "t"}})
    SummaryBufferRunnable(memory).invoke("Hello")
    assert lent == ["s-1", "mine", "t"], "the last one is nobody's"


def test_its_session_is_among_what_can_be_configured(counted: Any) -> None:
    chain = SummaryBufferRunnable(eager()) | counted()
    assert "session_id" in [spec.id for spec in chain.config_specs]


def test_in_a_node_of_a_graph_the_thread_is_the_session(counted: Any) -> None:
    model = counted(says=f"Noted. {FILLER}", usage=None)
    shorten = SummaryBufferRunnable(eager())
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [model.invoke(shorten.invoke(state["messages"]))]})
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    compiled = graph.compile(checkpointer=InMemorySaver())
    for n in range(12):
        given: Any = {"messages": [("human", f"Point {n}. {FILLER}")]}
        state = compiled.invoke(given, {"configurable": {"thread_id": "t"}})
    assert len(state["messages"]) == 24
    assert model._asked[-1][0].text.startswith("[Summary")


def test_the_usage_of_an_answer_is_learnt_when_it_comes_back() -> None:
    memory = Memory(target_tokens=100_000)
    runnable = SummaryBufferRunnable(memory)
    messages: list[BaseMessage] = [HumanMessage(FILLER)]
    runnable.invoke(messages, config())
    usage = {"input_tokens": 90, "output_tokens": 10, "total_tokens": 100}
    messages = [*messages, AIMessage("Noted.", usage_metadata=usage), HumanMessage("And?")]
    runnable.invoke(messages, config())
    assert memory._learned.scale("s") > 1.2


def test_with_the_switch_off_or_a_failure_the_messages_go_through(monkeypatch: pytest.MonkeyPatch) -> None:
    runnable = SummaryBufferRunnable(eager(max_tokens=400))
    messages = [*history(12), HumanMessage("And now?")]
    disable()
    try:
        assert runnable.invoke(messages, config()) == messages
    finally:
        enable()
    monkeypatch.setattr(runnable._keeper, "show", lambda *_: 1 / 0)
    assert runnable.invoke(messages, config()) == messages
    assert runnable.errors == 1
