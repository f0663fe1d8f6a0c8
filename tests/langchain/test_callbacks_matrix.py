"""Exactly one event for each provider response: every nesting by every way to run it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManager, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBranch,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel

from tokenwise_core.demo.workload import RecordedCall, Turn
from tokenwise_core.testing import Replay
from tokenwise_core.usage.events import Status
from tokenwise_langchain import ReplayChatModel, TokenBreakdownHandler

QUESTION = "How long does a refund of order A-17 take?"
PLAIN = {"kind": "statement", "wrong": "No.", "dont_know": "I don't know."}
ASKS = ((RecordedCall(name="desk", arguments={"question": QUESTION}),),)


def replayed(**turn: Any) -> ReplayChatModel:
    return ReplayChatModel(
        replay=Replay([Turn(id="t", user=QUESTION, right="Five working days.", **PLAIN, **turn)], tier="strong")
    )


MODEL, CALLER = replayed(), replayed(steps=ASKS)


class Nesting(NamedTuple):
    """A runnable, the responses that one run of it takes, and those of them that fail."""

    make: Callable[[], Runnable[Any, Any]]
    responses: int = 1
    failed: int = 0
    input: Any = QUESTION


class Verdict(BaseModel):
    """An answer."""

    answer: str


class Pages(BaseRetriever):
    """Asks the model to word the query, then returns a page."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        MODEL.invoke(query, config={"callbacks": run_manager.get_child()})
        return [Document("Refunds take five working days.")]


class Wrapper(BaseChatModel):
    """A chat model around another one, as routers and caches are built."""

    @property
    def _llm_type(self) -> str:
        return "wrapper"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        child = CallbackManager(
            handlers=run_manager.handlers, inheritable_handlers=run_manager.handlers, parent_run_id=run_manager.run_id
        )
        return ChatResult(generations=[ChatGeneration(message=MODEL.invoke(messages, config={"callbacks": child}))])


def refuse(_: Any) -> Any:
    raise ConnectionError


