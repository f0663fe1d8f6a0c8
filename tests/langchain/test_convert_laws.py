"""Whatever an integration puts into a message or a request, reading it never fails, and loses no plain text."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from tokenwise_core.usage.call import Answered
from tokenwise_langchain.blocks import read_content
from tokenwise_langchain.convert import snapshot, to_message, to_prompt
from tokenwise_langchain.snapshots import Reply
from tokenwise_langchain.templates import template_variables

KEYS = (
    "type", "text", "thinking", "reasoning", "summary", "value", "content", "source", "data", "json", "image_url",
    "image", "name", "args", "id", "input_schema", "function", "toolSpec", "functionDeclarations", "schema", "format",
    "json_schema", "component", "start", "end", "body", "usage", "tokenwise", "lc_source", "function_call", "arguments",
)  # fmt: skip
KINDS = ("text", "thinking", "reasoning", "image", "document", "non_standard", "tool_result", "tool_use", "x")
texts = st.sampled_from(KINDS) | st.text(max_size=9)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
mappings = st.dictionaries(st.sampled_from(KEYS), values, max_size=5)
PARAMS = ("tools", "functions", "response_format", "text", "output_config", "format", "reasoning", "tool_choice")


def built(kind: type[Any], **fields: Any) -> Any:
    """A message past validation, as integrations and `model_construct` make them."""
    message = kind("")
    message.__dict__.update(fields)
    return message


@given(values, mappings, st.lists(mappings, max_size=2))
def test_any_message_can_be_read(content: Any, extra: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    message = built(AIMessage, content=content, additional_kwargs=extra, tool_calls=calls)
    assert isinstance(to_message(snapshot(message)).text, str)


@given(st.dictionaries(st.sampled_from(PARAMS), values, max_size=4))
def test_any_request_parameters_can_be_read(params: dict[str, Any]) -> None:
    prompt = to_prompt([snapshot(HumanMessage("hi"))], params, "openai")
    assert prompt.messages[0].text == "hi"


@given(values, mappings, mappings)
def test_any_reply_can_be_read(content: Any, metadata: dict[str, Any], output: dict[str, Any]) -> None:
    message = built(AIMessage, content=content, response_metadata=metadata, usage_metadata=output or None)
    generation = ChatGeneration(message=AIMessage(""))
    generation.message = message
    reply = Reply(LLMResult(generations=[[generation]], llm_output={"token_usage": output}))
    assert isinstance(reply.is_cache_hit, bool)
    assert isinstance(reply.answered(), Answered)


@given(st.lists(st.sampled_from(KEYS), max_size=3), mappings, values)
def test_any_templates_input_can_be_read(names: list[str], partials: dict[str, Any], inputs: Any) -> None:
    serialized = {"kwargs": {"input_variables": names, "partial_variables": partials}}
    assert all(isinstance(known.text, str) for known in template_variables(serialized, inputs))


@given(st.lists(st.text(max_size=30), max_size=5))
def test_no_text_is_lost(texts: list[str]) -> None:
    blocks = [text if number % 2 else {"type": "text", "text": text} for number, text in enumerate(texts)]
    assert read_content(blocks)[0] == "".join(texts)
