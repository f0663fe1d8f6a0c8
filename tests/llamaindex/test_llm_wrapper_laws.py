"""Laws of what is kept and replayed, for any answer that a model could give."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms import MockLLM

from tokenwise_core.cache import CachedAnswer, Hit
from tokenwise_llamaindex.cache.answers import kept, served
from tokenwise_llamaindex.calls import Answering, LLMAnswer, LLMCall, pieces

texts = st.text(max_size=200)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=8)
calls = st.builds(
    ToolCallBlock,
    tool_call_id=st.none() | texts,
    tool_name=texts,
    tool_kwargs=st.dictionaries(texts, values) | values.map(json.dumps),
)
blocks = st.builds(TextBlock, text=texts) | st.builds(ThinkingBlock, content=texts) | calls


def says_something(content: list[Any]) -> bool:
    """Say whether it is an answer: an empty one is not kept."""
    return any(isinstance(block, ToolCallBlock) or getattr(block, "text", "").strip() for block in content)


messages = st.builds(
    lambda content: ChatMessage(role="assistant", blocks=content),
    st.lists(blocks, min_size=1, max_size=4).filter(says_something),
)
MODEL = MockLLM()
CHAT = LLMCall(llm=MODEL, messages=[ChatMessage(role="user", content="?")])
COMPLETION = LLMCall(llm=MODEL, prompt="?")


def stored(answer: CachedAnswer | None) -> Hit:
    """Return a hit on an answer as a store gives it back: through JSON."""
    assert answer is not None
    payload = json.loads(json.dumps(answer.payload, allow_nan=False))
    return Hit(id="1", kind="exact", answer=CachedAnswer(text=answer.text, payload=payload))


def without_ids(message: ChatMessage) -> list[dict[str, Any]]:
    return [{**block.model_dump(), "tool_call_id": None} for block in message.blocks]


@given(messages)
def test_a_message_comes_back_as_it_was_but_for_the_ids_of_its_calls(message: ChatMessage) -> None:
    answer = served(CHAT, stored(kept(CHAT, LLMAnswer(response=ChatResponse(message=message)))))
    assert isinstance(answer.response, ChatResponse)
    assert without_ids(answer.response.message) == without_ids(message)
    ids = [block.tool_call_id for block in answer.response.message.blocks if isinstance(block, ToolCallBlock)]
    assert len(set(ids)) == len(ids)


@given(messages)
def test_the_chunks_of_a_replayed_message_sum_to_it(message: ChatMessage) -> None:
    answer = served(CHAT, stored(kept(CHAT, LLMAnswer(response=ChatResponse(message=message)))))
    chunks = list(Answering().replay(answer))
    said = ""
    for chunk in chunks:
        assert isinstance(chunk, ChatResponse)
        said += chunk.delta or ""
        assert (chunk.message.content or "") == said
    assert said == (message.content or "")
    assert without_ids(chunks[-1].message) == without_ids(message)  # type: ignore[union-attr]


@given(texts.filter(str.strip))
def test_a_completion_comes_back_whole_and_streams_in_pieces(text: str) -> None:
    answer = served(COMPLETION, stored(kept(COMPLETION, LLMAnswer(response=CompletionResponse(text=text)))))
    assert isinstance(answer.response, CompletionResponse)
    assert answer.response.text == text
    chunks = list(Answering().replay(answer))
    assert "".join(chunk.delta or "" for chunk in chunks) == text
    assert isinstance(chunks[-1], CompletionResponse)
    assert chunks[-1].text == text


@given(st.text(max_size=3000) | st.lists(st.sampled_from(["a ", "b", "\n", " "]), max_size=400).map("".join))
def test_pieces_are_the_text_one_at_least_and_not_too_many(text: str) -> None:
    cut = pieces(text)
    assert "".join(cut) == text
    assert 1 <= len(cut) <= 32
