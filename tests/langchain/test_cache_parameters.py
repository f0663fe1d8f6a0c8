"""What identifies a call: what changes an answer is in the key, what does not is not, and secrets are nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr, create_model

from tokenwise_core.cache import CachedAnswer, CacheRequest, Hit, SemanticCache
from tokenwise_core.cache.key import RequestKey, request_key
from tokenwise_langchain import FaissSemanticCache
from tokenwise_langchain.cache.chains import take_apart
from tokenwise_langchain.cache.messages import from_cached, to_cached
from tokenwise_langchain.cache.outputs import NOTHING, decode, encode, pieces_of, put_together
from tokenwise_langchain.cache.parameters import called, canonical, model_parameters
from tokenwise_langchain.cache.served import message_chunks
from tokenwise_langchain.convert import snapshot, to_message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NewCache = Callable[..., SemanticCache]


def key(value: Any) -> str:
    return json.dumps(canonical(value), sort_keys=True)


def chat(**settings: Any) -> ChatOpenAI:
    return ChatOpenAI(**{"model": "gpt-4o-mini", "api_key": "sk-very-secret", **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.5},
        {"model": "gpt-4o"},
        {"base_url": "http://localhost:8080/v1"},
        {"max_tokens": 5},
        {"seed": 7},
        {"model_kwargs": {"logit_bias": {"1": 2}}},
        {"default_headers": {"x-beta": "on"}},
        {"extra_body": {"top_k": 3}},
    ],
)
def test_a_setting_that_may_change_answers_is_in_the_key(settings: dict[str, Any]) -> None:
    assert model_parameters(chat()) != model_parameters(chat(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": "sk-another"},
        {"max_retries": 9},
        {"timeout": 3.0},
        {"tags": ["a"]},
        {"metadata": {"a": 1}},
        {"name": "desk"},
        {"verbose": True},
        {"streaming": True},
        {"cache": False},
        {"default_headers": {"Authorization": "Bearer s3cret", "x-api-key": "s3cret"}},
    ],
)
def test_a_setting_that_does_not_is_not_and_no_secret_is_anywhere(settings: dict[str, Any]) -> None:
    plain = {"default_headers": {}} if "default_headers" in settings else {}
    assert model_parameters(chat(**plain)) == model_parameters(chat(**settings))
    assert "secret" not in json.dumps(model_parameters(chat(**settings)))


def test_an_integrations_name_and_provider_are_those_of_its_traces() -> None:
    call = called(chat(), {"stop": None})
    assert (call.model, call.provider) == ("gpt-4o-mini", "openai")
    assert called(chat(), {"model": "gpt-4o"}).model == "gpt-4o"


def test_a_model_that_counts_its_calls_stays_the_same_model(new_cache: NewCache) -> None:
    model = FakeListChatModel(responses=["A", "B"], cache=FaissSemanticCache(new_cache()))
    assert [model.invoke("What?").text for _ in range(3)] == ["A", "A", "A"]


def test_a_model_inside_of_a_model_is_part_of_it() -> None:
    class Around(FakeListChatModel):
        inner: Any = None

    one, other = (Around(responses=["A"], inner=FakeListChatModel(responses=[text])) for text in "AB")
    assert model_parameters(one) != model_parameters(other)


class Colour(Enum):
    RED = "red"


class Point(TypedDict):
    x: int


def test_equal_things_are_equal() -> None:
    assert key({"b": 1, "a": (1, 2)}) == key({"a": [1, 2], "b": 1})
    assert key(Colour.RED) == key("red")
    assert key({1, 2}) == key({2, 1})
    assert key(date(2026, 1, 2)) == key("2026-01-02")
    assert key(Decimal("1.5")) == key("1.5")
    assert key(SecretStr("a")) == key(SecretStr("b"))
    assert key(HumanMessage("a", id="1")) == key(HumanMessage("a", id="2"))
    assert key(Point) == key(Point)


def test_different_things_are_not() -> None:
    old, new = create_model("A", x=(int, ...)), create_model("A", x=(str, ...))
    assert key(old) != key(new)
    assert key(lambda: 1) != key(lambda: 1)
    assert key([object()]) != key([object()])
    assert key(1) != key("1")
    assert key(True) != key(1)


def test_one_object_is_equal_to_itself_while_it_lives() -> None:
    def function() -> None: ...

    assert key(function) == key(function)


def test_a_tool_is_its_schema() -> None:
    @tool
    def look(order: str) -> str:
        """Look."""
        return order

    assert key(look) == key(look.model_copy())
    assert "order" in key(look)


def test_what_refers_to_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert canonical(loop)


@given(JSON)
def test_json_is_its_own_key(value: Any) -> None:
    assert json.loads(key(value)) == json.loads(json.dumps(value))


# media


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "image_url", "image_url": {"url": "a"}}, {"type": "image_url", "image_url": {"url": "b"}}),
        ({"type": "image", "base64": "A" * 9000}, {"type": "image", "base64": "A" * 8999 + "B"}),
        ({"type": "file", "file": {"file_id": "f1"}}, {"type": "file", "file": {"file_id": "f2"}}),
        ({"type": "image", "source": {"data": "a"}}, {"type": "image", "source": {"data": "b"}}),
    ],
)
def test_two_media_are_told_apart(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, again, second = (
        to_message(snapshot(HumanMessage([block]))).media[0].digest for block in (one, {**one, "index": 3}, other)
    )
    assert first is not None
    assert first == again != second


def test_a_medium_that_shows_nothing_has_no_digest() -> None:
    assert to_message(snapshot(HumanMessage([{"type": "image", "id": "lc_1"}]))).media[0].digest is None


# there and back

TEXTS = st.text(max_size=40)
ARGUMENTS = st.dictionaries(TEXTS, JSON, max_size=3)
CALLS = st.lists(st.builds(lambda name, args: {"name": name, "args": args, "id": "c"}, TEXTS, ARGUMENTS), max_size=2)
USAGES = st.none() | st.builds(
    lambda i, o: {"input_tokens": i, "output_tokens": o, "total_tokens": i + o}, st.integers(0, 9), st.integers(0, 9)
)
BLOCKS = st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXTS), max_size=3)
MESSAGES = st.builds(
    lambda content, calls, usage, extra: AIMessage(
        content=content, tool_calls=calls, usage_metadata=usage, additional_kwargs=extra
    ),
    TEXTS | BLOCKS,
    CALLS,
    USAGES,
    st.dictionaries(st.sampled_from(["parsed", "note"]), JSON, max_size=2),
)


def plain(message: Any) -> Any:
    calls = [(call["name"], call["args"]) for call in message.tool_calls]
    return message.content, calls, message.usage_metadata, message.additional_kwargs


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: AIMessage) -> None:
    answer = to_cached([ChatGeneration(message=message)])
    stored = CachedAnswer(text=answer.text, payload=json.loads(json.dumps(dict(answer.payload))))
    found = from_cached(Hit(id="h", kind="exact", answer=stored))
    texts = isinstance(message.content, str) or all(block.get("type") == "text" for block in message.content)  # type: ignore[union-attr]
    if texts and not message.text.strip() and not message.tool_calls:
        assert found is None
        return
    assert found is not None
    assert plain(found[0].message) == plain(message)  # type: ignore[attr-defined]


@given(MESSAGES)
def test_the_chunks_of_a_message_make_the_message(message: AIMessage) -> None:
    chunks = list(message_chunks(message))
    whole = chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]
    assert plain(whole) == plain(message)
    assert [chunk.chunk_position for chunk in chunks] == [*[None] * (len(chunks) - 1), "last"]


@given(TEXTS, st.none() | st.dictionaries(st.text(), JSON, max_size=3))
def test_a_plain_generation_comes_back_equal(text: str, info: Any) -> None:
    generation = Generation(text=text, generation_info=info)
    answer = to_cached([generation])
    if text.strip():
        assert from_cached(Hit(id="h", kind="exact", answer=answer)) == [generation]
    else:
        assert answer.payload == {}


class Verdict(BaseModel):
    answer: str


OUTPUTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.builds(Verdict, answer=st.text()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("is"), inner, max_size=3),
    max_leaves=8,
)


@given(OUTPUTS)
def test_an_output_comes_back_equal(output: Any) -> None:
    classes = {"Verdict": Verdict}
    stored = json.loads(json.dumps(encode(output, classes)))
    assert decode(stored, classes, {}) == output


@given(st.text())
def test_the_pieces_of_a_text_make_the_text(text: str) -> None:
    pieces = list(pieces_of(text))
    assert "".join(pieces) == text
    assert put_together(pieces) == (text if text else NOTHING)


def test_pieces_of_which_nobody_knows_what_they_make_are_not_put_together() -> None:
    for pieces in ([[1], [1, 2]], [1, 2], [], ["a", 1]):
        assert put_together(pieces) is NOTHING
    assert put_together([{"a": 1}, {"a": 1, "b": 2}]) == {"a": 1, "b": 2}
    assert put_together([None, {"a": 1}]) == {"a": 1}


# chains' inputs

VALUES = st.text(max_size=4) | st.integers(0, 3) | st.lists(st.sampled_from(["a", "b"]), max_size=2)
INPUTS = st.text(min_size=1, max_size=4) | st.fixed_dictionaries(
    {"question": st.sampled_from(["a", "b", "ab"])}, optional={"style": VALUES, "context": VALUES}
)


def keys_of(given: Any) -> RequestKey:
    asked = take_apart(given, None)
    request = CacheRequest(
        prompt=asked.prompt, model="m", extra={"input": asked.rest}, query=asked.query, semantic=asked.semantic
    )
    return request_key(request, namespace="n")


def folded(given: Any) -> Any:
    """Texts as the key reads them: blanks around do not count."""
    return given.strip() if isinstance(given, str) else given


@given(INPUTS, INPUTS)
def test_two_inputs_have_one_key_only_if_they_are_equal(one: Any, other: Any) -> None:
    assert (keys_of(one).exact == keys_of(other).exact) == (folded(one) == folded(other))


@given(st.fixed_dictionaries({"question": st.sampled_from(["x1", "y22"])}, optional={"style": VALUES}), VALUES)
def test_two_inputs_share_a_partition_only_if_all_but_the_question_is_equal(one: dict[str, Any], style: Any) -> None:
    other = {"question": "z333", "style": style}
    shares = keys_of(one).partition == keys_of(other).partition
    assert shares == ("style" in one and one["style"] == style)
