"""Points 2 to 5 of the accounting checklist: where usage stands, its details, calls that end badly, tools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ThinkingBlock, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms import MockLLM
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.tools import FunctionTool
from openai.types.chat import ChatCompletion

from tokenwise_core.usage.components import Component, CountSource
from tokenwise_core.usage.events import Status
from tokenwise_llamaindex import TokenBreakdownHandler

Make = Callable[..., Any]
ASK = [ChatMessage(role="user", content="How long does a refund of order A-17 take?")]

# 2: from raw, then additional_kwargs["usage"], then bare counts -------------------------------------------------------


class Usage(BaseModel):
    prompt_tokens: int = 100
    completion_tokens: int = 20
    total_tokens: int = 120


class Body(BaseModel):
    usage: Usage = Usage()


PLACES: dict[str, tuple[Any, dict[str, Any]]] = {
    "a dict": ({"usage": {"prompt_tokens": 100, "completion_tokens": 20}}, {}),
    "a model": (Body(), {}),
    "any object": (SimpleNamespace(usage=SimpleNamespace(prompt_tokens=100, completion_tokens=20)), {}),
    "the last event of a Responses stream": (
        SimpleNamespace(response=SimpleNamespace(usage={"input_tokens": 100, "output_tokens": 20})), {},
    ),
    "additional_kwargs['usage']": (None, {"usage": {"input_tokens": 100, "output_tokens": 20}}),
    "additional_kwargs['usage'] under a raw without": (
        {"id": "x", "usage": None}, {"usage": {"prompt_tokens": 100, "completion_tokens": 20}},
    ),
    "bare counts": (None, {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}),
    "Anthropic": ({"usage": {"input_tokens": 36, "cache_read_input_tokens": 64, "output_tokens": 20}}, {}),
    "Google": ({"usage_metadata": {"prompt_token_count": 100, "candidates_token_count": 20}}, {}),
    "Bedrock": ({"usage": {"inputTokens": 100, "outputTokens": 20}}, {}),
    "Ollama": ({"prompt_eval_count": 100, "eval_count": 20}, {}),
    "Cohere": ({"meta": {"billed_units": {"input_tokens": 100, "output_tokens": 20}}}, {}),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("streamed", [False, True])
def test_point_02_usage_is_found_where_integrations_put_it(
    place: str, streamed: bool, scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    raw, extra = PLACES[place]
    llm = scripted(raw=raw, extra=extra)
    assert list(llm.stream_chat(ASK)) if streamed else llm.chat(ASK)
    (event,) = tracker.events()
    assert (event.usage.input_tokens, event.usage.output_tokens) == (100, 20)
    assert event.breakdown.source is CountSource.REPORTED
    assert (event.breakdown.input_tokens, event.breakdown.output_tokens) == (100, 20)


@pytest.mark.parametrize("raw", [None, {}, "text", [], 3, SimpleNamespace(usage=None), {"usage": "?"}])
def test_point_02_an_answer_without_usage_is_counted_by_us_and_marked_so(
    raw: object, scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    scripted(raw=raw).chat(ASK) if not isinstance(raw, list) else scripted(raw=[raw, raw]).chat(ASK)
    (event,) = tracker.events()
    assert event.breakdown.source is not CountSource.REPORTED
    assert event.breakdown.input_tokens > 5
    assert event.breakdown["response"] > 5


def test_point_02_usage_that_a_stream_spreads_over_its_events_is_put_together(
    scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    began = {"type": "message_start", "message": {"usage": {"input_tokens": 36, "cache_read_input_tokens": 64}}}
    ended = {"type": "message_delta", "usage": {"output_tokens": 20}}
    list(scripted(raw=[began, ended]).stream_chat(ASK))
    (event,) = tracker.events()
    assert (event.usage.input_tokens, event.usage.cache_read, event.usage.output_tokens) == (100, 64, 20)


def test_point_02_a_completion_reports_usage_too(
    scripted: Make, usage: dict[str, Any], tracker: TokenBreakdownHandler
) -> None:
    scripted(raw={"usage": usage}).complete("How long does a refund take?")
    assert tracker.events()[0].usage.input_tokens == 100


# 3: details -----------------------------------------------------------------------------------------------------------


def test_point_03_cached_and_reasoning_tokens_are_kept(
    scripted: Make, usage: dict[str, Any], tracker: TokenBreakdownHandler
) -> None:
    scripted(raw={"usage": usage}).chat(ASK)
    (event,) = tracker.events()
    assert (event.usage.cache_read, event.usage.input_uncached) == (64, 36)
    assert (event.usage.reasoning, event.usage.output_text) == (8, 12)
    assert event.breakdown.cached_tokens == 64
    assert event.breakdown["reasoning"] == 8


def test_point_03_cache_writes_of_both_lives_are_kept(scripted: Make, tracker: TokenBreakdownHandler) -> None:
    lives = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 30}
    usage = {"input_tokens": 5, "output_tokens": 2, "cache_creation_input_tokens": 40, "cache_creation": lives}
    scripted(raw={"usage": usage}).chat(ASK)
    (event,) = tracker.events()
    assert (event.usage.cache_write_5m, event.usage.cache_write_1h) == (10, 30)


def test_point_03_names_and_finish_reason_come_from_the_raw_answer(
    scripted: Make, usage: dict[str, Any], tracker: TokenBreakdownHandler
) -> None:
    message = {"role": "assistant", "content": "Five days."}
    raw = ChatCompletion.model_validate({
        "id": "chatcmpl-7", "object": "chat.completion", "created": 0, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": "length", "message": message}], "usage": usage,
    })  # fmt: skip
    scripted(raw=raw).chat(ASK)
    (event,) = tracker.events()
    assert event.request_model == "gpt-4o-mini"
    assert event.response_model == "gpt-4o-mini-2024-07-18"
    assert event.finish_reason == "length"
    assert event.cost is not None


def test_point_03_thinking_is_reasoning_where_nothing_is_reported(tracker: TokenBreakdownHandler) -> None:
    thought = ThinkingBlock(content="The handbook says that it is five working days, so I say that.")
    said = ChatMessage(role="assistant", blocks=[thought, *ChatMessage(content="Five days.").blocks])
    MockFunctionCallingLLM(response_generator=lambda messages, **kwargs: said).chat(ASK)
    (event,) = tracker.events()
    assert event.breakdown["reasoning"] > event.breakdown["response"] > 0


# 4: calls that end badly ----------------------------------------------------------------------------------------------


def test_point_04_a_refused_call_is_an_error_that_costs_nothing(scripted: Make, tracker: TokenBreakdownHandler) -> None:
    with pytest.raises(ConnectionError):
        scripted(error=ConnectionError()).chat(ASK)
    (event,) = tracker.events()
    assert (event.status, event.error_type) == (Status.ERROR, "ConnectionError")
    assert event.breakdown.total_tokens == 0


async def test_point_04_an_awaited_call_that_is_refused_is_an_error(
    scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    with pytest.raises(TimeoutError):
        await scripted(error=TimeoutError()).achat(ASK)
    assert [(event.status, event.error_type) for event in tracker.events()] == [(Status.ERROR, "TimeoutError")]


def test_point_04_a_refused_call_inside_others_is_one_error(tracker: TokenBreakdownHandler) -> None:
    class Refusing(MockLLM):
        def complete(self, *args: Any, **kwargs: Any) -> Any:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        asyncio.run(Refusing().achat(ASK))
    assert [event.status for event in tracker.events()] == [Status.ERROR]


def test_point_04_a_stream_that_breaks_is_charged_for_what_it_said(
    scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    with pytest.raises(ConnectionError):
        list(scripted(error=ConnectionError(), error_after=4).stream_chat(ASK))
    (event,) = tracker.events()
    assert (event.status, event.error_type) == (Status.ERROR, "ConnectionError")
    assert 0 < event.breakdown["response"] <= 6
    assert event.breakdown.input_tokens > 0


@pytest.mark.parametrize("models", ["scripted", "nested"])
def test_point_04_a_stream_that_is_given_up_is_charged_from_its_last_chunk(
    models: str, scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    llm = scripted() if models == "scripted" else MockLLM(max_tokens=20)
    stream = llm.stream_chat(ASK)
    for _ in range(4):
        next(stream)
    stream.close()
    (event,) = tracker.events()
    assert (event.status, event.streamed) == (Status.ABORTED, True)
    assert 0 < event.breakdown["response"] <= 6
    assert event.breakdown.source is CountSource.ESTIMATED


async def test_point_04_an_async_stream_that_is_given_up_is_charged_from_its_last_chunk(
    scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    stream = await scripted().astream_chat(ASK)
    await anext(stream)
    await stream.aclose()
    (event,) = tracker.events()
    assert event.status is Status.ABORTED
    assert event.breakdown["response"] > 0
    assert event.breakdown.source is CountSource.ESTIMATED


async def test_point_04_a_cancelled_call_is_aborted(tracker: TokenBreakdownHandler) -> None:
    class Slow(MockLLM):
        @llm_chat_callback()
        async def achat(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(30)

    task = asyncio.create_task(Slow().achat(ASK))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(event.status, event.error_type) for event in tracker.events()] == [(Status.ABORTED, "CancelledError")]


def test_point_04_usage_that_came_before_the_break_is_taken(
    scripted: Make, usage: dict[str, Any], tracker: TokenBreakdownHandler
) -> None:
    llm = scripted(
        raw=[{"usage": {"input_tokens": 77, "output_tokens": 1}}, {}], error=ConnectionError(), error_after=3
    )
    with pytest.raises(ConnectionError):
        list(llm.stream_chat(ASK))
    assert tracker.events()[0].usage.input_tokens == 77


# 5: tools -------------------------------------------------------------------------------------------------------------


def get_weather(city: str, days: int = 1) -> str:
    """Say what the weather is like in a city, for up to ten days."""
    return f"{city}: sunny for {days} days"


TOOL = FunctionTool.from_defaults(get_weather)
SPECIFICATIONS: dict[str, Any] = {
    "LlamaIndex": TOOL,
    "OpenAI": TOOL.metadata.to_openai_tool(),
    "Responses": {"type": "function", **TOOL.metadata.to_openai_tool()["function"]},
    "Anthropic": {
        "name": "get_weather", "description": TOOL.metadata.description,
        "input_schema": TOOL.metadata.get_parameters_dict(),
    },
}  # fmt: skip


@pytest.mark.parametrize("form", SPECIFICATIONS)
def test_point_05_tools_are_read_in_any_form_and_joined_to_the_answer(
    form: str, scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    scripted().chat(ASK, tools=[SPECIFICATIONS[form]])
    scripted().chat(ASK)
    with_tool, without = tracker.events()
    assert (with_tool.tools_offered, without.tools_offered) == (1, 0)
    assert with_tool.breakdown["tool_definitions"] > 30
    assert without.breakdown["tool_definitions"] == 0


def test_point_05_a_call_that_stands_twice_in_a_message_is_counted_once(
    scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    function = {"name": "get_weather", "arguments": '{"city":"Rome"}'}
    block = ToolCallBlock(tool_call_id="c1", tool_name="get_weather", tool_kwargs='{"city":"Rome"}')
    older = {"tool_calls": [{"id": "c1", "type": "function", "function": function}]}
    result = ChatMessage(role="tool", content="Rome: sunny", additional_kwargs={"tool_call_id": "c1"})
    for call in (
        ChatMessage(role="assistant", blocks=[block]),
        ChatMessage(role="assistant", additional_kwargs=older),
        ChatMessage(role="assistant", blocks=[block], additional_kwargs=older),
    ):
        scripted().chat([*ASK, call, result])
    first, second, third = (event.breakdown.tokens for event in tracker.events())
    assert first == second == third
    assert first[Component.AGENT_MESSAGES] > 3
    assert first[Component.TOOL_RESULTS] > 0


def test_point_05_a_response_format_is_the_output_schema(scripted: Make, tracker: TokenBreakdownHandler) -> None:
    schema = {"name": "usage", "strict": True, "schema": Usage.model_json_schema()}
    scripted().chat(ASK, response_format={"type": "json_schema", "json_schema": schema})
    scripted().chat(ASK, response_format=Usage)
    assert all(event.breakdown["output_schema"] > 10 for event in tracker.events())
