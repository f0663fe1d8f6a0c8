"""Both handlers against a real OpenAI-compatible server on loopback: usage reported or not, cached, aborted.

The server's model is far too small to judge what it says: nothing here looks at the text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from langchain_openai import ChatOpenAI
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike

from tests.model_server import running_server
from tokenwise_core.usage.components import CountSource
from tokenwise_core.usage.events import Status, UsageEvent
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore
from tokenwise_langchain import TokenBreakdownHandler as LangChainHandler
from tokenwise_llamaindex import TokenBreakdownHandler as LlamaIndexHandler

pytestmark = pytest.mark.server

SYSTEM = "You are the desk of a company that sells lamps. " * 20
QUESTION = "Which lamps are there?"

Ask = Callable[..., UsageEvent]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    try:
        with running_server() as url:
            yield url
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def through_langchain(url: str, *, stream: bool = False, report: bool = True, abort: bool = False) -> UsageEvent:
    handler = LangChainHandler(runtime=make_runtime(MemoryStore()))
    model = ChatOpenAI(model="smollm2", base_url=url, api_key="none", max_completion_tokens=24, stream_usage=report)
    messages = [("system", SYSTEM), ("user", QUESTION)]
    config = {"callbacks": [handler]}
    if not stream:
        model.invoke(messages, config=config)
    else:
        chunks = model.stream(messages, config=config)
        for number, _ in enumerate(chunks):
            if abort and number == 5:
                chunks.close()  # type: ignore[attr-defined]
                break
    [event] = handler.events()
    return event


def through_llamaindex(url: str, *, stream: bool = False, report: bool = True, abort: bool = False) -> UsageEvent:
    extra = {"stream_options": {"include_usage": True}} if report and stream else {}
    model = OpenAILike(
        model="smollm2", api_base=url, api_key="none", is_chat_model=True, max_tokens=24, additional_kwargs=extra
    )
    messages = [ChatMessage(role="system", content=SYSTEM), ChatMessage(role="user", content=QUESTION)]
    with LlamaIndexHandler(runtime=make_runtime(MemoryStore())) as handler:
        if not stream:
            model.chat(messages)
        else:
            chunks = model.stream_chat(messages)
            for number, _ in enumerate(chunks):
                if abort and number == 5:
                    chunks.close()  # type: ignore[attr-defined]
                    break
        [event] = handler.events()
    return event


@pytest.fixture(params=[through_langchain, through_llamaindex], ids=["langchain", "llamaindex"])
def ask(request: pytest.FixtureRequest, server: str) -> Ask:
    def asked(**how: bool) -> UsageEvent:
        return request.param(server, **how)

    return asked


def test_the_breakdown_sums_to_what_the_server_reported(ask: Ask) -> None:
    event = ask()
    assert event.usage.source is CountSource.REPORTED
    assert event.breakdown.input_tokens == event.usage.input_tokens
    assert event.breakdown.output_tokens == event.usage.output_tokens
    assert event.breakdown["system_prompt"] > event.breakdown["user_input"] > 0
    assert event.response_model == "smollm2"


def test_a_stream_that_reports_usage_is_booked_as_reported(ask: Ask) -> None:
    whole, streamed = ask(), ask(stream=True)
    assert streamed.streamed
    assert streamed.ttft_ms is not None
    assert streamed.usage.source is CountSource.REPORTED
    assert streamed.usage.input_tokens == whole.usage.input_tokens


def test_a_stream_that_reports_nothing_is_counted_by_us_and_marked(ask: Ask) -> None:
    event = ask(stream=True, report=False)
    assert event.status is Status.OK
    assert event.usage.source is CountSource.ESTIMATED
    assert event.breakdown.input_tokens > 0
    assert event.breakdown.output_tokens > 0


def test_what_the_server_read_from_its_cache_is_booked_as_cached(ask: Ask) -> None:
    ask()
    event = ask()
    assert (event.usage.cache_read or 0) > 100
    assert event.breakdown.cached_tokens == event.usage.cache_read
    assert event.breakdown.cached


def test_an_aborted_stream_is_charged_for_what_arrived(ask: Ask) -> None:
    event = ask(stream=True, report=False, abort=True)
    assert event.status is Status.ABORTED
    assert 0 < event.breakdown.output_tokens < 24
    assert event.usage.source is CountSource.ESTIMATED
