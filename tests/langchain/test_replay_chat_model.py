"""The replayed chat model: LangChain's face of a recording that judges the prompt it receives."""

from __future__ import annotations

import copy
import pickle
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool

from tokenwise_core.demo.workload import Evidence, RecordedCall, Turn
from tokenwise_core.messages import Answer, ToolCall
from tokenwise_core.testing import UNKNOWN, Replay, ReplayAnswer
from tokenwise_langchain import ReplayChatModel

PLAIN: dict[str, Any] = {"kind": "document", "wrong": "In a week.", "dont_know": "I don't know."}
ASKED = "When does the parcel for order 12 arrive?"
TURN = Turn(
    id="t1", user=ASKED, right="On Monday.", evidence=(Evidence(kind="tool", id="track", wordings=("Monday",)),),
    steps=((RecordedCall(name="track", arguments={"order": "12"}),),), **PLAIN,
)  # fmt: skip


@tool
def track(order: str) -> str:
    """Say when a parcel arrives."""
    return f"order {order} arrives on Monday"


def replaying(*turns: Turn, **kwargs: Any) -> ReplayChatModel:
    return ReplayChatModel(replay=Replay(turns or [TURN], tier="strong", **kwargs))


def merged(chunks: Any) -> AIMessageChunk:
    return sum(chunks[1:], start=chunks[0])  # type: ignore[no-any-return]


def test_a_recorded_call_is_made_and_its_result_gives_the_answer() -> None:
    model = replaying().bind_tools([track])
    called = model.invoke(ASKED)
    (call,) = called.tool_calls
    assert (call["name"], call["args"]) == ("track", {"order": "12"})
    told = ToolMessage(track.invoke(call["args"]), tool_call_id=call["id"])
    assert model.invoke([HumanMessage(ASKED), called, told]).content == "On Monday."


def test_without_the_tool_and_its_evidence_it_does_not_know() -> None:
    answer = replaying().invoke(ASKED)
    assert (answer.tool_calls, answer.content) == ([], "I don't know.")
    assert answer.response_metadata["replay"] == {
        "why": "evidence missing: says so", "turn": "t1", "missing": ["tool:track"],
    }  # fmt: skip


def test_what_was_never_recorded_is_said_to_be_unknown() -> None:
    assert replaying().invoke("Something else entirely?").content == UNKNOWN


@pytest.mark.parametrize("bound", [False, True])
def test_a_stream_adds_up_to_the_answer(bound: bool) -> None:
    model: Any = replaying().bind_tools([track]) if bound else replaying()
    answer, again = model.invoke(ASKED), merged(list(model.stream(ASKED)))
    assert (again.content, [c["args"] for c in again.tool_calls]) == (
        answer.content, [c["args"] for c in answer.tool_calls],
    )  # fmt: skip
    assert again.usage_metadata == answer.usage_metadata
    assert again.response_metadata["model_name"] == "replay-strong"


async def test_async_says_the_same() -> None:
    model = replaying()
    assert (await model.ainvoke(ASKED)).content == model.invoke(ASKED).content
    chunks = [chunk async for chunk in model.astream(ASKED)]
    assert merged(chunks).content == model.invoke(ASKED).content
    assert chunks[-1].chunk_position == "last"


def test_usage_may_be_left_out_of_streams() -> None:
    model = ReplayChatModel(replay=Replay([TURN], tier="strong"), stream_usage=False)
    assert merged(list(model.stream(ASKED))).usage_metadata is None
    assert model.invoke(ASKED).usage_metadata is not None


@pytest.mark.parametrize(
    ("provider_format", "name"), [("openai", "openai"), ("anthropic", "anthropic"), ("google", "google_genai")]
)
def test_usage_is_inclusive_whatever_the_providers_format(
    provider_format: Literal["openai", "anthropic", "google"], name: str
) -> None:
    model = replaying(provider_format=provider_format)
    messages = [SystemMessage("Be brief. " * 800), HumanMessage(ASKED)]
    first, second = (model.invoke(messages).usage_metadata for _ in range(2))
    assert first is not None
    assert second is not None
    assert first["input_tokens"] == second["input_tokens"] > 1600
    assert first["input_token_details"]["cache_read"] == 0 < second["input_token_details"]["cache_read"]
    assert first["output_token_details"]["reasoning"] < first["output_tokens"]
    assert model._get_ls_params()["ls_provider"] == name


def test_an_output_limit_is_kept() -> None:
    long = Turn(id="t2", user=ASKED, right="word " * 100, **PLAIN)
    model = ReplayChatModel(replay=Replay([long], tier="strong"), max_tokens=10)
    answer = model.invoke(ASKED)
    assert answer.response_metadata["finish_reason"] == "length"
    assert len(str(answer.content).split()) <= 10


def test_arguments_that_are_no_json_are_an_invalid_call(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = ToolCall(name="f", arguments='{"a": ', id="c")
    broken = ReplayAnswer(answer=Answer(tool_calls=(cut,)), usage={}, why="x")
    monkeypatch.setattr(Replay, "answer", lambda self, prompt: broken)
    answer = replaying().invoke(ASKED)
    assert answer.tool_calls == []
    assert answer.invalid_tool_calls[0]["args"] == '{"a": '


def test_a_copy_and_a_pickle_answer_alike() -> None:
    model = replaying()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.model_copy()):
        assert other.invoke(ASKED).content == model.invoke(ASKED).content


def test_the_bundled_workload_is_the_default() -> None:
    model = ReplayChatModel()
    assert model.model_name == "replay-strong"
    assert isinstance(model.invoke("hello there"), AIMessage)
