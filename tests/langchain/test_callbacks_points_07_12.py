"""Points 7 to 12 of the accounting checklist: reconciling, aborts, retrieved text, names, ambient use, no mutation."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, messages_to_dict
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.tools import create_retriever_tool, tool
from langchain_core.tracers.context import _configure_hooks
from langgraph.checkpoint.memory import InMemorySaver

from tokenwise_core import scope
from tokenwise_core.demo.workload import RecordedCall, Turn
from tokenwise_core.switch import disable, enable
from tokenwise_core.testing import Replay
from tokenwise_core.usage.components import Component, CountSource
from tokenwise_core.usage.events import Status
from tokenwise_langchain import ReplayChatModel, TokenBreakdownHandler, track_tokens

QUESTION = "How long does a refund of order A-17 take?"
PAGE = (
    "Refunds are paid out within five working days of the return's arrival at the warehouse in Utrecht. "
    "A refund to a gift card is immediate. Orders above 500 euros need a second signature, which adds two days."
)
Make = Callable[..., Any]


class Handbook(BaseRetriever):
    """Returns one page, whatever is asked."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(PAGE, id="refunds")]


# 7 --------------------------------------------------------------------------------------------------------------------


def test_point_07_the_parts_sum_to_what_the_provider_reported(
    says: Make, reply: Make, handler: TokenBreakdownHandler
) -> None:
    usage = {"input_tokens": 1234, "output_tokens": 77, "total_tokens": 1311}
    messages = [SystemMessage("You are a desk."), HumanMessage("hi"), AIMessage("hello"), HumanMessage("how are you?")]
    says(reply(usage=usage)).invoke(messages, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert (event.breakdown.input_tokens, event.breakdown.output_tokens) == (1234, 77)
    assert event.breakdown.source is CountSource.REPORTED
    assert event.breakdown.split is not CountSource.REPORTED
    assert event.estimate_before is not None
    assert event.scale == 1234 / event.estimate_before


def test_point_07_what_only_formatting_explains_is_shown_as_overhead(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    model.invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.breakdown[Component.OVERHEAD] > 0
    assert event.breakdown.input_tokens == event.usage.input_tokens


def test_point_07_a_stream_without_usage_is_counted_by_us_and_says_so(
    turns: list[Turn], handler: TokenBreakdownHandler
) -> None:
    silent = ReplayChatModel(replay=Replay(turns, tier="strong"), stream_usage=False)
    list(silent.stream(QUESTION, config={"callbacks": [handler]}))
    (event,) = handler.events()
    assert event.breakdown.source is not CountSource.REPORTED
    assert event.breakdown.input_tokens > 5
    assert event.breakdown.output_tokens > 5


# 8 --------------------------------------------------------------------------------------------------------------------


def test_point_08_a_stream_broken_off_is_counted_up_to_there(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    stream = model.stream(QUESTION, config={"callbacks": [handler]})
    said = "".join(str(next(stream).content) for _ in range(4))
    stream.close()
    (event,) = handler.events()
    assert event.status is Status.ABORTED
    assert 0 < event.breakdown[Component.RESPONSE] <= len(said)
    assert event.breakdown.input_tokens > 0
    assert event.breakdown.source is CountSource.ESTIMATED
    assert event.streamed
    assert event.ttft_ms is not None


async def test_point_08_a_cancelled_task_is_an_aborted_call(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    started = asyncio.Event()

    async def read() -> None:
        async for _ in model.astream(QUESTION, config={"callbacks": [handler]}):
            started.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(5):  # LangChain shields the hook in a task of its own
        await asyncio.sleep(0)
    assert [event.status for event in handler.events()] == [Status.ABORTED]


async def turns_of_the_loop() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


class Slow(GenericFakeChatModel):
    """Never comes to an answer."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(60)


@pytest.mark.parametrize("kind", ["chain", "branches", "agent", "tool"])
async def test_point_08_a_call_cancelled_in_a_chain_or_agent_is_aborted_and_its_input_counted(
    kind: str, handler: TokenBreakdownHandler
) -> None:
    @tool
    async def ask(question: str) -> str:
        """Ask the desk."""
        return str((await slow.ainvoke(question)).content)

    slow = Slow(messages=iter(()))
    messages = {"messages": [HumanMessage(QUESTION)]}
    runs: dict[str, tuple[Runnable[Any, Any], Any]] = {
        "chain": (RunnableLambda(lambda q: q) | slow, QUESTION),
        "branches": (RunnableParallel(one=slow, two=RunnableLambda(lambda q: q)), QUESTION),
        "agent": (create_agent(slow, tools=[]), messages),
        "tool": (RunnableLambda(lambda q: {"question": q}) | ask, QUESTION),
    }
    runnable, given = runs[kind]
    task = asyncio.create_task(runnable.ainvoke(given, config={"callbacks": [handler]}))
    await turns_of_the_loop()
    assert len(handler.meter.open_runs()) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (event,) = handler.events()
    assert (event.status, event.error_type) == (Status.ABORTED, "CancelledError")
    assert event.breakdown.input_tokens > 5
    assert event.breakdown.source is CountSource.ESTIMATED
    assert not handler.meter.open_runs()


class Stalling(GenericFakeChatModel):
    """Says a few words, and no more."""

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for word in ("A ", "refund ", "takes ", "five "):
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        await asyncio.sleep(60)


@pytest.mark.parametrize("kind", ["chain", "agent"])
@pytest.mark.parametrize("how", ["closed", "cancelled"])
async def test_point_08_a_stream_broken_off_in_a_chain_or_agent_keeps_what_had_arrived(
    how: str, kind: str, handler: TokenBreakdownHandler
) -> None:
    stalling = Stalling(messages=iter(()))
    config: RunnableConfig = {"callbacks": [handler]}
    if kind == "chain":
        stream = (RunnableLambda(lambda q: q) | stalling).astream(QUESTION, config=config)
    else:
        messages = {"messages": [HumanMessage(QUESTION)]}
        stream = create_agent(stalling, tools=[]).astream(messages, config=config, stream_mode="messages")
    for _ in range(4):
        await anext(stream)
    if how == "closed":
        await stream.aclose()
    else:
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await turns_of_the_loop()  # which closes the inner generators
    (event,) = handler.events()
    assert event.status is Status.ABORTED
    assert event.breakdown[Component.RESPONSE] >= 4


@pytest.mark.parametrize("kind", ["chain", "tool", "retriever"])
def test_point_08_a_run_that_failed_is_forgotten(kind: str, handler: TokenBreakdownHandler) -> None:
    class Missing(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
            raise ConnectionError

    @tool
    def broken(question: str) -> str:
        """Never work."""
        raise ConnectionError

    def fail(_: str) -> str:
        raise ConnectionError

    runs: dict[str, Runnable[Any, Any]] = {"chain": RunnableLambda(fail), "tool": broken, "retriever": Missing()}
    run = uuid4()
    with pytest.raises(ConnectionError):
        runs[kind].invoke(QUESTION, config={"callbacks": [handler], "run_id": run, "run_name": "failing"})
    assert handler.meter.traces.name(run) is None
    assert handler.errors == 0


async def test_point_08_a_call_beside_a_branch_that_failed_is_booked_with_its_own_answer(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    failed = asyncio.Event()

    async def fail(_: str) -> None:
        await turns_of_the_loop()
        failed.set()
        raise ValueError

    class Late(ReplayChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await failed.wait()
            await turns_of_the_loop()
            return self._generate(*args)

    branches = RunnableParallel(late=Late(replay=model.replay), fails=RunnableLambda(fail))
    with pytest.raises(ValueError):
        await branches.ainvoke(QUESTION, config={"callbacks": [handler]})
    assert handler.meter.open_runs()
    await turns_of_the_loop()
    await turns_of_the_loop()
    (event,) = handler.events()
    assert event.status is Status.OK
    assert event.breakdown.output_tokens > 5


def test_point_08_a_refused_call_costs_nothing(refusing: GenericFakeChatModel, handler: TokenBreakdownHandler) -> None:
    with pytest.raises(ConnectionError):
        refusing.invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert (event.status, event.error_type) == (Status.ERROR, "ConnectionError")
    assert event.breakdown.total_tokens == 0


def test_point_08_an_answer_that_could_not_be_parsed_was_still_paid_for(handler: TokenBreakdownHandler) -> None:
    class Response:
        """What the OpenAI client attaches to the error of a failed parse."""

        status_code, headers = 200, {}

        def json(self) -> dict[str, Any]:
            return {
                "id": "chatcmpl-1", "model": "gpt-4o-2024-08-06",
                "choices": [{"message": {"role": "assistant", "content": '{"answer": "fi'}, "finish_reason": "length"}],
                "usage": {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150},
            }  # fmt: skip

    class ParseFailed(ValueError):
        response = Response()

    class Failing(ReplayChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            raise ParseFailed

    with pytest.raises(ParseFailed):
        Failing(replay=Replay([], tier="strong")).invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert (event.status, event.response_model) == (Status.ERROR, "gpt-4o-2024-08-06")
    assert (event.breakdown.input_tokens, event.breakdown.output_tokens) == (120, 30)


# 9 --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["system", "human"])
def test_point_09_retrieved_text_is_found_where_a_chain_put_it(
    role: str, model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    template = [(role, "Answer from the handbook only.\n\n{passages}\n\nBe brief."), ("human", "{wish}")]
    pages = Handbook() | (lambda docs: "\n\n".join(d.page_content for d in docs))
    chain = {"passages": pages, "wish": RunnablePassthrough()} | ChatPromptTemplate.from_messages(template) | model
    chain.invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    counter = handler.meter._accountant.counter("gpt-4o-mini")
    assert abs(event.breakdown[Component.RETRIEVED_CONTEXT] - counter.text(PAGE)) <= 2


def test_point_09_retrieved_text_is_found_in_a_tools_result(handler: TokenBreakdownHandler) -> None:
    turn = Turn(
        id="t", user=QUESTION, kind="document", right="Five days.", wrong="No.", dont_know="?",
        steps=((RecordedCall(name="search", arguments={"query": "refund"}),),),
    )  # fmt: skip
    search = create_retriever_tool(Handbook(), "search", "Search the handbook.")
    agent = create_agent(ReplayChatModel(replay=Replay([turn], tier="strong")), [search])
    agent.invoke({"messages": [HumanMessage(QUESTION)]}, config={"callbacks": [handler]})
    first, second = handler.events()
    assert first.breakdown[Component.RETRIEVED_CONTEXT] == 0
    assert second.breakdown[Component.RETRIEVED_CONTEXT] > 30


def test_point_09_the_user_may_mark_what_no_retriever_returned(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    marked = HumanMessage(
        f"{PAGE}\n\n{QUESTION}",
        additional_kwargs={"tokenwise": {"component": "retrieved_context", "source": "notes", "end": len(PAGE)}},
    )
    model.invoke([marked], config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.breakdown[Component.RETRIEVED_CONTEXT] > 30
    assert 5 < event.breakdown[Component.USER_INPUT] < 20


# 10 -------------------------------------------------------------------------------------------------------------------


def test_point_10_a_graphs_names_are_picked_up(model: ReplayChatModel, handler: TokenBreakdownHandler) -> None:
    agent = create_agent(model, [], name="desk", checkpointer=InMemorySaver())
    config = {
        "callbacks": [handler], "configurable": {"thread_id": "th-9"}, "tags": ["nightly"],
        "metadata": {"user_id": "u-3"},
    }  # fmt: skip
    agent.invoke({"messages": [HumanMessage(QUESTION)]}, config=config)
    (event,) = handler.events()
    assert (event.scope.session, event.scope.agent, event.scope.user) == ("th-9", "desk", "u-3")
    assert event.node == "model"
    assert "nightly" in event.scope.labels
    assert not any(":" in label for label in event.scope.labels)


def test_point_10_our_own_scope_wins_and_reaches_other_threads(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    agent = create_agent(model, [], name="desk", checkpointer=InMemorySaver())
    config = {"callbacks": [handler], "configurable": {"thread_id": "th-9"}}
    with scope(session="mine", task="refunds"):
        agent.invoke({"messages": [HumanMessage(QUESTION)]}, config=config)
        model.batch([QUESTION] * 3, config={"callbacks": [handler]})
    assert {(e.scope.session, e.scope.task) for e in handler.events()} == {("mine", "refunds")}
    assert len(handler.events()) == 4


def test_point_10_run_name_and_trace_are_told(model: ReplayChatModel, handler: TokenBreakdownHandler) -> None:
    chain = RunnableLambda(lambda q: q) | model.with_config(run_name="answer")
    chain.invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.run_name == "answer"
    assert event.scope.trace == event.parent_id != event.id


@pytest.mark.parametrize("kind", ["chain", "agent", "tool"])
def test_point_10_a_call_without_a_name_has_that_of_the_outermost_run(
    kind: str, model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    @tool
    def ask(question: str) -> str:
        """Ask the desk."""
        return str(inner.invoke(question).content)

    inner = (RunnableLambda(lambda q: q) | model).with_config(run_name="inner")
    agent = create_agent(model, tools=[], name="desk")
    runs: dict[str, tuple[Runnable[Any, Any], Any]] = {
        "chain": (RunnableLambda(lambda q: q) | inner, QUESTION),
        "agent": (agent, {"messages": [HumanMessage(QUESTION)]}),
        "tool": (ask, {"question": QUESTION}),
    }
    runnable, given = runs[kind]
    runnable.invoke(given, config={"callbacks": [handler], "run_name": "refunds"})
    runnable.invoke(given, config={"callbacks": [handler]})
    named, unnamed = handler.events()
    assert named.run_name == "refunds"
    assert unnamed.run_name == {"chain": "RunnableSequence", "agent": "desk", "tool": "ask"}[kind]


def test_point_10_a_fallbacks_orphan_is_counted(
    refusing: GenericFakeChatModel, model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    chain = refusing.with_fallbacks([model])
    chain.invoke(QUESTION, config={"callbacks": [handler]})
    failed, answered = handler.events()
    assert (failed.status, answered.status) == (Status.ERROR, Status.OK)
    assert failed.breakdown.total_tokens == 0 < answered.breakdown.total_tokens


# 11 -------------------------------------------------------------------------------------------------------------------


def test_point_11_ambient_use_leaks_no_hooks(model: ReplayChatModel) -> None:
    before = len(_configure_hooks)
    for _ in range(1000):
        with track_tokens(log=False):
            pass
    assert len(_configure_hooks) == before
    with track_tokens() as tracker:
        model.invoke(QUESTION)
    model.invoke(QUESTION)
    assert len(tracker.events()) == 1


def test_point_11_trackers_nest(model: ReplayChatModel) -> None:
    with track_tokens() as outer:
        model.invoke(QUESTION)
        with track_tokens() as inner:
            model.invoke(QUESTION)
        model.invoke(QUESTION)
    assert len(inner.events()) == 1
    inner.flush()
    assert len(outer.events()) == 3
    assert outer.breakdown().calls == 3


async def test_point_11_trackers_of_concurrent_tasks_do_not_mix(model: ReplayChatModel) -> None:
    async def work(calls: int) -> int:
        with track_tokens() as tracker:
            for _ in range(calls):
                await model.ainvoke(QUESTION)
            await tracker.aflush()
            return len(tracker.events())

    assert await asyncio.gather(*(work(n) for n in (1, 2, 3))) == [1, 2, 3]


def test_point_11_a_handler_given_and_an_ambient_one_both_see_the_call(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    with track_tokens() as tracker:
        model.invoke(QUESTION, config={"callbacks": [handler, tracker]})
    assert len(tracker.events()) == len(handler.events()) == 1


# 12 -------------------------------------------------------------------------------------------------------------------


def test_point_12_messages_and_answers_are_left_as_they_are(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    image = {"image_url": {"url": "https://example.org/x.png"}, "type": "image_url"}
    blocks = [{"type": "text", "text": QUESTION}, image]
    messages = [SystemMessage("Be brief."), HumanMessage(blocks, additional_kwargs={"tokenwise": {"component": "x"}})]
    before = copy.deepcopy(messages_to_dict(messages))
    model.invoke(messages, config={"callbacks": [handler]})
    handler.flush()
    assert messages_to_dict(messages) == before


def test_point_12_what_the_application_changes_later_is_not_counted(
    says: Make, handler: TokenBreakdownHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[Callable[[], Any]] = []
    monkeypatch.setattr(handler.meter.recorder, "submit", work.append)
    blocks: list[Any] = ["Hello there."]
    message = HumanMessage(blocks)
    answer = says("Fine.").invoke([message], config={"callbacks": [handler]})
    blocks.append("word " * 1000)
    message.content, answer.content = "word " * 1000, "word " * 1000
    event = work[0]()
    assert event.breakdown.total_tokens < 30


def test_point_12_a_failure_of_ours_never_fails_the_call(
    model: ReplayChatModel,
    handler: TokenBreakdownHandler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(QUESTION)

    monkeypatch.setattr(handler.meter, "start", broken)
    with caplog.at_level(logging.DEBUG):
        for _ in range(10):
            assert model.invoke(QUESTION, config={"callbacks": [handler]}).content
    assert handler.errors == 10
    ours = [record for record in caplog.records if record.name.startswith("tokenwise")]
    assert 0 < len(ours) < 10
    assert not any("refund" in record.getMessage() for record in ours)


def test_point_12_the_kill_switch_leaves_the_application_alone(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    disable()
    try:
        model.invoke(QUESTION, config={"callbacks": [handler]})
    finally:
        enable()
    assert handler.events() == ()
    model.invoke(QUESTION, config={"callbacks": [handler]})
    assert len(handler.events()) == 1


def test_point_12_copies_are_the_handler_and_a_pickle_opens_its_store_again(
    model: ReplayChatModel, handler: TokenBreakdownHandler
) -> None:
    assert copy.copy(handler) is handler
    assert copy.deepcopy({"callbacks": [handler]})["callbacks"][0] is handler
    again = pickle.loads(pickle.dumps(TokenBreakdownHandler(store="memory://", log=False)))
    model.invoke(QUESTION, config={"callbacks": [again]})
    assert len(again.events()) == 1
