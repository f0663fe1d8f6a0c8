"""LlamaIndex's objects as core's views: nothing raises, nothing is fetched, nothing is counted twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core import MockEmbedding, PromptTemplate
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from tokenwise_core.messages import Media, Message, ToolCall
from tokenwise_core.protocols import Embedder
from tokenwise_core.testing import HashEmbedder
from tokenwise_core.usage.components import Component
from tokenwise_llamaindex import CoreEmbedding, LlamaIndexEmbedder
from tokenwise_llamaindex.convert import (
    api_of,
    provider_of,
    to_answered,
    to_message,
    to_prompt,
    to_tools,
)
from tokenwise_llamaindex.requests import Written
from tokenwise_llamaindex.snapshots import Reply, Snapshot, of_message
from tokenwise_llamaindex.templates import filled, read_back


def view(message: ChatMessage) -> Message:
    return to_message(of_message(message))


@pytest.mark.parametrize("role", list(MessageRole))
def test_every_role_has_a_place(role: MessageRole) -> None:
    assert view(ChatMessage(role=role, content="x")).role in ("system", "developer", "user", "assistant", "tool")


def test_text_blocks_follow_each_other_without_a_separator() -> None:
    assert view(ChatMessage(blocks=[TextBlock(text="one "), TextBlock(text="two")])).text == "one two"


def test_media_are_noted_and_never_fetched() -> None:
    blocks = [
        ImageBlock(url="https://pictures.example/kettle.png", detail="low"), AudioBlock(audio=b"abcd"),
        DocumentBlock(data=b"abc", title="x.pdf", document_mimetype="application/pdf"),
    ]  # fmt: skip
    kinds = [(found.kind, found.detail) for found in view(ChatMessage(blocks=blocks)).media]
    assert kinds == [("image", "low"), ("audio", None), ("file", None)]
    assert isinstance(view(ChatMessage(blocks=blocks)).media[0], Media)


def test_citable_text_is_text_and_thinking_is_reasoning() -> None:
    blocks = [
        ThinkingBlock(content="Hm."), CitableBlock(title="t", source="s", content=[TextBlock(text="quoted")]),
    ]  # fmt: skip
    message = view(ChatMessage(role="assistant", blocks=blocks))
    assert (message.text, message.reasoning) == ("quoted", "Hm.")


def test_calls_come_from_blocks_or_from_what_older_integrations_keep() -> None:
    block = ToolCallBlock(tool_call_id="c", tool_name="f", tool_kwargs={"x": "é"})
    function = SimpleNamespace(name="f", arguments='{"x": "é"}')
    older = {"tool_calls": [SimpleNamespace(id="c", type="function", function=function)]}
    expected = (ToolCall(name="f", arguments='{"x": "é"}', id="c"),)
    assert view(ChatMessage(role="assistant", blocks=[block])).tool_calls == expected
    assert view(ChatMessage(role="assistant", additional_kwargs=older)).tool_calls == expected
    assert view(ChatMessage(role="assistant", blocks=[block], additional_kwargs=older)).tool_calls == expected


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_KEYS = st.sampled_from(
    ["tools", "functions", "response_format", "text", "format", "tool_choice", "tool_calls", "tokenwise", "usage",
     "name", "tool_call_id", "response", "choices", "id", "model"]
)  # fmt: skip


@given(st.dictionaries(_KEYS, _ANY, max_size=5), st.text(max_size=20))
def test_no_parameter_and_no_answer_can_break_the_projection(fields: dict[str, Any], text: str) -> None:
    message = Snapshot("assistant", [text], fields)
    assert to_prompt([message], fields).messages[0].text == text
    assert to_answered(Reply(message, fields, fields)).answer.text == text


@pytest.mark.parametrize(
    ("class_name", "provider", "api"),
    [
        ("openai_llm", "openai", "chat"), ("openai_responses_llm", "openai", "responses"),
        ("azure_openai_llm", "azure", "chat"), ("Anthropic_LLM", "anthropic", "anthropic"),
        ("GenAI", "google", "google"), ("Bedrock_Converse_LLM", "bedrock", "bedrock"), ("OpenAILike", None, "chat"),
        ("Ollama_llm", "ollama", "chat"), ("custom_llm", None, "chat"),
    ],
)  # fmt: skip
def test_the_provider_is_told_by_the_integrations_name(class_name: str, provider: str | None, api: str) -> None:
    assert (provider_of(class_name), api_of(class_name)) == (provider, api)


def test_a_tool_of_an_unknown_form_keeps_its_place() -> None:
    assert [tool.kind for tool in to_tools({"tools": [{"type": "web_search"}, object()]})] == ["web_search", "object"]
    assert to_prompt([], {"response_format": {"type": "json_object"}}).output_schema is None


# Templates, read forwards and backwards -------------------------------------------------------------------------------

_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="{}"), min_size=1, max_size=30).filter(str.strip)


@given(history=_WORDS, question=_WORDS)
def test_a_filled_template_is_read_back(history: str, question: str) -> None:
    template = "Given this:\n<history>\n{chat_history}\n</history>\nand this:\n<asked>{question}</asked>\nrephrase."
    text = template.format(chat_history=history, question=question)
    found = {entry.component: entry.text for entry in read_back(template, text)}
    assert found == {Component.HISTORY: history, Component.USER_INPUT: question}


def test_another_text_is_not_read_back() -> None:
    assert read_back("Given {chat_history} and {question}:", "Something else.") == ()


def test_fixed_variables_of_a_template_are_known_too() -> None:
    template = PromptTemplate("{context_str} {query_str}").partial_format(query_str="Which?")
    assert [(k.component, k.text) for k in filled(template, {"context_str": "Blue."}).known()] == [
        (Component.USER_INPUT, "Which?"), (Component.RETRIEVED_CONTEXT, "Blue."),
    ]  # fmt: skip


def test_what_a_model_wrote_is_recognised_when_it_comes_back_as_a_system_message() -> None:
    written = Written()
    written.add("The customer bought a kettle on the third of May.\n\nIt has not come.")
    prompt = to_prompt(
        [
            Snapshot("system", ["Be brief."], {}),
            Snapshot("system", ["The customer bought a kettle on the third of May.\n\nIt has not come."], {}),
        ],
        {},
    )
    assert [entry.component for entry in written.recognised(prompt, ())] == [Component.SUMMARY]


# Embeddings -----------------------------------------------------------------------------------------------------------


def test_any_llamaindex_embedding_is_an_embedder_of_unit_vectors() -> None:
    embedder = LlamaIndexEmbedder(MockEmbedding(4))
    assert isinstance(embedder, Embedder)
    rows = embedder.embed(["one", "two"])
    assert rows.shape == (2, 4)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert rows.dtype == np.float32
    assert embedder.embed([]).shape[0] == 0
    assert embedder.id == "MockEmbedding"


async def test_any_embedder_is_a_llamaindex_embedding() -> None:
    embedding = CoreEmbedding(HashEmbedder(dimension=8))
    assert embedding.model_name == "hash-8"
    alone, awaited = embedding.get_query_embedding("kettle"), await embedding.aget_query_embedding("kettle")
    assert alone == awaited == embedding.get_text_embedding_batch(["kettle"])[0]
    assert LlamaIndexEmbedder(embedding).id == "CoreEmbedding:hash-8"
