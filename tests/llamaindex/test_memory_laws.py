"""Laws of what is shown, over random histories: nothing is orphaned, the limit holds, and all of it comes back."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from tests.core.memory.histories import random_history
from tests.llamaindex.talking import (
    Talker,
    answer,
    answered,
    call,
    called,
    core_memory,
    result,
    summing,
    system,
    texts,
    tokens,
    user,
)
from tokenwise_core.messages import Message
from tokenwise_core.twins import twin_of
from tokenwise_llamaindex import SummaryBufferMemory, TokenwiseLLM
from tokenwise_llamaindex.memory.messages import MemoryMessage, read, written

seeds = st.integers(0, 2**32)


def histories(seed: int, size: int, *, well_formed: bool) -> list[ChatMessage]:
    return [_message(one) for one in random_history(seed, size, well_formed=well_formed)]


def _message(message: Message) -> ChatMessage:
    match message.role:
        case "tool":
            return result(message.tool_call_id or "", message.text)
        case "assistant" if message.tool_calls:
            return call(*(str(made.id) for made in message.tool_calls), text=message.text)
        case "assistant":
            return answer(message.text)
        case "system":
            return system(message.text)
        case _:
            return user(message.text)


def assert_nothing_is_torn(shown: Sequence[ChatMessage], whole: Sequence[ChatMessage]) -> None:
    """Check that each call is shown with all its results that there are, and each result with its call."""
    made, had = set(called(whole)), set(answered(whole))
    for one in set(called(shown)):
        assert one not in had or one in answered(shown)
    for one in set(answered(shown)):
        assert one not in made or one in called(shown)


def assert_it_is_well_formed(shown: Sequence[ChatMessage]) -> None:
    """Check what providers demand: results follow their call, and a user comes first."""
    waiting: list[str] = []
    for message in shown:
        if message.role is MessageRole.TOOL:
            assert message.additional_kwargs["tool_call_id"] in waiting
            waiting.remove(message.additional_kwargs["tool_call_id"])
        else:
            assert not waiting
            waiting = called([message])
    heads = [message for message in shown if message.role is not MessageRole.SYSTEM]
    assert not heads or heads[0].role in (MessageRole.USER, MessageRole.ASSISTANT)
    if any(isinstance(message, MemoryMessage) for message in shown):
        assert heads[0].role is MessageRole.USER


@given(seed=seeds, size=st.integers(0, 60), limit=st.integers(150, 900), well_formed=st.booleans())
def test_no_call_is_torn_from_its_results_whatever_the_history(
    seed: int, size: int, limit: int, well_formed: bool
) -> None:
    history = histories(seed, size, well_formed=well_formed)
    memory = summing(None, target_tokens=100, max_tokens=limit)
    chance = random.Random(seed)
    put = 0
    while put < len(history):
        step = chance.randint(1, 6)
        memory.put_messages(history[put : put + step])
        put += step
        shown = memory.get()
        assert_nothing_is_torn(shown, history[:put])
        if well_formed and not set(called(history[:put])) - set(answered(history[:put])):
            assert_it_is_well_formed(shown)
    assert memory.get_all() == history


@given(seed=seeds, size=st.integers(0, 60), well_formed=st.booleans())
def test_no_call_is_torn_by_the_wrapper_of_the_model(seed: int, size: int, well_formed: bool) -> None:
    history = histories(seed, size, well_formed=well_formed)
    inner = Talker()
    llm = TokenwiseLLM(inner, memory=core_memory(target_tokens=100, max_tokens=400))
    before = [message.model_copy(deep=True) for message in history]
    for stop in range(1, len(history) + 1, 5):
        llm.chat(history[:stop])
        assert_nothing_is_torn(inner.requests[-1], history[:stop])
    assert history == before


@given(seed=seeds, size=st.integers(1, 60))
def test_system_messages_and_the_last_question_are_always_shown(seed: int, size: int) -> None:
    history = histories(seed, size, well_formed=True)
    memory = summing(None, target_tokens=100, max_tokens=300)
    memory.set(history)
    shown = memory.get()
    assert [one for one in shown if one.role is MessageRole.SYSTEM] == [
        one for one in history if one.role is MessageRole.SYSTEM
    ]
    asked = [one for one in history if one.role is MessageRole.USER]
    assert not asked or asked[-1] in shown


@given(seed=seeds, size=st.integers(10, 80), limit=st.integers(500, 900))
def test_the_limit_holds(seed: int, size: int, limit: int) -> None:
    history = histories(seed, size, well_formed=True)
    memory = summing(None, target_tokens=200, max_tokens=limit)
    memory.set(history)
    shown = memory.get()
    assert memory.outcome is None or tokens(memory, shown) <= limit or memory.outcome.notes


@given(seed=seeds, size=st.integers(5, 60))
def test_what_was_shown_is_the_beginning_of_what_is_shown_next_unless_a_cut_is_told(seed: int, size: int) -> None:
    memory = summing(None, target_tokens=150, max_tokens=500)
    before: list[str] = []
    for message in histories(seed, size, well_formed=True):
        memory.put(message)
        if message.role is not MessageRole.USER:
            continue
        shown = texts(memory.get())
        assert memory.outcome is not None
        if not memory.outcome.reason:
            assert shown[: len(before)] == before
        before = shown


@given(seed=seeds, size=st.integers(0, 40), well_formed=st.booleans())
def test_it_comes_back_from_json_with_all_that_it_showed(seed: int, size: int, well_formed: bool) -> None:
    history = histories(seed, size, well_formed=well_formed)
    memory = summing(None, target_tokens=100, max_tokens=400)
    memory.put_messages(history)
    memory.get()
    data = json.loads(json.dumps(memory.to_dict(), allow_nan=False))
    again = SummaryBufferMemory.from_dict(data, memory=core_memory(target_tokens=100, max_tokens=400))
    assert again.get_all() == history
    assert texts(again.get()) == texts(memory.get())


@given(seed=seeds, size=st.integers(0, 40))
def test_a_copy_says_the_same_and_shares_nothing(seed: int, size: int) -> None:
    for message in histories(seed, size, well_formed=False):
        twin = twin_of(message)()
        assert twin == message == read(json.loads(json.dumps(written(message))))
        assert all(mine is not theirs for mine, theirs in zip(twin.blocks, message.blocks, strict=True))
        twin.blocks = []
        twin.additional_kwargs["x"] = 1
        assert "x" not in message.additional_kwargs
        assert twin.model_fields_set >= message.model_fields_set


@pytest.mark.parametrize("role", list(MessageRole))
def test_every_role_comes_back(role: MessageRole) -> None:
    memory = summing()
    memory.put(ChatMessage(role=role, content="x"))
    assert memory.get_all()[0].role is role
