"""`TokenwiseLLM(memory=…)`: chat calls are edited by core's plan, streamed and awaited alike, and nothing else is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from typing import Any

import httpx
import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI

from tests.llamaindex.talking import (
    FACTS,
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
    words,
)
from tokenwise_core.cache import SemanticCache
from tokenwise_core.memory import Memory, Prepared, Rates, Request, ToolResults, View
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.request import When
from tokenwise_core.scoping import scope
from tokenwise_llamaindex import TokenBreakdownHandler, TokenwiseLLM
from tokenwise_llamaindex.memory.messages import MemoryMessage, swapped
from tokenwise_llamaindex.memory.seen import Seen

Way = Callable[[TokenwiseLLM, Sequence[ChatMessage]], Awaitable[str]]


async def _chat(llm: TokenwiseLLM, messages: Sequence[ChatMessage]) -> str:
    return llm.chat(messages).message.content or ""


async def _achat(llm: TokenwiseLLM, messages: Sequence[ChatMessage]) -> str:
    return (await llm.achat(messages)).message.content or ""


async def _stream(llm: TokenwiseLLM, messages: Sequence[ChatMessage]) -> str:
    return list(llm.stream_chat(messages))[-1].message.content or ""


async def _astream(llm: TokenwiseLLM, messages: Sequence[ChatMessage]) -> str:
    return [chunk async for chunk in await llm.astream_chat(messages)][-1].message.content or ""


WAYS = [_chat, _achat, _stream, _astream]


async def conversation(way: Way, llm: TokenwiseLLM, turns: int, *, head: str = "A clerk.") -> list[ChatMessage]:
    """Hold a conversation whose history the application keeps; return it."""
    history = [system(head)]
    for number in range(turns):
        history.append(user(words(2 * number)))
        said = await way(llm, history)
        assert llm.memory is not None
        assert await llm.memory.adrain()
        history.append(answer(said))
    return history


def after_summary(calls: Sequence[Sequence[ChatMessage]]) -> list[Sequence[ChatMessage]]:
    return [messages for messages in calls if any(isinstance(message, MemoryMessage) for message in messages)]


@pytest.mark.parametrize("way", WAYS)
async def test_a_long_conversation_is_sent_with_a_summary_of_its_beginning(way: Way) -> None:
    inner = Talker()
    llm = TokenwiseLLM(inner, memory=core_memory())
    history = await conversation(way, llm, 18)
    last = inner.requests[-1]
    assert last[0] == system("A clerk.")
    assert FACTS in (last[1].content or "")
    assert last[1].role is MessageRole.USER
    assert last[-1] == history[-2]
    assert words(0) not in texts(last)
    for messages in inner.requests:
        assert tokens(summing(), messages) <= 900
    assert history[1] == user(words(0))  # the application's own list is as it was


@pytest.mark.parametrize("way", WAYS)
async def test_a_summary_is_asked_behind_what_was_sent_and_read_from_the_providers_cache(way: Way) -> None:
    inner = Talker()
    llm = TokenwiseLLM(inner, memory=core_memory())
    await conversation(way, llm, 18)
    assert inner.summary_requests
    for messages in inner.summary_requests:
        sent = inner.calls[next(at for at, (one, _) in enumerate(inner.calls) if one == messages) - 1][0]
        assert texts(messages)[: len(sent)] == texts(sent)
        assert messages[len(sent)].role is MessageRole.ASSISTANT


def test_a_completion_is_none_of_its_business() -> None:
    inner, memory = Talker(), core_memory(max_tokens=401)
    prompt = "One. " * 2_000
    TokenwiseLLM(inner, memory=memory).complete(prompt)
    assert texts(inner.requests[-1]) == [prompt]
    assert memory.stats().requests == 0


def test_messages_that_need_no_edit_are_the_very_list_that_was_given() -> None:
    inner = Talker()
    seen: list[Any] = []
    inner._say = lambda messages, _: (seen.append(messages), "Yes.")[1]
    messages = [system("A clerk."), user("a"), answer("b"), user("c")]
    TokenwiseLLM(inner, memory=core_memory()).chat(messages)
    assert texts(inner.calls[-1][0]) == texts(messages)
    assert all(one is other for one, other in zip(inner.calls[-1][0], messages, strict=True))


async def test_two_conversations_of_one_model_do_not_mix() -> None:
    inner = Talker(facts=lambda messages, _: f"- It began with {texts(messages)[1][:12]}")
    llm = TokenwiseLLM(inner, memory=core_memory())
    histories = [[user(f"{name} " + words(0))] for name in ("Anna", "Berta")]
    for number in range(18):
        for name, history in zip(("Anna", "Berta"), histories, strict=True):
            llm.chat([system("A clerk."), *history])
            history += [answer(f"{name} " + words(2 * number + 1)), user(f"{name} " + words(2 * number + 2))]
    for name, messages in zip(("Anna", "Berta"), inner.requests[-2:], strict=True):
        shown = "\n".join(texts(messages))
        assert "[Summary of" in shown
        assert f"{name} Message 34" in shown
        assert ("Anna" if name == "Berta" else "Berta") not in shown


async def test_other_calls_of_a_session_leave_its_conversation_alone() -> None:
    inner = Talker()
    llm = TokenwiseLLM(inner, memory=core_memory())
    with scope(session="s-1"):
        history = [user(words(0))]
        for number in range(18):
            llm.chat([system(f"Today's context is {number}."), *history])
            history += [answer(words(2 * number + 1)), user(words(2 * number + 2))]
            llm.chat([user(f"Give a title to {number}."), answer("?"), user("Now.")])
    asked = len(inner.summary_requests)
    assert 0 < asked <= 8
    assert FACTS in "\n".join(texts(inner.requests[-2]))
    assert texts(inner.requests[-2])[0] == "Today's context is 17."


def test_another_process_goes_on_with_the_summaries() -> None:
    from tokenwise_core.memory.sessions import MemorySessions

    store = MemorySessions()
    history = [user(words(0))]
    inner = Talker()
    llm = TokenwiseLLM(inner, memory=core_memory(sessions=store))
    for number in range(18):
        llm.chat(history)
        history += [answer(words(2 * number + 1)), user(words(2 * number + 2))]
    assert llm.memory is not None
    assert llm.memory._workers.rest(5)
    other = Talker()
    again = TokenwiseLLM(other, memory=core_memory(sessions=store))
    again.chat(history)
    assert FACTS in "\n".join(texts(other.requests[0]))
    assert len(store.sessions()) == 1


async def test_an_answer_that_calls_tools_or_says_nothing_is_no_summary() -> None:
    for facts in (call("x"), "", ConnectionError("429")):
        inner = Talker(facts=facts)
        llm = TokenwiseLLM(inner, memory=core_memory(max_tokens=None, rates=Rates(output=1.0)))
        await conversation(_chat, llm, 40)
        assert inner.summary_requests
        assert not after_summary(inner.requests)


async def test_where_an_answers_form_is_prescribed_a_summary_is_asked_by_itself() -> None:
    inner = Talker()
    llm = TokenwiseLLM(inner, memory=core_memory())
    history = [user(words(0))]
    for number in range(18):
        llm.chat(history, response_format={"type": "json_object"})
        history += [answer(words(2 * number + 1)), user(words(2 * number + 2))]
    assert {len(messages) for messages in inner.summary_requests} == {1}
    assert not [params for messages, params in inner.calls if len(messages) == 1 and params.get("response_format")][1:]


@pytest.mark.parametrize(
    ("summaries", "params", "asked"),
    [
        ("background", {}, "own"),
        ("inline", {}, "other"),
        ("background", {"response_format": {"type": "json_object"}}, "other"),
        ("background", {"tools": [{"type": "function"}], "tool_choice": "required"}, "other"),
    ],
)
def test_a_summary_that_is_asked_by_itself_is_weighed_at_the_full_price(
    monkeypatch: pytest.MonkeyPatch, summaries: When, params: dict[str, Any], asked: str
) -> None:
    memory, requests = Memory(summaries=summaries), []
    prepare = memory.prepare

    def noted(conversation: Conversation, view: View, request: Request, **given: Any) -> Prepared:
        requests.append(request.summariser)
        return prepare(conversation, view, request, **given)

    monkeypatch.setattr(memory, "prepare", noted)
    TokenwiseLLM(Talker(), memory=memory).chat([user("a"), answer("b"), user("c")], **params)
    assert requests == [asked]


def test_a_tools_result_is_swapped_in_a_copy_that_keeps_what_else_it_holds() -> None:
    image = ImageBlock(url="https://nobody.example/x.png")
    whole = ChatMessage(
        role="tool", blocks=[TextBlock(text="long"), image, TextBlock(text="er")],
        additional_kwargs={"tool_call_id": "1"},
    )  # fmt: skip
    before = deepcopy(whole)
    short = swapped(whole, "short")
    assert short.content == "short"
    assert short.blocks[1] == image
    assert short.additional_kwargs == {"tool_call_id": "1"}
    assert whole == before


async def test_long_results_are_shortened_before_they_are_first_sent_and_can_be_read_whole() -> None:
    done = iter(range(100))

    def say(*_: Any) -> Any:
        number = next(done)
        return call(f"c{number}") if number < 4 else "Done."

    def look(what: str) -> str:
        """Look."""
        return "\n".join(f"{what}: line {n} of a log that says nothing new" for n in range(400))

    inner, memory = Talker(say), core_memory(target_tokens=8_000, max_tokens=None, tool_results=ToolResults())
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(look)], llm=TokenwiseLLM(inner, memory=memory))
    keeper = summing()
    await agent.run("Look.", memory=keeper)
    sent = [message for message in inner.requests[-1] if message.role is MessageRole.TOOL]
    assert len(sent) == 4
    assert all(len(message.content or "") < len(look("c0")) / 2 for message in sent)
    assert called(inner.requests[-1]) == answered(inner.requests[-1])
    assert all(look(f"c{n}") in texts(keeper.get_all()) for n in range(4))


# Beside a memory ------------------------------------------------------------------------------------------------------


async def test_beside_a_summary_buffer_memory_each_does_its_own_part() -> None:
    looks = iter(range(10_000))
    steps = 6

    def say(*_: Any) -> Any:
        number = next(looks)
        return "It was found." if number % (steps + 1) == steps else call(f"c{number}")

    def look(what: str) -> str:
        """Look."""
        return f"{what} " + "and so on " * 60

    inner = Talker(say)
    llm = TokenwiseLLM(inner, memory=core_memory(target_tokens=400, max_tokens=1_200))
    memory = summing(llm, max_tokens=900)
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(look)], llm=llm, system_prompt="A clerk.")
    for number in range(12):
        await agent.run(words(number), memory=memory, max_iterations=100)
    assert len(answered(memory.get_all())) == 12 * steps
    for messages in inner.requests:
        assert called(messages) == answered(messages)
        assert tokens(memory, messages) <= 1_300
        asked = [message for message in messages if message.role is MessageRole.USER and type(message) is ChatMessage]
        assert asked[-1].content
        heads = [text for text in texts(messages) if text.startswith("[Summary")]
        assert len(set(heads)) == len(heads)
    assert not [text for messages in inner.summary_requests for text in texts(messages)[-1:] if "[Summary" in text]


def test_a_summary_of_a_memorys_own_is_left_as_it_is() -> None:
    inner = Talker()
    llm = TokenwiseLLM(inner, memory=core_memory(target_tokens=100, max_tokens=300))
    memory = summing(Talker())
    for number in range(18):
        memory.put(user(words(2 * number)))
        shown = memory.get()
        llm.chat(shown)
        assert texts(inner.requests[-1]) == texts(shown)
        memory.put(answer(words(2 * number + 1)))
        if any(isinstance(message, MemoryMessage) for message in shown):
            return
        inner.calls.clear()
        llm = TokenwiseLLM(inner, memory=core_memory(target_tokens=5_000, max_tokens=9_000))
    pytest.fail("no summary was shown")


# What stands on the wire, and what is booked --------------------------------------------------------------------------


class Wire:
    """OpenAI's end, which answers each request and refuses what it does not know."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        for message in body["messages"]:
            assert set(message) <= {"role", "content", "tool_calls", "tool_call_id"}
        text = FACTS if "List the facts" in str(body["messages"][-1]["content"]) else "Yes, that is so. " * 10
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": sum(len(str(m)) // 4 for m in body["messages"]), "completion_tokens": 40}
        usage["total_tokens"] = sum(usage.values())
        return httpx.Response(
            200,
            json={
                "id": f"chatcmpl-{len(self.bodies)}", "object": "chat.completion", "created": 1,
                "model": "gpt-4o-mini-2024-07-18", "usage": usage,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            },
        )  # fmt: skip


