"""Messages, tools, formats and answers as core's views; a snapshot in, nothing back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from pydantic import BaseModel

from tokenwise_core.messages import Message, ToolCall
from tokenwise_core.protocols import Embedder
from tokenwise_core.testing import HashEmbedder
from tokenwise_core.usage.parameters import read_output_schema
from tokenwise_langchain import CoreEmbeddings, LangChainEmbedder
from tokenwise_langchain.convert import (
    api_of,
    snapshot,
    to_answer,
    to_message,
    to_messages,
    to_prompt,
    to_tools,
)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def view(message: BaseMessage) -> Message:
    return to_message(snapshot(message))


@pytest.mark.parametrize(
    ("message", "role"),
    [
        (HumanMessage("x"), "user"), (AIMessage("x"), "assistant"), (AIMessageChunk("x"), "assistant"),
        (SystemMessage("x"), "system"), (ToolMessage("x", tool_call_id="c"), "tool"),
        (FunctionMessage("x", name="f"), "tool"), (ChatMessage("x", role="assistant"), "assistant"),
        (ChatMessage("x", role="critic"), "user"),
        (SystemMessage("x", additional_kwargs={"__openai_role__": "developer"}), "developer"),
    ],
)  # fmt: skip
def test_each_kind_of_message_has_its_role(message: BaseMessage, role: str) -> None:
    assert (view(message).role, view(message).text) == (role, "x")


def test_blocks_become_text_media_and_reasoning() -> None:
    message = HumanMessage(
        [
            "Look: ",
            {"type": "text", "text": "a cat"},
            {"type": "image_url", "image_url": {"url": "data:…", "detail": "low"}},
            {"type": "file", "mime_type": "audio/wav", "base64": "AAAA"},
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "tool_use", "name": "f", "input": {}},
            {"type": "non_standard", "value": {"type": "text", "text": "!"}},
            {"type": "redacted_thinking", "data": "AAAA" * 99},
        ]
    )
    seen = view(message)
    assert (seen.text, seen.reasoning) == ("Look: a cat!", "hm")
    assert [(medium.kind, medium.detail) for medium in seen.media] == [("image", "low"), ("audio", None)]


def test_reasoning_of_every_dialect_is_read() -> None:
    dialects: list[dict[str, Any]] = [
        {"content": [{"type": "reasoning", "reasoning": "hm"}]},
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}]},
        {"content": [{"type": "reasoning_content", "reasoning_content": {"text": "hm"}}]},
        {"content": "", "additional_kwargs": {"reasoning_content": "hm"}},
    ]
    assert [view(AIMessage(**fields)).reasoning for fields in dialects] == ["hm"] * 4


def test_tool_calls_stand_with_the_json_of_the_wire() -> None:
    message = AIMessage(
        "",
        tool_calls=[{"name": "get_weather", "args": {"city": "Zürich", "days": 2}, "id": "c1"}],
        invalid_tool_calls=[{"name": "get_weather", "args": '{"city": ', "id": "c2", "error": "cut"}],
    )
    assert view(message).tool_calls == (
        ToolCall(name="get_weather", arguments='{"city": "Zürich", "days": 2}', id="c1"),
        ToolCall(name="get_weather", arguments='{"city": ', id="c2"),
    )


def test_the_older_function_call_is_read() -> None:
    message = AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": '{"a": 1}'}})
    assert view(message).tool_calls == (ToolCall(name="f", arguments='{"a": 1}'),)


def test_a_result_is_tied_to_its_call_and_its_name_left_out() -> None:
    result = view(ToolMessage("sunny", tool_call_id="c1", name="get_weather"))
    assert (result.tool_call_id, result.name) == ("c1", None)


def test_tags_of_ours_and_of_the_framework_are_read_and_wrong_ones_left() -> None:
    marks = [{"component": "memory", "start": 2, "end": 9, "source": "recall"}, {"component": "gold"}, "junk"]
    ours = view(HumanMessage("x" * 20, additional_kwargs={"tokenwise": marks})).tags
    assert [(tag.component, tag.start, tag.end, tag.source) for tag in ours] == [("memory", 2, 9, "recall")]
    summary = view(HumanMessage("x", additional_kwargs={"lc_source": "summarization"})).tags
    assert [tag.component for tag in summary] == ["summary"]


def test_messages_keep_their_index_where_an_instruction_is_left_out() -> None:
    given = [HumanMessage("a"), RemoveMessage(id="1"), AIMessage("b")]
    assert [(m.text, m.index) for m in to_messages(map(snapshot, given))] == [("a", 0), ("b", 2)]


@tool
def get_weather(city: str) -> str:
    """Say what the weather is like."""
    return city


FUNCTION = {"name": "get_weather", "description": "Say what the weather is like.", "parameters": SCHEMA}


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "function", "function": FUNCTION},
        {"type": "function", **FUNCTION},
        {"name": "get_weather", "description": FUNCTION["description"], "input_schema": SCHEMA},
        {"toolSpec": {"name": "get_weather", "description": FUNCTION["description"], "inputSchema": {"json": SCHEMA}}},
        {"functionDeclarations": [FUNCTION]},
        get_weather,
    ],
    ids=["chat", "responses", "anthropic", "bedrock", "google", "object"],
)
def test_a_tool_is_read_in_every_providers_form(raw: Any) -> None:
    (found,) = to_tools({"tools": [raw]})
    assert (found.name, found.description, found.kind) == ("get_weather", FUNCTION["description"], "function")
    assert found.parameters["properties"]["city"]["type"] == "string"


def test_older_functions_and_built_in_tools_are_tools() -> None:
    found = to_tools({"functions": [FUNCTION], "tools": [{"type": "web_search_preview"}, object()]})
    assert [(t.name, t.kind) for t in found] == [
        ("web_search_preview", "web_search_preview"), ("object", "object"), ("get_weather", "function"),
    ]  # fmt: skip


class City(BaseModel):
    """A city."""

    city: str


@pytest.mark.parametrize(
    "params",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "City", "schema": SCHEMA}}},
        {"response_format": City},
        {"text": {"format": {"type": "json_schema", "name": "City", "schema": SCHEMA}}},
        {"output_config": {"format": {"type": "json_schema", "name": "City", "schema": SCHEMA}}},
        {"response_schema": SCHEMA},
        {"format": SCHEMA},
    ],
    ids=["chat", "class", "responses", "anthropic", "google", "ollama"],
)
def test_an_answer_format_is_read_in_every_providers_parameter(params: dict[str, Any]) -> None:
    schema = read_output_schema(params)
    assert schema is not None
    assert "city" in schema.schema["properties"]


@pytest.mark.parametrize("params", [{}, {"response_format": {"type": "json_object"}}, {"format": "json"}])
def test_json_without_a_schema_is_no_output_schema(params: dict[str, Any]) -> None:
    assert read_output_schema(params) is None


@pytest.mark.parametrize(
    ("provider", "params", "api"),
    [
        ("openai", {}, "chat"), ("openai", {"use_responses_api": True}, "responses"),
        ("openai", {"reasoning": {"effort": "low"}}, "responses"), ("anthropic", {}, "anthropic"),
        ("google_genai", {}, "google"), ("amazon_bedrock", {}, "bedrock"), (None, {}, "chat"),
    ],
)  # fmt: skip
def test_the_api_is_that_of_the_integration(provider: str | None, params: dict[str, Any], api: str) -> None:
    assert api_of(provider, params) == api


def test_a_prompt_keeps_the_options_that_change_its_count_and_no_secret() -> None:
    prompt = to_prompt([snapshot(HumanMessage("hi"))], {"tool_choice": "any", "api_key": "sk-1", "max_tokens": 5})
    assert prompt.options == {"tool_choice": "any", "max_tokens": 5}


def test_an_answers_parts_and_the_reason_it_ended() -> None:
    message = AIMessage(
        [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Yes."}],
        response_metadata={"stop_reason": "end_turn"},
    )
    answer = to_answer(snapshot(message))
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Yes.", "hm", "end_turn")


def test_embeddings_of_the_framework_become_unit_vectors() -> None:
    embedder = LangChainEmbedder(DeterministicFakeEmbedding(size=8))
    vectors = embedder.embed(["a", "b"])
    assert isinstance(embedder, Embedder)
    assert vectors.shape == (2, 8)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert len(embedder.embed([])) == 0


def test_an_embedders_id_names_class_and_model() -> None:
    class Named(DeterministicFakeEmbedding):
        model: str = "small-1"

    assert LangChainEmbedder(Named(size=4)).id == "Named:small-1"


def test_a_core_embedder_serves_the_framework() -> None:
    embeddings = CoreEmbeddings(HashEmbedder(dimension=16))
    assert embeddings.embed_query("hello") == embeddings.embed_documents(["hello"])[0]
    assert len(embeddings.embed_query("hello")) == 16
