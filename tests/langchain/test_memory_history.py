"""The history of a session: a whole log, a derived view, and turns that run at the same time (checklist 33)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from tests.core.memory.test_session_store_down import Failing, down
from tests.langchain.memories import FILLER, LEXICAL, SUMMARY, answers, eager, sent
from tokenwise_core.memory import Memory
from tokenwise_core.switch import disable, enable
from tokenwise_langchain import SummaryBufferHistory

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")


def config(session: str = "s") -> Any:
    return {"configurable": {"session_id": session}}


def texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.text) for message in messages]


def with_history(runnable: Any, memory: Memory, **settings: Any) -> Any:
    return RunnableWithMessageHistory(runnable, lambda session: SummaryBufferHistory(session, memory), **settings)


def test_all_is_kept_and_a_shorter_view_is_shown(counted: Any) -> None:
    memory, model = eager(), counted(says=answers, usage=None)
    chain = RunnableWithMessageHistory(model, lambda s: SummaryBufferHistory(s, memory, summarizer=model))
    for n in range(12):
        chain.invoke([HumanMessage(f"Point {n}. {FILLER}")], config())
    history = SummaryBufferHistory("s", memory)
    assert texts(history.full_messages())[::2] == [f"Point {n}. {FILLER}" for n in range(12)]
    assert len(history.full_messages()) == 24
    last = sent(model)[-1]
    assert isinstance(last[0], HumanMessage)
    assert SUMMARY in last[0].text
    assert last[-1].text == f"Point 11. {FILLER}"
    assert not [message for message in last if isinstance(message, SystemMessage)]


def test_what_is_shown_stays_the_same_until_messages_are_added(counted: Any) -> None:
    memory = eager()
    history = SummaryBufferHistory("s", memory, summarizer=counted(says=SUMMARY))
    for n in range(12):
        history.add_messages([HumanMessage(f"Point {n}. {FILLER}"), AIMessage(f"Noted. {FILLER}")])
        first = history.messages
        assert history.messages == first
        assert SummaryBufferHistory("s", memory).messages == first
    assert memory.stats().requests == 12, "reading is not asking"


def test_who_changes_what_is_handed_out_changes_nothing(counted: Any) -> None:
    history = SummaryBufferHistory("s", eager())
    history.add_messages([HumanMessage("Hello"), AIMessage("Hi")])
    handed = history.messages
    handed[0].content = "Changed"
    handed.pop()
    assert texts(history.messages) == ["Hello", "Hi"]
    assert texts(history.full_messages()) == ["Hello", "Hi"]


READERS = {
    "messages": lambda history: history.messages,
    "full_messages": lambda history: history.full_messages(),
    "messages_for": lambda history: history.messages_for([HumanMessage("Well?")]),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("is_cut", [False, True])
def test_nor_does_who_writes_into_what_a_message_holds(reader: str, is_cut: bool) -> None:
    memory = eager()
    history = SummaryBufferHistory("s", memory)
    if is_cut:
        for n in range(12):
            history.add_messages([HumanMessage(f"Order A-{n}. {FILLER}"), AIMessage(f"Noted. {FILLER}")])
            history.messages  # noqa: B018  as a turn would
    call = {"name": "look", "args": {"order": {"id": "1"}}, "id": "c-1", "type": "tool_call"}
    metadata = {"token_usage": {"details": {"cached": 1}}}
    said = [
        HumanMessage([{"type": "text", "text": "Hello", "more": {"a": [1]}}], additional_kwargs={"mine": {"a": 1}}),
        AIMessage("", tool_calls=[call], response_metadata=metadata),
        ToolMessage("Nothing.", tool_call_id="c-1"),
        HumanMessage("Well?", colour=["red"]),
    ]
    history.add_messages(said)
    read = READERS[reader]
    theirs = read(SummaryBufferHistory("s", memory))
    before = [message.model_copy(deep=True) for message in theirs]
    human, answer, result, asked = read(history)[-4:]
    human.content[0]["text"] = human.content[0]["more"]["a"][0] = "changed"
    human.content.append("changed")
    human.additional_kwargs["mine"]["a"] = human.additional_kwargs["changed"] = "changed"
    answer.tool_calls[0]["args"]["order"]["id"] = "changed"
    answer.tool_calls.append(call)
    answer.response_metadata["token_usage"]["details"]["cached"] = 2
    result.content = "Changed"
    result.name = "changed"
    asked.colour.append("blue")
    asked.size = 3
    assert theirs == read(history) == read(SummaryBufferHistory("s", memory)) == before
    dumps = [[one.model_dump(exclude_unset=True) for one in each] for each in (read(history), theirs, before)]
    assert dumps[0] == dumps[1] == dumps[2]
    if is_cut and reader != "full_messages":
        assert before[0].text.startswith("[Summary")
        first = read(history)[0]
        first.content, first.additional_kwargs["tokenwise"]["source"] = "changed", "changed"
        assert read(history) == before


def test_without_a_summariser_sentences_of_the_conversation_stand_in() -> None:
    memory = eager()
    history = SummaryBufferHistory("s", memory)
    for n in range(12):
        history.add_messages([HumanMessage(f"Order A-{n} costs {n} EUR. {FILLER}"), AIMessage(f"Noted. {FILLER}")])
        shown = history.messages
    assert shown[0].text.startswith("[Summary")
    assert len(history.full_messages()) == 24


def test_messages_of_all_kinds_come_back_as_they_were() -> None:
    history = SummaryBufferHistory("s", eager())
    call = {"name": "look", "args": {"order": "1"}, "id": "c-1", "type": "tool_call"}
    usage = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}
    said = [
        HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "image", "url": "https://x/y.png"}], id="1"),
        AIMessage("", tool_calls=[call], id="2", usage_metadata=usage, response_metadata={"model_name": "m"}),
        ToolMessage("Nothing.", tool_call_id="c-1", id="3", artifact=object()),
        AIMessageChunk("It is ", id="4") + AIMessageChunk("nothing.", id="4"),
    ]
    history.add_messages(said)
    back = history.full_messages()
    assert [type(message) for message in back] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert back[0] == said[0]
    assert back[1] == said[1]
    assert (back[2].text, back[2].tool_call_id, back[2].artifact) == ("Nothing.", "c-1", None)
    assert back[3].text == "It is nothing."


def test_two_turns_at_once_lose_nothing_and_store_nothing_twice() -> None:
    both = threading.Barrier(2)

    def answer(messages: list[BaseMessage]) -> AIMessage:
        both.wait(10)
        return AIMessage(f"To {messages[-1].text}")

    memory = eager()
    chain = with_history(RunnableLambda(answer), memory)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda text: chain.invoke([HumanMessage(text)], config()), ["A1", "B1"]))
        list(pool.map(lambda text: chain.invoke([HumanMessage(text)], config()), ["A2", "B2"]))
    stored = texts(SummaryBufferHistory("s", memory).full_messages())
    assert sorted(stored) == ["A1", "A2", "B1", "B2", "To A1", "To A2", "To B1", "To B2"]


def test_nor_do_they_when_one_history_serves_all_turns() -> None:
    first_began, second_ended = threading.Event(), threading.Event()

    def answer(messages: list[BaseMessage]) -> AIMessage:
        if messages[-1].text == "slow":
            first_began.set()
            second_ended.wait(10)
        return AIMessage(f"To {messages[-1].text}")

    history = SummaryBufferHistory("s", eager())
    chain = RunnableWithMessageHistory(RunnableLambda(answer), lambda session: history)
    slow = threading.Thread(target=lambda: chain.invoke([HumanMessage("slow")], config()))
    slow.start()
    first_began.wait(10)
    for n in range(3):
        chain.invoke([HumanMessage(f"quick {n}")], config())
    second_ended.set()
    slow.join()
    quick = [text for n in range(3) for text in (f"quick {n}", f"To quick {n}")]
    assert texts(history.full_messages()) == [*quick, "slow", "To slow"]


async def test_nor_do_awaited_ones() -> None:
    async def answer(messages: list[BaseMessage]) -> AIMessage:
        await asyncio.sleep(0.01 * (int(messages[-1].text) % 3))
        return AIMessage(f"To {messages[-1].text}")

    memory = eager()
    chain = with_history(RunnableLambda(answer), memory)
    await asyncio.gather(*(chain.ainvoke([HumanMessage(str(n))], config()) for n in range(20)))
    stored = texts(SummaryBufferHistory("s", memory).full_messages())
    assert sorted(stored) == sorted([*map(str, range(20)), *(f"To {n}" for n in range(20))])


def test_nor_do_those_that_a_summary_overtakes(counted: Any) -> None:
    """The view shrinks between a turn's beginning and its end: another turn has committed a summary."""
    began, go_on = threading.Event(), threading.Event()

    def answer(messages: list[BaseMessage]) -> AIMessage:
        if messages[-1].text == "slow":
            began.set()
            go_on.wait(10)
        return AIMessage(f"To {messages[-1].text} {FILLER}")

    memory, model = eager(), counted(says=SUMMARY)
    history = SummaryBufferHistory("s", memory, summarizer=model)
    chain = RunnableWithMessageHistory(RunnableLambda(answer), lambda session: history)
    for n in range(3):
        chain.invoke([HumanMessage(f"early {n} {FILLER}")], config())
    slow = threading.Thread(target=lambda: chain.invoke([HumanMessage("slow")], config()))
    slow.start()
    began.wait(10)
    for n in range(9):
        chain.invoke([HumanMessage(f"quick {n} {FILLER}")], config())
    assert SUMMARY in history.messages[0].text
    go_on.set()
    slow.join()
    stored = texts(history.full_messages())
    assert len(stored) == 26
    assert stored[-2:] == ["slow", f"To slow {FILLER}"]


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_prompt_with_a_place_for_history_works_too(counted: Any, awaited: bool) -> None:
    memory, model = eager(), counted(says=answers, usage=None)
    prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), MessagesPlaceholder("past"), ("human", "{ask}")])
    chain = with_history(prompt | model, memory, input_messages_key="ask", history_messages_key="past")
    for n in range(3):
        given = {"ask": f"Point {n}."}
        await chain.ainvoke(given, config()) if awaited else chain.invoke(given, config())
    assert texts(sent(model)[-1])[-1] == "Point 2."
    assert texts(SummaryBufferHistory("s", memory).full_messages())[::2] == ["Point 0.", "Point 1.", "Point 2."]


