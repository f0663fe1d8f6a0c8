"""Request bodies of every dialect, read into the same prompt; odd shapes never raise."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.messages import Prompt
from tokenwise_core.tokens import detect_api, read_request

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Weather in "}, {"type": "text", "text": "Paris?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ],
    "tools": [{"type": "function", "function": {"name": "weather", "description": "Ask.", "parameters": SCHEMA}}],
}
RESPONSES = {
    "model": "gpt-5",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city":"Paris"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ],
    "tools": [{"type": "function", "name": "weather", "description": "Ask.", "parameters": SCHEMA}],
}
ANTHROPIC = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "Weather in Paris?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Paris"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "sunny"}]},
    ],
    "tools": [{"name": "weather", "description": "Ask.", "input_schema": SCHEMA}],
}
GOOGLE = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Weather in Paris?"}]},
        {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "weather", "args": {"city": "Paris"}}}]},
        {
            "role": "user",
            "parts": [{"functionResponse": {"id": "c1", "name": "weather", "response": {"result": "sunny"}}}],
        },
    ],
    "tools": [{"functionDeclarations": [{"name": "weather", "description": "Ask.", "parameters": SCHEMA}]}],
}
BEDROCK = {
    "system": [{"text": "Be brief."}],
    "messages": [
        {"role": "user", "content": [{"text": "Weather in Paris?"}]},
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Paris"}}}],
        },
        {"role": "user", "content": [{"toolResult": {"toolUseId": "c1", "content": [{"text": "sunny"}]}}]},
    ],
    "toolConfig": {
        "tools": [{"toolSpec": {"name": "weather", "description": "Ask.", "inputSchema": {"json": SCHEMA}}}],
        "toolChoice": {"any": {}},
    },
}
DIALECTS = [
    ("chat", CHAT),
    ("responses", RESPONSES),
    ("anthropic", ANTHROPIC),
    ("google", GOOGLE),
    ("bedrock", BEDROCK),
]


@pytest.mark.parametrize(("api", "body"), DIALECTS)
def test_the_api_of_a_body_is_told_from_its_shape(api: str, body: dict[str, Any]) -> None:
    assert detect_api(body) == api
    assert read_request(body).api == api


@pytest.mark.parametrize(("api", "body"), DIALECTS)
def test_one_conversation_reads_alike_in_every_dialect(api: str, body: dict[str, Any]) -> None:
    prompt = read_request(body)
    assert [message.role for message in prompt.messages] == ["system", "user", "assistant", "tool"]
    assert [message.index for message in prompt.messages] == [0, 1, 2, 3]
    system, user, assistant, tool = prompt.messages
    assert (system.text, user.text) == ("Be brief.", "Weather in Paris?")
    assert assistant.tool_calls[0].name == "weather"
    assert "Paris" in assistant.tool_calls[0].arguments
    assert tool.tool_call_id == "c1"
    assert "sunny" in tool.text
    assert [(t.name, t.description, t.parameters) for t in prompt.tools] == [("weather", "Ask.", SCHEMA)]


def test_a_forced_call_is_seen_in_bedrocks_words() -> None:
    assert read_request(BEDROCK).options["tool_choice"] == {"any": {}}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [], "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
        {"input": "hi", "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}},
        {
            "messages": [],
            "max_tokens": 1,
            "system": "x",
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        },
        {"contents": [], "generationConfig": {"responseSchema": SCHEMA}},
    ],
)
def test_an_answer_schema_is_found_in_every_dialect(body: dict[str, Any]) -> None:
    found = read_request(body).output_schema
    assert found is not None
    assert found.schema == SCHEMA


def test_what_is_not_text_is_kept_as_media() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    google = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    chat = read_request({"messages": [{"role": "user", "content": [image, {"type": "text", "text": "what?"}]}]})
    spoken = read_request({"contents": [{"role": "user", "parts": [google]}]})
    assert [(medium.kind, medium.detail) for medium in chat.messages[0].media] == [("image", "low")]
    assert spoken.messages[0].media[0].kind == "audio"
    assert chat.messages[0].text == "what?"


def test_replayed_thinking_is_reasoning_and_not_text() -> None:
    body = {
        "max_tokens": 9,
        "messages": [
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hmm"}, {"type": "text", "text": "yes"}]}
        ],
    }
    message = read_request(body).messages[0]
    assert (message.reasoning, message.text) == ("hmm", "yes")


def test_tools_added_on_the_way_are_definitions_too() -> None:
    added = {"role": "developer", "type": "additional_tools", "tools": RESPONSES["tools"]}
    prompt = read_request({"input": [{"role": "user", "content": "hi"}, added]}, "responses")
    assert [tool.name for tool in prompt.tools] == ["weather"]
    assert prompt.options["tools_added"] == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "messages", "input", "contents", "tools", "system", "instructions", "functions", "toolConfig", "response_format",
    "text", "role", "content", "parts", "type", "generationConfig", "systemInstruction", "tool_calls",
    "function", "prompt",
)  # fmt: skip
bodies = st.recursive(
    json_values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS), bodies, max_size=5))
def test_no_body_is_too_odd_to_read(body: dict[str, Any]) -> None:
    assert isinstance(read_request(body), Prompt)
    for api in ("chat", "responses", "anthropic", "google", "bedrock", "completion"):
        read_request(body, api)  # type: ignore[arg-type]


def test_a_call_into_a_namespace_bears_both_names() -> None:
    item = {"type": "function_call", "call_id": "c1", "namespace": "desk", "name": "refund", "arguments": "{}"}
    prompt = read_request({"input": [item]}, "responses")
    assert prompt.messages[0].tool_calls[0].name == "desk.refund"
