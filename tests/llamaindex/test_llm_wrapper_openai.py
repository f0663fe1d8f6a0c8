"""`TokenwiseLLM` around LlamaIndex's own `OpenAI`, whose HTTP is played: what really stands on the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI

from tokenwise_core.cache import SemanticCache
from tokenwise_core.usage.events import Status
from tokenwise_llamaindex import TokenBreakdownHandler, TokenwiseLLM

QUESTION = "How long does a refund take?"
USAGE = {"prompt_tokens": 30, "completion_tokens": 10, "total_tokens": 40}
CALL = {"id": "call_wire", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}


class Wire:
    """The provider's end: answers with text, or with a call where tools are offered and nothing came of one yet."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        called = body.get("tools") and body["messages"][-1]["role"] != "tool"
        text = '{"days": 5}' if "response_format" in body else "Five working days."
        if body.get("stream"):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=_events(text, called))
        message = {"role": "assistant", "content": None if called else text, "tool_calls": [CALL] if called else None}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if called else "stop"}
        return httpx.Response(200, json={**_frame("chat.completion"), "choices": [choice], "usage": USAGE})


def _frame(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "gpt-4o-mini-2024-07-18"}


def _events(text: str, called: bool) -> bytes:
    deltas = [{"tool_calls": [{"index": 0, **CALL}]}] if called else [{"content": f"{word} "} for word in text.split()]
    choices = [[{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}] for delta in deltas]
    choices += [[{"index": 0, "delta": {}, "finish_reason": "tool_calls" if called else "stop"}]]
    chunks = [{**_frame("chat.completion.chunk"), "choices": choice} for choice in choices]
    chunks += [{**_frame("chat.completion.chunk"), "choices": [], "usage": USAGE}]
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def openai(wire: Wire) -> OpenAI:
    transport = httpx.MockTransport(wire)
    return OpenAI(
        model="gpt-4o-mini",
        api_key="sk-very-secret",
        http_client=httpx.Client(transport=transport),
        async_http_client=httpx.AsyncClient(transport=transport),
        additional_kwargs={"stream_options": {"include_usage": True}},
        max_retries=0,
    )


def user(text: str = QUESTION) -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def test_plain_and_streamed_calls_are_served_from_one_request(
    openai: OpenAI, wire: Wire, cache: SemanticCache, tracker: TokenBreakdownHandler
) -> None:
    llm = TokenwiseLLM(openai, cache=cache)
    streamed = list(llm.stream_chat(user()))
    assert streamed[-1].message.content == "Five working days. "
    assert llm.chat(user()).message.content == "Five working days. "
    assert list(llm.stream_chat(user()))[-1].message.content == "Five working days. "
    assert len(wire.bodies) == 1
    (saving,) = tracker.events()[1].savings
    assert (saving.counterfactual.input_tokens, saving.counterfactual.output_tokens) == (30, 10)
    assert saving.counterfactual.nano > 0
    assert tracker.events()[1].response_model == "gpt-4o-mini-2024-07-18"


class Days(BaseModel):
    days: int


async def test_its_native_structured_output_is_used_and_served(
    openai: OpenAI, wire: Wire, cache: SemanticCache
) -> None:
    llm = TokenwiseLLM(openai, cache=cache)
    template = PromptTemplate("Question: {query_str}")
    assert llm.structured_predict(Days, template, query_str=QUESTION) == Days(days=5)
    assert await llm.astructured_predict(Days, template, query_str=QUESTION) == Days(days=5)
    assert list(llm.stream_structured_predict(Days, template, query_str=QUESTION))[-1].days == 5
    (body,) = wire.bodies
    assert body["response_format"]["json_schema"]["name"] == "Days"


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


@pytest.mark.parametrize("streaming", [False, True])
def test_a_served_tool_call_goes_back_to_the_provider_whole(
    streaming: bool, openai: OpenAI, wire: Wire, new_cache: Callable[..., SemanticCache]
) -> None:
    llm = TokenwiseLLM(openai, cache=new_cache(tool_calls=True))
    tools = [FunctionTool.from_defaults(get_weather)]
    for _ in range(2):
        if streaming:
            response = list(llm.stream_chat_with_tools(tools, user_msg="Rome?"))[-1]
        else:
            response = llm.chat_with_tools(tools, user_msg="Rome?")
    (selection,) = llm.get_tool_calls_from_response(response)
    assert selection.tool_kwargs == {"city": "Rome"}
    assert len(wire.bodies) == 1
    result = ChatMessage(role="tool", content="sunny", additional_kwargs={"tool_call_id": selection.tool_id})
    llm.chat_with_tools(tools, chat_history=[*user("Rome?"), response.message, result])
    sent = wire.bodies[-1]["messages"][1]
    assert [call["id"] for call in sent["tool_calls"]] == [selection.tool_id]
    assert selection.tool_id != "call_wire"
    assert json.loads(sent["tool_calls"][0]["function"]["arguments"]) == {"city": "Rome"}
    assert "tokenwise" not in json.dumps(wire.bodies)


def test_a_call_that_requires_a_tool_says_so_on_the_wire(openai: OpenAI, wire: Wire, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(openai, cache=cache)
    llm.chat_with_tools([FunctionTool.from_defaults(get_weather)], user_msg="Rome?", tool_required=True)
    assert wire.bodies[0]["tool_choice"] == "required"


def test_hits_are_marked_for_what_was_asked_of_openai(
    openai: OpenAI, cache: SemanticCache, tracker: TokenBreakdownHandler
) -> None:
    llm = TokenwiseLLM(openai, cache=cache)
    for _ in range(2):
        llm.complete(QUESTION)
    miss, hit = tracker.events()
    assert (miss.provider, hit.provider) == ("openai", "openai")
    assert hit.status is Status.CACHE_HIT
    assert hit.savings[0].counterfactual.nano == miss.cost.nano
