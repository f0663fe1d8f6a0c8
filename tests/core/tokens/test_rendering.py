"""What OpenAI's models are shown: tools as TypeScript, tool rounds, schemas, and the laws of a count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from tokenwise_core.messages import Media, Message, OutputSchema, Prompt, ToolCall, ToolDefinition
from tokenwise_core.tokens import TokenCounter
from tokenwise_core.tokens.rendering import _without_constraints, compact
from tokenwise_core.tokens.typescript import compact_function, function_text
from tokenwise_core.usage.components import CountSource

ORDER = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "description": "  Order number,\n    as printed on the invoice. "},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "sku": {"type": "string", "description": "Not shown: nested"},
                    "amount": {"type": "integer", "default": 1},
                },
                "required": ["sku"],
            },
        },
        "speed": {"enum": ["slow", "fast"], "default": "slow"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["number"],
}
LOOKUP = ToolDefinition(
    name="lookup",
    description="Look it up.",
    parameters={"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]},
)
USER = Message(role="user", text="Where is order 17?")
SYSTEM = Message(role="system", text="You are the support desk.")


def test_a_tool_is_shown_to_o200k_models_as_a_typescript_function() -> None:
    assert function_text("ship", "Ship an order.", ORDER) == snapshot(
        """\
// Ship an order.
type ship = (_: { // Order number,
as printed on the invoice.
number: string,
items?: {
  sku: string,
  amount?: number // default: 1
}[],
speed?: "slow" | "fast", // default: slow
note?: string | null}) => any;\
"""
    )


def test_a_tool_is_shown_to_cl100k_models_without_defaults() -> None:
    shown = compact_function("ship", "Ship an order.", ORDER)
    assert "default" not in shown
    assert shown.endswith("note?: string | null,\n}) => any;")


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree: dict[str, Any] = {
        "properties": {"root": {"$ref": "#/$defs/node"}},
        "$defs": {
            "node": {
                "type": "object",
                "properties": {name: {"$ref": "#/$defs/node"} for name in "abcdefghij"},
            }
        },
    }
    assert "a?: any" in function_text("walk", "", tree)


@pytest.mark.parametrize(
    "odd",
    [
        {"properties": []},
        {"properties": {"a": None}},
        {"properties": {"a": {"type": 7}}, "required": True},
        {"properties": {"a": {"enum": "abc", "anyOf": 3, "items": 1, "type": "array"}}},
        {"properties": {"a": {"$ref": 5}}, "$defs": "none"},
        {"properties": {"a": {"const": {1, 2}}}},
    ],
)
def test_an_odd_schema_is_rendered_all_the_same(odd: dict[str, Any]) -> None:
    assert function_text("f", "", odd).startswith("type f = ")
    assert compact_function("f", "", odd).startswith("type f = ")


def test_the_parts_of_many_tools_add_up_to_one_text() -> None:
    tools = tuple(
        ToolDefinition(name=f"tool_{n}", description="" if n % 3 else "Does something.", parameters=LOOKUP.parameters)
        for n in range(9)
    )
    counter = TokenCounter.for_model("gpt-4o")
    counted = counter.count(Prompt(messages=(USER,), tools=tools))
    shown = "\n\n".join(function_text(t.name, t.description, t.parameters) for t in tools)
    whole = f"# Tools\n\n## functions\n\nnamespace functions {{\n\n{shown}\n\n}} // namespace functions"
    assert sum(counted.tools) + counted.tools_overhead == counter.text(whole) + 4 - 1


def test_tools_join_the_system_message_where_there_is_one() -> None:
    counter = TokenCounter.for_model("gpt-4o")
    alone = counter.count(Prompt(messages=(USER,), tools=(LOOKUP,)))
    hosted = counter.count(Prompt(messages=(SYSTEM, USER), tools=(LOOKUP,)))
    assert hosted.tools_overhead == alone.tools_overhead - 4
    assert hosted.tools == alone.tools


def test_arguments_are_counted_as_they_are_shown_again() -> None:
    assert compact('{"a": 1, "b": "é"}') == '{"a":1,"b":"é"}'
    assert compact("not json") == "not json"
    counter = TokenCounter.for_model("gpt-4o")

    def asked(arguments: str) -> int:
        call = ToolCall(name="lookup", arguments=arguments, id="1")
        return counter.count(Prompt(messages=(Message(role="assistant", tool_calls=(call,)),))).total

    assert asked('{"a": 1, "b": 2}') == asked('{"a":1,"b":2}')


def test_calls_at_once_are_wrapped_and_their_results_cost_the_same_for_every_name() -> None:
    counter = TokenCounter.for_model("gpt-4o")

    def round_of(*names: str) -> Prompt:
        calls = tuple(ToolCall(name=name, id=name) for name in names)
        results = tuple(Message(role="tool", text="ok", tool_call_id=name) for name in names)
        return Prompt(messages=(USER, Message(role="assistant", tool_calls=calls), *results))

    both = counter.count(round_of("a_very_long_function_name", "b"))
    assert {message.name for message in both.messages[2:]} == {3}
    assert both.messages[1].tool_calls > counter.count(round_of("b")).messages[1].tool_calls


def test_an_answer_schema_is_shown_without_what_the_decoder_enforces() -> None:
    schema = {
        "type": "object",
        "properties": {"required": {"type": "string"}, "city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    shown = _without_constraints(schema)
    assert shown == {"type": "object", "properties": {"required": {"type": "string"}, "city": {"type": "string"}}}
    counter = TokenCounter.for_model("gpt-4o")
    counted = counter.count(Prompt(messages=(USER,), output_schema=OutputSchema(name="answer", schema=schema)))
    text = f"\n\n# Response Formats\n\n## answer\n\n{json.dumps(shown, separators=(',', ':'))}"
    assert abs(counted.schema - counter.text(text)) <= 1


def test_reasoning_models_open_the_answer_with_two_tokens() -> None:
    o200k = TokenCounter.for_model("gpt-4o").count(Prompt(messages=(USER,)))
    reasoning = TokenCounter.for_model("gpt-5").count(Prompt(messages=(USER,)))
    assert o200k.total - reasoning.total == 1


def test_the_hidden_preamble_of_tools_is_there_in_chat_and_not_in_responses() -> None:
    counter = TokenCounter.for_model("gpt-5-mini")
    chat = counter.count(Prompt(messages=(USER,), tools=(LOOKUP,), api="chat"))
    responses = counter.count(Prompt(messages=(USER,), tools=(LOOKUP,), api="responses"))
    routed = TokenCounter.for_model("openai/gpt-5-mini").count(Prompt(messages=(USER,), tools=(LOOKUP,), api="chat"))
    assert chat.total - responses.total == 82
    assert routed.total == responses.total


def test_plain_messages_are_exact_and_the_rest_is_not() -> None:
    counter = TokenCounter.for_model("gpt-4o")
    assert counter.count(Prompt(messages=(SYSTEM, USER))).source is CountSource.EXACT
    assert counter.count(Prompt(messages=(USER,), tools=(LOOKUP,))).source is CountSource.ESTIMATED
    picture = Message(role="user", media=(Media(kind="image"),))
    assert counter.count(Prompt(messages=(picture,))).source is CountSource.ESTIMATED


@pytest.mark.parametrize(
    ("model", "width", "height", "detail", "tokens"),
    [
        ("gpt-4o", 1024, 1024, None, 765),  # OpenAI's vision guide
        ("gpt-4o", 2048, 4096, "high", 1105),  # OpenAI's vision guide
        ("gpt-4o", 4096, 8192, "low", 85),  # OpenAI's vision guide
        ("gpt-4o-mini", 1, 1, None, 8500),  # pamelafox/openai-messages-token-helper, validated
        ("gpt-4o-mini", 1, 1, "low", 2833),  # pamelafox/openai-messages-token-helper, validated
        ("gpt-4.1-mini", 1024, 1024, None, 1659),  # OpenAI's vision guide: 1024 patches of 32 pixels · 1.62
        ("gpt-4.1-mini", 1800, 2400, None, 2353),  # OpenAI's vision guide: shrunk to 1452 patches · 1.62
        ("gpt-5", 1024, 1024, None, 630),  # OpenAI's vision guide: 70 + 4 · 140
        ("o3", 1024, 1024, None, 675),  # OpenAI's vision guide: 75 + 4 · 150
        ("claude-sonnet-4-5", 1000, 1000, None, 1334),  # Anthropic's vision guide
        ("gemini-2.0-flash", 300, 300, None, 258),  # Google's token guide
    ],
)
def test_an_image_of_known_size_costs_what_the_provider_says(
    model: str, width: int, height: int, detail: str | None, tokens: int
) -> None:
    picture = Media(kind="image", width=width, height=height, detail=detail)
    counted = TokenCounter.for_model(model).count(Prompt(messages=(Message(role="user", media=(picture,)),)))
    assert counted.messages[0].media == tokens


texts = st.text(max_size=40)
calls = st.builds(ToolCall, name=texts, arguments=texts, id=st.sampled_from(["1", "2", None]))
messages = st.builds(
    Message,
    role=st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
    text=texts,
    name=st.none() | texts,
    tool_calls=st.lists(calls, max_size=2).map(tuple),
    tool_call_id=st.sampled_from(["1", "2", None]),
    reasoning=texts,
)
json_values = st.recursive(st.none() | st.booleans() | texts, lambda inner: st.dictionaries(texts, inner, max_size=3))
tools = st.builds(
    ToolDefinition, name=texts, description=texts, parameters=st.dictionaries(texts, json_values, max_size=3)
)
prompts = st.builds(
    Prompt,
    messages=st.lists(messages, max_size=4).map(tuple),
    tools=st.lists(tools, max_size=3).map(tuple),
    output_schema=st.none()
    | st.builds(OutputSchema, name=texts, schema=st.dictionaries(texts, json_values, max_size=2)),
    api=st.sampled_from(["chat", "responses", "anthropic", "google", "bedrock", "completion"]),
)


@given(prompts, st.sampled_from(["gpt-4", "gpt-4o", "o3-mini", "claude-sonnet-4-5", "gemini-2.5-pro", "no-such-model"]))
def test_parts_sum_to_the_total_for_any_prompt(prompt: Prompt, model: str) -> None:
    counter = TokenCounter.for_model(model)
    counted = counter.count(prompt)
    parts = sum(message.total for message in counted.messages) + sum(counted.tools)
    assert counted.total == parts + counted.tools_overhead + counted.schema + counted.overhead
    assert len(counted.messages) == len(prompt.messages)
    assert len(counted.tools) == len(prompt.tools)
    assert counter.count(prompt) == counted