def test_with_openais_own_integration_nothing_of_ours_is_on_the_wire(tracker: TokenBreakdownHandler) -> None:
    wire = Wire()
    model = OpenAI("gpt-4o-mini", api_key="k", http_client=httpx.Client(transport=httpx.MockTransport(wire)))
    llm = TokenwiseLLM(model, memory=core_memory())
    history = [system("A clerk."), user(words(0))]
    for number in range(18):
        llm.chat(history)
        history += [answer(words(2 * number + 1)), user(words(2 * number + 2))]
    assert "tokenwise" not in json.dumps(wire.bodies)
    assert any(FACTS in str(message["content"]) for message in wire.bodies[-1]["messages"])
    mine = [event for event in tracker.events() if event.scope.agent == "tokenwise:summary"]
    assert mine
    bounded = [body for body in wire.bodies if "List the facts" in str(body["messages"][-1]["content"])]
    assert all(body["max_tokens"] for body in bounded)
    calls = [event for event in tracker.events() if event.scope.agent is None]
    assert calls[-1].breakdown.tokens["summary"] > 0
    booked = [saving for event in calls for saving in event.savings if saving.lever == "memory"]
    assert booked
    assert all(saving.saved.nano is not None for saving in booked)


def test_a_hit_of_the_cache_asks_no_memory_and_a_summary_asks_no_cache(cache: SemanticCache) -> None:
    inner, memory = Talker(), core_memory()
    llm = TokenwiseLLM(inner, cache=cache, memory=memory)
    history = [user(words(0)), answer("b"), user("c?")]
    llm.chat(history)
    llm.chat(history)
    assert len(inner.calls) == 1
    assert memory.stats().requests == 1


