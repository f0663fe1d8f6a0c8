"""The drop-in for `ConversationSummaryBufferMemory`, in chains of `langchain-classic`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_classic")

from hypothesis import example, given
from hypothesis import strategies as st
from langchain_classic.chains import ConversationChain, LLMChain
from langchain_classic.memory.prompt import SUMMARY_PROMPT
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate

from tests.langchain.memories import FILLER, LEXICAL, SUMMARY, answers, asked, eager, sent
from tokenwise_core.errors import BadInput
from tokenwise_core.memory import Memory
from tokenwise_core.memory.prompts import block_prompt, merge_prompt
from tokenwise_langchain import SummaryBufferHistory, TokenwiseSummaryMemory
from tokenwise_langchain.memory.worded import material_of, worded

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


def spoken(memory: TokenwiseSummaryMemory, turns: int) -> None:
    for n in range(turns):
        memory.load_memory_variables({"input": f"Point {n}. {FILLER}"})
        memory.save_context({"input": f"Point {n}. {FILLER}"}, {"output": f"Noted {n}. {FILLER}"})


# The prompt of the summaries


@pytest.mark.parametrize(
    "prompt",
    [
        SUMMARY_PROMPT,
        PromptTemplate.from_template("In French, please.\nKnown: {summary}\nNew: {new_lines}"),
        ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "Known: {summary}\nNew: {new_lines}")]),
    ],
)
def test_summaries_are_asked_for_by_the_prompt_that_is_given(counted: Any, prompt: Any) -> None:
    model = counted(says=SUMMARY)
    memory = TokenwiseSummaryMemory(llm=model, memory=eager(), prompt=prompt)
    spoken(memory, 30)
    known = {SUMMARY in "".join(texts(messages)) for messages in model._asked}
    assert known == {False, True}, "the fourth takes the earlier ones in"
    for messages in model._asked:
        said = texts(messages)[-1]
        earlier = (
            said[said.index(SUMMARY) : said.rindex("\nNew", 0, said.index("User: Point"))].strip()
            if SUMMARY in said
            else ""
        )
        asked_by = prompt.format_prompt(summary=earlier, new_lines=new_lines(messages))
        assert texts(messages) == texts(asked_by.to_messages())
    assert SUMMARY in memory.moving_summary_buffer


def new_lines(messages: list[BaseMessage]) -> str:
    """Return what a summary was asked of: all from the first point to the end of the last."""
    text, said = messages[-1].text, FILLER.strip()
    return text[text.index("User: Point") : text.rindex(said) + len(said)]


def test_a_prompt_of_other_variables_is_refused() -> None:
    for prompt in (PromptTemplate.from_template("{summary}"), PromptTemplate.from_template("{summary}{new_lines}{x}")):
        with pytest.raises(ValueError, match="`summary` and `new_lines`"):
            TokenwiseSummaryMemory(prompt=prompt)
    with pytest.raises(BadInput, match="a str: give a prompt template"):
        SummaryBufferHistory("s", Memory(), prompt="{summary}")  # type: ignore[arg-type]


# Of an earlier summary, which a model wrote, no line is core's own mark.
SAID = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(str.strip)


@given(said=SAID, earlier=SAID.filter(lambda text: "</" not in text))
@example(said="</conversation>\n\n<conversation>", earlier="a < b")
def test_what_core_asks_a_summary_of_is_told_from_how_it_asks(said: str, earlier: str) -> None:
    assert material_of(block_prompt(said, earlier)) == (earlier, said)


@given(st.lists(SAID.filter(lambda text: "</" not in text), min_size=2, max_size=5))
def test_so_is_what_it_wants_to_be_merged(lists: list[str]) -> None:
    assert material_of(merge_prompt(lists)) == (lists[0], "\n".join(lists[1:]))


def test_what_is_asked_otherwise_is_asked_as_it_is() -> None:
    assert texts(worded(SUMMARY_PROMPT, "Is this so?")) == ["Is this so?"]


# The summary that it begins with


def test_a_conversation_begins_with_the_summary_that_is_given(counted: Any) -> None:
    model = counted(says=answers, usage=None)
    known = "Ana's order is B-33."
    memory = TokenwiseSummaryMemory(llm=model, memory=eager(), moving_summary_buffer=known)
    assert memory.buffer == f"System: [Summary of earlier messages]\n{known}"
    assert known in memory.moving_summary_buffer
    chain = ConversationChain(llm=model, memory=memory)
    for n in range(12):
        chain.predict(input=f"Point {n}. {FILLER}")
    assert known in sent(model)[0][0].text
    assert known in asked(model)[0][0].text, "the first summary takes it in"
    memory.clear()
    assert memory.buffer == ""


def test_it_is_kept_with_the_session_and_put_in_once(tmp_path: Path) -> None:
    given: dict[str, Any] = {"session_id": "s", "moving_summary_buffer": "Ana's order is B-33."}
    url = f"sqlite:///{tmp_path / 'sessions.sqlite'}"
    one = TokenwiseSummaryMemory(memory=Memory(sessions=url), **given)
    one.save_context({"input": "Hello"}, {"output": "Hi"})
    other = TokenwiseSummaryMemory(memory=Memory(sessions=url), **given)
    assert other.buffer == "System: [Summary of earlier messages]\nAna's order is B-33.\nHuman: Hello\nAI: Hi"


def test_what_one_memory_ends_with_another_begins_with(counted: Any) -> None:
    before = TokenwiseSummaryMemory(llm=counted(says=SUMMARY), memory=eager())
    spoken(before, 16)
    after = TokenwiseSummaryMemory(memory=eager(), moving_summary_buffer=before.moving_summary_buffer)
    assert after.moving_summary_buffer == before.moving_summary_buffer
    assert SUMMARY in after.moving_summary_buffer


def test_it_may_be_set_as_long_as_nothing_was_said() -> None:
    memory = TokenwiseSummaryMemory()
    memory.moving_summary_buffer = "Ana's order is B-33."
    assert "B-33" in memory.moving_summary_buffer
    memory.clear()
    memory.save_context({"input": "Hello"}, {"output": "Hi"})
    with pytest.raises(BadInput, match="session_id"):
        memory.moving_summary_buffer = "Ana's order is B-34."


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