class Refusing(ReplayChatModel):
    """A provider that cannot be reached."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError

    def _astream(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError


class Flaky(ReplayChatModel):
    """Fails at every first try."""

    tries: int = 0

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        self.tries += 1
        if self.tries % 2:
            raise ConnectionError
        return super()._generate(*args, **kwargs)


@tool
def desk(question: str) -> str:
    """Ask the desk, which asks the model."""
    return str(MODEL.invoke(question).content)


def prompt() -> Runnable[Any, Any]:
    return ChatPromptTemplate.from_messages([("system", "You are a desk."), ("human", "{question}")])


def graph(node: Callable[..., Any], **extra: Callable[..., Any]) -> Runnable[Any, Any]:
    builder = StateGraph(MessagesState)
    names = ["first", *extra]
    for name, function in zip(names, [node, *extra.values()], strict=True):
        builder.add_node(name, function)
    builder.add_edge(START, "first")
    for left, right in pairwise(names):
        builder.add_edge(left, right)
    builder.add_edge(names[-1], END)
    return builder.compile()


def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [MODEL.invoke(state["messages"])]}


def ask_again(state: MessagesState) -> dict[str, Any]:
    return {"messages": [MODEL.invoke([HumanMessage(QUESTION)])]}


SPOKEN = {"messages": [HumanMessage(QUESTION)]}
NESTINGS = {
    "model": Nesting(lambda: MODEL),
    "prompt | model | parser": Nesting(lambda: prompt() | MODEL | StrOutputParser(), input={"question": QUESTION}),
    "bound tools": Nesting(lambda: MODEL.bind_tools([desk])),
    "structured by tool": Nesting(lambda: MODEL.with_structured_output(Verdict)),
    "structured by format, raw": Nesting(
        lambda: MODEL.with_structured_output(Verdict, method="json_schema", include_raw=True)
    ),
    "lambda": Nesting(lambda: RunnableLambda(MODEL.invoke)),
    "lambda of a chain": Nesting(lambda: RunnableLambda(lambda q: MODEL | StrOutputParser())),
    "parallel": Nesting(lambda: RunnableParallel(a=MODEL, b=MODEL, c=prompt() | MODEL), responses=3),
    "sequence of two": Nesting(lambda: MODEL | StrOutputParser() | MODEL, responses=2),
    "branch": Nesting(lambda: RunnableBranch((lambda q: len(q) > 3, MODEL), refuse)),
    "map over a list": Nesting(lambda: RunnableLambda(lambda q: [q, q]) | MODEL.map(), responses=2),
    "fallback": Nesting(lambda: Refusing(replay=MODEL.replay).with_fallbacks([MODEL]), responses=2, failed=1),
    "fallback inside a chain": Nesting(
        lambda: RunnableLambda(str) | Refusing(replay=MODEL.replay).with_fallbacks([MODEL]), responses=2, failed=1
    ),
    "configurable": Nesting(
        lambda: MODEL.configurable_fields(max_tokens=ConfigurableField(id="max_tokens")).with_config(
            configurable={"max_tokens": 50}
        )
    ),
    "retriever that asks": Nesting(
        lambda: {"context": Pages(), "question": RunnablePassthrough()} | prompt() | MODEL, responses=2
    ),
    "model around a model": Nesting(Wrapper),
    "graph": Nesting(lambda: graph(answer), input=SPOKEN),
    "graph of two nodes": Nesting(lambda: graph(answer, second=ask_again), responses=2, input=SPOKEN),
    "graph in a graph": Nesting(lambda: graph(graph(answer)), input=SPOKEN),
    "agent whose tool asks": Nesting(lambda: create_agent(CALLER, [desk]), responses=3, input=SPOKEN),
    "agent with an answer format": Nesting(lambda: create_agent(MODEL, [], response_format=Verdict), input=SPOKEN),
}


def _invoke(runnable: Runnable[Any, Any], given: Any, config: Any) -> int:
    runnable.invoke(given, config=config)
    return 1


def _stream(runnable: Runnable[Any, Any], given: Any, config: Any) -> int:
    assert list(runnable.stream(given, config=config))
    return 1


def _batch(runnable: Runnable[Any, Any], given: Any, config: Any) -> int:
    runnable.batch([given] * 2, config=config)
    return 2


def _thread(runnable: Runnable[Any, Any], given: Any, config: Any) -> int:
    thread = threading.Thread(target=runnable.invoke, args=(given,), kwargs={"config": config})
    thread.start()
    thread.join()
    return 1


async def _ainvoke(runnable: Runnable[Any, Any], given: Any, config: Any) -> int:
    await runnable.ainvoke(given, config=config)
    return 1


async def _astream(runnable: Runnable[Any, Any], given: Any, config: Any) -> int:
    assert [piece async for piece in runnable.astream(given, config=config)]
    return 1


async def _events(runnable: Runnable[Any, Any], given: Any, config: Any) -> int:
    assert [event async for event in runnable.astream_events(given, config=config, version="v2")]
    return 1


async def _gather(runnable: Runnable[Any, Any], given: Any, config: Any) -> int:
    await asyncio.gather(*(runnable.ainvoke(given, config=config) for _ in range(2)))
    return 2


WAYS: list[Callable[..., int] | Callable[..., Awaitable[int]]] = [
    _invoke, _ainvoke, _stream, _astream, _batch, _thread, _events, _gather,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
@pytest.mark.parametrize("nesting", NESTINGS.values(), ids=list(NESTINGS))
async def test_there_is_exactly_one_event_for_each_response(
    nesting: Nesting, way: Callable[..., Any], handler: TokenBreakdownHandler
) -> None:
    runs = way(nesting.make(), nesting.input, {"callbacks": [handler]})
    runs = await runs if asyncio.iscoroutine(runs) else runs
    events = handler.events()
    assert len({event.id for event in events}) == len(events) == nesting.responses * runs
    assert sum(event.status is not Status.OK for event in events) == nesting.failed * runs
    assert all(event.breakdown.input_tokens == event.usage.input_tokens for event in events)
    assert handler.meter.open_runs() == ()
    assert not handler.meter.traces._runs


def test_two_lists_of_messages_are_two_responses(handler: TokenBreakdownHandler) -> None:
    MODEL.generate([[HumanMessage(QUESTION)], [HumanMessage("Another question?")]], callbacks=[handler])
    first, second = handler.events()
    assert first.breakdown.input_tokens > second.breakdown.input_tokens


def test_a_retried_call_is_an_error_and_an_answer(handler: TokenBreakdownHandler) -> None:
    flaky = Flaky(replay=MODEL.replay).with_retry(stop_after_attempt=2, wait_exponential_jitter=False)
    flaky.invoke(QUESTION, config={"callbacks": [handler]})
    assert [event.status for event in handler.events()] == [Status.ERROR, Status.OK]


@pytest.mark.filterwarnings("ignore:.*is in beta")
async def test_a_stream_of_events_is_one_response_with_a_first_token(handler: TokenBreakdownHandler) -> None:
    stream = MODEL.stream_events(QUESTION, config={"callbacks": [handler]}, version="v3")
    assert list(stream)
    stream = await MODEL.astream_events(QUESTION, config={"callbacks": [handler]}, version="v3")
    assert [event async for event in stream]
    await handler.aflush()
    assert [event.streamed for event in handler.events()] == [True, True]
    assert all(event.ttft_ms is not None for event in handler.events())
    assert all(event.breakdown.output_tokens == event.usage.output_tokens for event in handler.events())


def test_several_choices_are_one_response(handler: TokenBreakdownHandler) -> None:
    class Choosing(ReplayChatModel):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            result = super()._generate(*args, **kwargs)
            return ChatResult(generations=[result.generations[0]] * 3)

    Choosing(replay=MODEL.replay).invoke(QUESTION, config={"callbacks": [handler]})
    (event,) = handler.events()
    assert event.breakdown.output_tokens == event.usage.output_tokens


def test_a_graph_streaming_messages_is_still_one_response(handler: TokenBreakdownHandler) -> None:
    pieces = list(graph(answer).stream(SPOKEN, config={"callbacks": [handler]}, stream_mode="messages"))
    assert len(pieces) > 3
    (event,) = handler.events()
    assert event.streamed
    assert isinstance(pieces[0][0], AIMessage)