def test_copies_share_the_memory() -> None:
    memory = core_memory()
    llm = TokenwiseLLM(Talker(), memory=memory)
    assert deepcopy(llm).memory is memory
    assert llm.model_copy().memory is memory


async def test_the_event_loop_goes_on_while_a_summary_is_waited_for() -> None:
    inner = Talker(delay_s=0.05)
    llm = TokenwiseLLM(inner, memory=core_memory())
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.005)

    heart = asyncio.create_task(beat())
    await conversation(_achat, llm, 16)
    heart.cancel()
    assert inner.summary_requests
    assert beats > 20


# Known messages -------------------------------------------------------------------------------------------------------


def test_known_messages_are_projected_once_and_changed_ones_anew() -> None:
    seen = Seen()
    messages = [user("a"), answer("b"), user("c")]
    first = seen.views(messages)
    assert seen.views(list(messages)) is first
    assert seen.views([message.model_copy(deep=True) for message in messages]) is first
    messages[1].blocks[0].text = "changed"  # type: ignore[union-attr]
    second = seen.views([*messages, answer("d")])
    assert [view.text for view in second] == ["a", "changed", "c", "d"]
    assert second[0] is first[0]
    assert [view.text for view in seen.views(messages[:1])] == ["a"]
    assert not seen.views([])


def test_results_and_calls_that_change_are_seen() -> None:
    seen = Seen()
    assert seen.views([call("1"), result("1", "a")])[1].text == "a"
    assert seen.views([call("1"), result("1", "b")])[1].text == "b"
    assert seen.views([call("2"), result("2", "b")])[0].tool_calls[0].id == "2"


def test_only_a_memory_is_taken_for_one() -> None:
    assert isinstance(TokenwiseLLM(Talker(), memory=core_memory()).memory, Memory)
    assert TokenwiseLLM(Talker()).memory is None


async def test_a_long_history_that_comes_anew_is_read_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    views = Seen.views

    def noted(self: Seen, messages: Sequence[ChatMessage]) -> Any:
        threads.append(threading.current_thread().name)
        return views(self, messages)

    monkeypatch.setattr(Seen, "views", noted)
    llm = TokenwiseLLM(Talker(), memory=core_memory())
    history = [system("A clerk."), *(user(f"Fact {n}.") for n in range(40))]
    await llm.achat(history)
    assert threading.current_thread().name not in threads
    assert threads
    await llm.achat([*history, answer("Yes."), user("And now?")])
    assert threads[-1] == threading.current_thread().name  # a little needs no thread
