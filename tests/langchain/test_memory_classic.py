"""The drop-in for `ConversationSummaryBufferMemory`, in chains of `langchain-classic`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_classic")

from langchain_classic.chains import ConversationChain, LLMChain
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate

from tests.langchain.memories import FILLER, LEXICAL, SUMMARY, answers, asked, eager, sent
from tokenwise_core.memory import Memory
from tokenwise_langchain import TokenwiseSummaryMemory

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")


def texts(messages: list[BaseMessage]) -> list[str]:
    return [str(message.text) for message in messages]


def test_a_conversation_chain_keeps_its_summary_and_its_latest_turns(counted: Any) -> None:
    model = counted(says=answers, usage=None)
    chain = ConversationChain(llm=model, memory=TokenwiseSummaryMemory(llm=model, memory=eager()))
    for n in range(12):
        chain.predict(input=f"Point {n}. {FILLER}")
    prompt = sent(model)[-1][0].text
    assert "System: [Summary of" in prompt
    assert SUMMARY in prompt
    assert "Human: Point 11." in prompt
    assert "Human: Point 2." not in prompt
    assert len(asked(model)) < 6, "not one a turn"
    assert len(chain.memory.history.full_messages()) == 24


@pytest.mark.parametrize("awaited", [False, True])
async def test_a_chain_with_a_chat_prompt_gets_messages(counted: Any, awaited: bool) -> None:
    model = counted(says=answers, usage=None)
    prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), MessagesPlaceholder("past"), ("human", "{ask}")])
    memory = TokenwiseSummaryMemory(llm=model, memory=eager(), memory_key="past", return_messages=True)
    chain = LLMChain(llm=model, prompt=prompt, memory=memory)
    for n in range(12):
        given = {"ask": f"Point {n}. {FILLER}"}
        await chain.ainvoke(given) if awaited else chain.invoke(given)
    last = sent(model)[-1]
    assert SUMMARY in last[1].text
    assert isinstance(last[1], HumanMessage)
    assert last[-1].text == f"Point 11. {FILLER}"
    assert [text for text in texts(last) if text.startswith("Point 11.")] == [f"Point 11. {FILLER}"]


def test_keys_and_prefixes_are_those_of_the_original() -> None:
    settings: dict[str, Any] = {"human_prefix": "Kim", "ai_prefix": "Desk", "input_key": "ask", "output_key": "answer"}
    memory = TokenwiseSummaryMemory(**settings, memory_key="past")
    memory.save_context({"ask": "Hello", "other": "x"}, {"answer": "Hi", "sources": "y"})
    assert memory.memory_variables == ["past"]
    assert memory.load_memory_variables({"ask": "And?"}) == {"past": "Kim: Hello\nDesk: Hi"}
    assert memory.buffer == "Kim: Hello\nDesk: Hi"
    memory.prune()
    memory.clear()
    assert memory.load_memory_variables({}) == {"past": ""}


async def test_the_awaited_half_does_the_same() -> None:
    memory = TokenwiseSummaryMemory(return_messages=True)
    await memory.asave_context({"input": "Hello"}, {"output": "Hi"})
    found = await memory.aload_memory_variables({"input": "And?"})
    assert texts(found["history"]) == ["Hello", "Hi"] == texts(await memory.abuffer())  # type: ignore[arg-type]
    await memory.aprune()
    await memory.aclear()
    assert await memory.abuffer() == []


def test_what_is_asked_is_recalled_for(counted: Any) -> None:
    memory = TokenwiseSummaryMemory(llm=counted(says=SUMMARY), memory=eager(recall=LEXICAL))
    for n in range(12):
        heron = "It is about a blue heron." if n == 2 else ""
        memory.load_memory_variables({"input": f"Point {n}. {heron} {FILLER}"})
        memory.save_context({"input": f"Point {n}. {heron} {FILLER}"}, {"output": f"Noted. {FILLER}"})
    asked_for = memory.load_memory_variables({"input": "Which colour has the heron that I told you about?"})
    assert "It is about a blue heron." in asked_for["history"]
    assert "Which colour" not in asked_for["history"], "the chain adds the question itself"
    assert "blue heron" not in memory.load_memory_variables({"input": "Thanks."})["history"]
    assert SUMMARY in memory.moving_summary_buffer


def test_a_string_model_may_make_the_summaries() -> None:
    llm = FakeListLLM(responses=[SUMMARY])
    memory = TokenwiseSummaryMemory(llm=llm, memory=eager())
    chain = LLMChain(llm=llm, prompt=PromptTemplate.from_template("{history}\n{input}"), memory=memory)
    for n in range(12):
        chain.invoke({"input": f"Point {n}. {FILLER * 2}"})
    assert SUMMARY in memory.moving_summary_buffer


def test_a_session_goes_on_where_another_process_left_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.sqlite'}"
    one = TokenwiseSummaryMemory(memory=Memory(sessions=url), session_id="s")
    one.save_context({"input": "Hello"}, {"output": "Hi"})
    other = TokenwiseSummaryMemory(memory=Memory(sessions=url), session_id="s")
    assert other.buffer == "Human: Hello\nAI: Hi"


def test_what_it_does_not_take_it_refuses() -> None:
    from langchain_core.chat_history import InMemoryChatMessageHistory

    with pytest.raises(ValueError, match="session_id"):
        TokenwiseSummaryMemory(chat_memory=InMemoryChatMessageHistory())
    with pytest.raises(ValueError, match="prompt"):
        TokenwiseSummaryMemory(prompt=PromptTemplate.from_template("{summary}"))  # type: ignore[call-arg]


def test_without_langchain_classic_its_name_says_what_is_missing() -> None:
    program = """
import sys
sys.modules["langchain_classic"] = None
import tokenwise_langchain
try:
    tokenwise_langchain.TokenwiseSummaryMemory
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert 'pip install "tokenwise[classic]"' in done.stdout


def test_messages_are_of_the_framework() -> None:
    memory = TokenwiseSummaryMemory(return_messages=True)
    memory.save_context({"input": "Hello"}, {"output": "Hi"})
    assert [type(message) for message in memory.buffer] == [HumanMessage, AIMessage]