@pytest.mark.parametrize("with_place", [False, True])
def test_what_is_asked_is_recalled_for_and_not_what_was_asked_before(counted: Any, with_place: bool) -> None:
    memory, model = eager(recall=LEXICAL), counted(says=answers, usage=None)
    if with_place:
        prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("past"), ("human", "{ask}")])
        chain = with_history(prompt | model, memory, input_messages_key="ask", history_messages_key="past")
    else:
        chain = with_history(model, memory)

    def ask(text: str) -> str:
        chain.invoke({"ask": text} if with_place else [HumanMessage(text)], config())
        return "\n".join(texts(sent(model)[-1]))

    for n in range(12):
        ask(f"Point {n}. {'It is about a blue heron.' if n == 2 else ''} {FILLER}")
    assert "It is about a blue heron." in ask("What did I say about the heron, which colour has it?")
    again = ask("Thanks, that is all.")
    assert "What did I say about the heron" in again
    assert "It is about a blue heron." not in again
    stored = texts(SummaryBufferHistory("s", memory).full_messages())
    assert len(stored) == 28
    assert not [text for text in stored if "blue heron" in text and not text.startswith("Point 2.")]


def test_where_what_is_asked_is_not_known_nothing_is_recalled(counted: Any) -> None:
    history = SummaryBufferHistory("s", eager(recall=LEXICAL), summarizer=counted(says=SUMMARY))
    for n in range(12):
        history.messages  # noqa: B018
        heron = "It is about a blue heron." if n == 2 else ""
        history.add_messages([HumanMessage(f"Point {n}. {heron} {FILLER}"), AIMessage(f"Noted. {FILLER}")])
    history.add_messages([HumanMessage("Which colour has the heron?"), AIMessage("Blue.")])
    assert "It is about a blue heron." not in "".join(texts(history.messages))
    assert "It is about a blue heron." in "".join(texts(history.messages_for([HumanMessage("Which heron was it?")])))


