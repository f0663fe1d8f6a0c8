"""Whose calls a `with` block sees: those of its own context, and what began inside, to its end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import MockLLM
from llama_index_instrumentation import get_dispatcher

from tokenwise_core.usage.events import Status
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore
from tokenwise_core.usage.store.protocol import Query
from tokenwise_llamaindex import ReplayLLM, TokenBreakdownHandler, routing
from tokenwise_llamaindex.routing import router

Make = Callable[..., Any]
ASK = [ChatMessage(role="user", content="How long does a refund of order A-17 take?")]


def outputs(handler: TokenBreakdownHandler) -> list[str | None]:
    return [event.model for event in handler.events()]


def chats(handler: TokenBreakdownHandler) -> list[Any]:
    return [event for event in handler.events() if event.operation == "chat"]


def test_twenty_threads_with_a_handler_each_see_their_own_call(scripted: Make, new_handler: Make) -> None:
    meeting = threading.Barrier(20, timeout=30)

    def request(number: int) -> TokenBreakdownHandler:
        with new_handler() as handler:
            meeting.wait()  # all blocks are open now
            scripted(name=f"model-{number}").chat(ASK)
            meeting.wait()
        return handler

    with ThreadPoolExecutor(20) as pool:
        handlers = list(pool.map(request, range(20)))
    assert [outputs(handler) for handler in handlers] == [[f"model-{number}"] for number in range(20)]


async def test_twenty_tasks_with_a_handler_each_see_their_own_call(scripted: Make, new_handler: Make) -> None:
    meeting = asyncio.Barrier(20)

    async def request(number: int) -> TokenBreakdownHandler:
        with new_handler() as handler:
            await meeting.wait()
            await scripted(name=f"model-{number}").achat(ASK)
            await meeting.wait()
        return handler

    handlers = await asyncio.gather(*(request(number) for number in range(20)))
    assert [outputs(handler) for handler in handlers] == [[f"model-{number}"] for number in range(20)]


async def test_a_task_without_a_block_is_nobodys(scripted: Make, new_handler: Make) -> None:
    begun, over = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        await begun.wait()
        await scripted().achat(ASK)
        over.set()

    task = asyncio.create_task(other())
    with new_handler() as handler:
        begun.set()
        await over.wait()
    await task
    assert handler.events() == ()


def test_blocks_nest(scripted: Make, new_handler: Make) -> None:
    with new_handler() as outer:
        scripted(name="before").chat(ASK)
        with new_handler() as inner, inner:
            scripted(name="inside").chat(ASK)
        scripted(name="after").chat(ASK)
    scripted(name="outside").chat(ASK)
    assert outputs(outer) == ["before", "inside", "after"]
    assert outputs(inner) == ["inside"]


def test_blocks_may_end_in_another_order_than_they_began(scripted: Make, new_handler: Make) -> None:
    one, other = new_handler(), new_handler()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    scripted().chat(ASK)
    other.__exit__(None, None, None)
    scripted().chat(ASK)
    assert (len(one.events()), len(other.events())) == (0, 1)


def test_a_block_inside_an_installed_handler_counts_once_each_and_once_in_their_store(scripted: Make) -> None:
    store = MemoryStore()
    runtime = make_runtime(store)
    installed, inside = TokenBreakdownHandler(runtime=runtime).install(), TokenBreakdownHandler(runtime=runtime)
    try:
        with inside:
            scripted().chat(ASK)
            MockLLM(max_tokens=3).chat(ASK)  # which completes inside its chat
        scripted().chat(ASK)
        assert (len(installed.events()), len(inside.events())) == (3, 2)
        assert len(list(store.events(Query()))) == 3
    finally:
        installed.uninstall()
        runtime.recorder.close()


def test_a_block_of_an_installed_handler_counts_once_and_leaves_it_installed(scripted: Make, new_handler: Make) -> None:
    handler = new_handler().install()
    with handler:
        scripted().chat(ASK)
    scripted().chat(ASK)
    assert handler.installed
    assert len(handler.events()) == 2


def test_uninstalling_inside_a_block_ends_it_too(scripted: Make, new_handler: Make) -> None:
    with new_handler() as handler:
        handler.uninstall()
        scripted().chat(ASK)
        assert not handler.installed
    assert handler.events() == ()


# Threads --------------------------------------------------------------------------------------------------------------


def test_the_pool_of_a_script_belongs_to_the_block_around_it(scripted: Make, new_handler: Make) -> None:
    def request(number: int) -> int:
        with new_handler() as handler:
            scripted().chat(ASK)
        return len(handler.events())

    with new_handler() as around, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: scripted().chat(ASK), range(8)))
        assert list(pool.map(request, range(8))) == [1] * 8
    assert len(around.events()) == 16


def test_a_bare_thread_of_a_request_is_nobodys_and_one_with_its_context_is_the_requests(
    scripted: Make, new_handler: Make
) -> None:
    def run(target: Callable[..., Any], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments)
        thread.start()
        thread.join()

    seen: list[list[str | None]] = []

    def request() -> None:
        with new_handler() as handler:
            run(scripted(name="bare").chat, ASK)
            run(contextvars.copy_context().run, scripted(name="bound").chat, ASK)
        seen.append(outputs(handler))

    run(request)
    assert seen == [["bound"]]


def test_a_block_that_ends_in_another_context_is_told_of_once(
    new_handler: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router, "_warned", False)
    with caplog.at_level(logging.WARNING, "tokenwise.llamaindex"):
        for _ in range(2):
            handler = new_handler()
            contextvars.copy_context().run(handler.__enter__)
            handler.__exit__(None, None, None)
            assert not handler.installed
    assert len(caplog.records) == 1


# What goes on after the block -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize"])
def test_a_query_engines_stream_that_is_read_after_the_block_is_booked(
    mode: str, index: VectorStoreIndex, scripted: Make, new_handler: Make
) -> None:
    engine = index.as_query_engine(llm=scripted(), streaming=True, response_mode=mode)
    with new_handler() as handler:
        answer = engine.query("How long does a refund take?")
    read = "".join(answer.response_gen)
    event = chats(handler)[-1]
    assert read.strip()
    assert (event.status, event.streamed) == (Status.OK, True)
    assert event.breakdown["response"] > 5
    assert not router.streams
    del answer
    assert not router.generators.by_frame
    scripted().chat(ASK)
    assert chats(handler)[-1] is event


@pytest.mark.parametrize("mode", ["compact", "tree_summarize"])
async def test_an_awaited_query_engines_stream_that_is_read_after_the_block_is_booked(
    mode: str, index: VectorStoreIndex, scripted: Make, new_handler: Make
) -> None:
    engine = index.as_query_engine(llm=scripted(), streaming=True, response_mode=mode)
    with new_handler() as one:
        first = await engine.aquery("How long does a refund take?")
    with new_handler() as other:
        second = await engine.aquery("How long does a refund take?")
    for answer in (second, first):
        assert [token async for token in answer.async_response_gen()]
    assert (len(chats(one)), len(chats(other))) == (1, 1)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("mode", ["context", "condense_plus_context", "condense_question"])
def test_a_chat_engines_stream_in_its_thread_is_its_blocks(
    mode: Any, after: bool, index: VectorStoreIndex, new_handler: Make
) -> None:
    seen: list[int] = []

    def request() -> None:
        engine = index.as_chat_engine(mode, llm=ReplayLLM())
        engine.chat("How long does a refund take?")
        with new_handler() as handler:
            answer = engine.stream_chat("And for a kettle?")
            read = "" if after else "".join(answer.response_gen)
        read = read or "".join(answer.response_gen)
        assert read
        calls = chats(handler)
        assert calls[-1].streamed
        seen.append(len(calls))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: request(), range(4)))
    assert seen == [1 + mode.startswith("condense")] * 4


@pytest.mark.parametrize("kind", ["MockLLM", "ReplayLLM"])
async def test_an_awaited_stream_that_is_read_after_the_block_is_one_event(kind: str, new_handler: Make) -> None:
    llm = ReplayLLM() if kind == "ReplayLLM" else MockLLM(max_tokens=4)
    with new_handler() as handler:
        chunks = await llm.astream_chat(ASK)
    assert [chunk async for chunk in chunks]
    assert [event.status for event in handler.events()] == [Status.OK]


def test_a_stream_given_up_after_the_block_is_booked_as_aborted(scripted: Make, new_handler: Make) -> None:
    with new_handler() as handler:
        chunks = scripted().stream_chat(ASK)
    next(chunks)
    chunks.close()
    assert [event.status for event in handler.events()] == [Status.ABORTED]
    assert not router.streams


def test_a_stream_of_before_the_block_is_not_its(scripted: Make, new_handler: Make) -> None:
    chunks = scripted().stream_chat(ASK)
    with new_handler() as handler:
        assert list(chunks)
    assert handler.events() == ()


def test_streams_that_nobody_reads_are_bounded_and_forgotten_with_their_handler(
    scripted: Make, new_handler: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "MAX_OPEN", 10)
    with new_handler() as handler:
        for _ in range(50):
            scripted().stream_chat(ASK)
    assert len(router.streams) == 10
    handler.uninstall()
    assert not router.streams


def test_the_dispatcher_is_left_once_the_last_stream_has_been_read(scripted: Make, new_handler: Make) -> None:
    gc.collect()  # contexts of other tests
    new_handler().uninstall()
    assert not router._busy()
    root = get_dispatcher()
    before = list(root.event_handlers)
    with new_handler():
        chunks = scripted().stream_chat(ASK)
    assert len(root.event_handlers) == len(before) + 1
    assert list(chunks)
    del chunks
    new_handler().uninstall()
    assert root.event_handlers == before


# Workflows ------------------------------------------------------------------------------------------------------------


def get_weather(city: str) -> str:
    """Say what the weather is like in a city today."""
    return f"{city}: sunny, 24 degrees"


@pytest.mark.parametrize("awaited_inside", [True, False])
async def test_agents_that_run_at_once_are_each_their_blocks(
    awaited_inside: bool, replayed: ReplayLLM, new_handler: Make
) -> None:
    async def request(number: int) -> tuple[int, set[str | None]]:
        agent = FunctionAgent(name=f"agent-{number}", tools=[get_weather], llm=replayed)
        with new_handler() as handler:
            run = agent.run("What is the weather in Rome today?")
            if awaited_inside:
                await run
        await run
        return len(handler.events()), {event.scope.agent for event in handler.events()}

    seen = await asyncio.gather(*(request(number) for number in range(5)))
    assert seen == [(2, {f"agent-{number}"}) for number in range(5)]


async def test_a_block_inside_a_tool_sees_the_tools_calls_only(
    replayed: ReplayLLM, scripted: Make, new_handler: Make
) -> None:
    seen: list[int] = []

    async def weather_now(city: str) -> str:
        """Say what the weather is like in a city today."""
        with new_handler() as inner:
            await scripted().achat(ASK)
        seen.append(len(inner.events()))
        return "sunny"

    weather_now.__name__ = "get_weather"
    with new_handler() as outer:
        await FunctionAgent(tools=[weather_now], llm=replayed).run("What is the weather in Rome today?")
    assert seen == [1]
    assert len(outer.events()) == 3
