"""The replayed model as LlamaIndex sees it: chat, completion, streams, tools, schemas, usage on the raw answer."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms.function_calling import FunctionCallingLLM, _supports_tool_required
from llama_index.core.tools import FunctionTool

from tokenwise_core.demo.workload import Turn
from tokenwise_core.testing import Replay
from tokenwise_core.testing.replay import UNKNOWN
from tokenwise_core.usage.normalize import usage_from_response
from tokenwise_llamaindex import ReplayLLM

QUESTION = "How long does a refund of order A-17 take?"
ANSWER = "A refund of order A-17 takes five working days."
ASK = [ChatMessage(role="user", content=QUESTION)]
WEATHER = "What is the weather in Rome today?"


def get_weather(city: str) -> str:
    """Say what the weather is like in a city today."""
    return f"{city}: sunny, 24 degrees"


TOOL = FunctionTool.from_defaults(get_weather)


def test_it_is_a_function_calling_model_with_a_context_window(replayed: ReplayLLM) -> None:
    assert isinstance(replayed, FunctionCallingLLM)
    assert replayed.metadata.is_function_calling_model
    assert replayed.metadata.is_chat_model
    assert replayed.metadata.context_window == 128_000
    assert replayed.metadata.model_name == "replay-strong"
    assert _supports_tool_required(ReplayLLM, tool_required=True)


async def test_every_way_to_ask_gives_the_recorded_answer(replayed: ReplayLLM) -> None:
    assert replayed.chat(ASK).message.content == ANSWER
    assert (await replayed.achat(ASK)).message.content == ANSWER
    assert replayed.complete(QUESTION).text == ANSWER
    assert (await replayed.acomplete(QUESTION)).text == ANSWER
    assert "".join(chunk.delta or "" for chunk in replayed.stream_chat(ASK)) == ANSWER
    assert "".join([chunk.delta or "" async for chunk in await replayed.astream_chat(ASK)]) == ANSWER
    assert "".join(chunk.delta or "" for chunk in replayed.stream_complete(QUESTION)) == ANSWER
    assert "".join([chunk.delta or "" async for chunk in await replayed.astream_complete(QUESTION)]) == ANSWER


def test_the_default_knows_the_bundled_workload_and_nothing_else() -> None:
    assert ReplayLLM().complete("What was never asked?").text == UNKNOWN


def test_chunks_are_cumulative_and_only_the_last_reports_usage(replayed: ReplayLLM) -> None:
    chunks = list(replayed.stream_chat(ASK))
    texts = [chunk.message.content or "" for chunk in chunks]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert texts[-1] == ANSWER
    assert [bool(chunk.raw["usage"]) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({chunk.raw["id"] for chunk in chunks}) == 1


def test_usage_in_streams_can_be_left_out(turns: list[Turn]) -> None:
    llm = ReplayLLM(replay=Replay(turns, tier="strong"), stream_usage=False)
    assert not any(chunk.raw["usage"] for chunk in llm.stream_chat(ASK))
    assert llm.chat(ASK).raw["usage"]


@pytest.mark.parametrize("provider_format", ["openai", "anthropic", "google"])
def test_usage_is_in_the_providers_format(provider_format: Any, turns: list[Turn]) -> None:
    llm = ReplayLLM(replay=Replay(turns, tier="strong", provider_format=provider_format))
    usage = usage_from_response(llm.chat(ASK).raw, provider=provider_format)
    assert usage is not None
    assert usage.input_tokens is not None
    assert usage.input_tokens > 10
    assert usage.input_sum == usage.input_tokens


def test_a_recorded_tool_call_is_made_where_the_tool_is_offered(replayed: ReplayLLM) -> None:
    answer = replayed.chat_with_tools([TOOL], user_msg=WEATHER)
    (call,) = replayed.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs) == ("get_weather", {"city": "Rome"})
    without = replayed.chat([ChatMessage(content=WEATHER)])
    assert replayed.get_tool_calls_from_response(without, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="tool call"):
        replayed.get_tool_calls_from_response(without)


def test_a_streamed_tool_call_is_whole_at_the_end_and_readable_before(replayed: ReplayLLM) -> None:
    seen = [
        replayed.get_tool_calls_from_response(chunk, error_on_no_tool_call=False)
        for chunk in replayed.stream_chat_with_tools([TOOL], user_msg=WEATHER)
    ]
    assert seen[-1][0].tool_kwargs == {"city": "Rome"}
    assert all(call.tool_name == "get_weather" for calls in seen for call in calls)


def test_the_callers_history_is_not_touched(replayed: ReplayLLM) -> None:
    history = [ChatMessage(role="system", content="Be brief.")]
    replayed.chat_with_tools([TOOL], user_msg=WEATHER, chat_history=history)
    assert len(history) == 1


def test_parallel_calls_are_made_one_at_a_time_unless_allowed(turns: list[Turn]) -> None:
    from tokenwise_core.demo.workload import RecordedCall

    both = (
        RecordedCall(name="get_weather", arguments={"city": "Rome"}),
        RecordedCall(name="get_weather", arguments={"city": "Oslo"}),
    )
    turn = Turn(id="t3", user="Rome or Oslo?", kind="tool", right="Rome.", wrong="Oslo.", dont_know="?", steps=(both,))
    llm = ReplayLLM(replay=Replay([turn], tier="strong"))
    one = llm.chat_with_tools([TOOL], user_msg="Rome or Oslo?")
    two = llm.chat_with_tools([TOOL], user_msg="Rome or Oslo?", allow_parallel_tool_calls=True)
    counts = [sum(isinstance(block, ToolCallBlock) for block in answer.message.blocks) for answer in (one, two)]
    assert counts == [1, 2]


async def test_an_agent_calls_the_tool_and_answers(replayed: ReplayLLM) -> None:
    assert str(await FunctionAgent(tools=[TOOL], llm=replayed).run(WEATHER)) == "It is sunny in Rome."


class Reply(BaseModel):
    """What is to be said."""

    answer: str


def test_structured_prediction_fills_the_schema(replayed: ReplayLLM) -> None:
    assert replayed.structured_predict(Reply, PromptTemplate("{query_str}"), query_str=QUESTION).answer == ANSWER
    assert replayed.as_structured_llm(Reply).complete(QUESTION).raw.answer == ANSWER


def test_a_response_format_is_followed(replayed: ReplayLLM) -> None:
    assert Reply.model_validate_json(replayed.chat(ASK, response_format=Reply).message.content or "").answer == ANSWER


def test_an_output_limit_cuts_the_answer(turns: list[Turn]) -> None:
    llm = ReplayLLM(replay=Replay(turns, tier="strong"), max_tokens=4)
    answer = llm.chat(ASK)
    assert 0 < len(answer.message.content or "") < len(ANSWER)
    assert answer.raw["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda llm: pickle.loads(pickle.dumps(llm))])
def test_a_copy_answers_too(copied: Callable[[ReplayLLM], ReplayLLM], replayed: ReplayLLM) -> None:
    assert copied(replayed).chat(ASK).message.content == ANSWER