def test_answers_with_one_id_are_two_answers() -> None:
    """LangChain's cache hands out the same message twice, id and all."""
    memory = eager()
    chain = with_history(RunnableLambda(lambda _: AIMessage("Yes.", id="lc_run--1-0")), memory)
    for _ in range(3):
        chain.invoke([HumanMessage("Sure?")], config())
    assert texts(SummaryBufferHistory("s", memory).full_messages()) == ["Sure?", "Yes."] * 3


def test_a_turn_that_fails_stores_nothing() -> None:
    memory = eager()
    chain = with_history(RunnableLambda(lambda _: 1 / 0), memory)
    with pytest.raises(ZeroDivisionError):
        chain.invoke([HumanMessage("Well?")], config())
    assert SummaryBufferHistory("s", memory).full_messages() == []


def test_sessions_outlive_the_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.sqlite'}"
    program = f"""
from langchain_core.messages import AIMessage, HumanMessage
from tokenwise_core.memory import Memory
from tokenwise_langchain import SummaryBufferHistory
memory = Memory(sessions={url!r})
SummaryBufferHistory("s", memory).add_messages([HumanMessage("Hello"), AIMessage("Hi")])
memory.close()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    memory = Memory(sessions=url)
    history = SummaryBufferHistory("s", memory)
    assert texts(history.messages) == ["Hello", "Hi"]
    history.clear()
    assert history.messages == history.full_messages() == []
    memory.close()


def test_a_store_that_is_down_loses_nothing(tmp_path: Path) -> None:
    place = tmp_path / "sessions.sqlite"
    place.mkdir()
    history = SummaryBufferHistory("s", eager(sessions=f"sqlite:///{place}"))
    history.add_messages([HumanMessage("Hello"), AIMessage("Hi")])
    assert texts(history.messages) == ["Hello", "Hi"]
    place.rmdir()
    history.add_messages([HumanMessage("Again")])
    assert texts(history.full_messages()) == ["Hello", "Hi", "Again"]


def test_a_summariser_that_fails_leaves_the_history_whole(counted: Any) -> None:
    history = SummaryBufferHistory("s", eager(), summarizer=counted(says=ConnectionError()))
    for n in range(12):
        history.add_messages([HumanMessage(f"Point {n}. {FILLER}"), AIMessage(f"Noted. {FILLER}")])
        shown = history.messages
    assert texts(shown) == texts(history.full_messages())


def test_with_the_switch_off_all_is_shown(counted: Any) -> None:
    memory = eager()
    chain = with_history(RunnableLambda(lambda messages: AIMessage(f"{len(messages)} {FILLER}")), memory)
    disable()
    try:
        for n in range(12):
            chain.invoke([HumanMessage(f"Point {n}. {FILLER}")], config())
    finally:
        enable()
    stored = texts(SummaryBufferHistory("s", memory).full_messages())
    assert [text.split()[0] for text in stored[1::2]] == [str(n) for n in range(1, 24, 2)]


def test_usage_says_what_the_session_holds_and_shows(counted: Any) -> None:
    history = SummaryBufferHistory("s", eager(), summarizer=counted(says=SUMMARY))
    for n in range(12):
        history.add_messages([HumanMessage(f"Point {n}. {FILLER}"), AIMessage(f"Noted. {FILLER}")])
        history.messages  # noqa: B018  as a turn would
    usage = history.usage()
    assert usage.messages == 24
    assert usage.has_summary
    assert usage.shown_tokens < usage.total_tokens
    assert set(usage.by_role) == {"user", "assistant"}


async def test_the_awaited_half_does_the_same(counted: Any) -> None:
    history = SummaryBufferHistory("s", eager(), summarizer=counted(says=SUMMARY))
    for n in range(12):
        await history.aadd_messages([HumanMessage(f"Point {n}. {FILLER}"), AIMessage(f"Noted. {FILLER}")])
        shown = await history.aget_messages()
    assert SUMMARY in "".join(texts(shown))
    await history.aclear()
    assert await history.aget_messages() == []


def test_messages_that_wait_for_a_store_outlast_many_other_sessions() -> None:
    store = Failing()
    memory = Memory(sessions=store)
    with down(store):
        for n in range(520):
            SummaryBufferHistory(f"s{n}", memory).add_messages([HumanMessage(f"hi {n}")])
    assert [texts(SummaryBufferHistory(f"s{n}", memory).full_messages()) for n in range(520)] == [
        [f"hi {n}"] for n in range(520)
    ]
