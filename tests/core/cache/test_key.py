"""The exact key and the semantic partition: what must be equal, and what need not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.key import ContextMode, request_key
from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.errors import BadInput
from tokenwise_core.messages import Media, Message, OutputSchema, Prompt, Tag, ToolCall, ToolDefinition

SYSTEM = Message(role="system", text="You are a clerk.")
QUESTION = "How do I reset my password?"


def asked(*messages: Message, **kwargs: object) -> CacheRequest:
    return CacheRequest(prompt=Prompt(messages=messages or (SYSTEM, user())), model="gpt-4o", **kwargs)  # type: ignore[arg-type]


def user(text: str = QUESTION, **kwargs: object) -> Message:
    return Message(role="user", text=text, **kwargs)  # type: ignore[arg-type]


def key(request: CacheRequest, **kwargs: object):
    return request_key(request, **{"namespace": "ns", "embedder": "e", **kwargs})  # type: ignore[arg-type]


def test_the_same_request_has_the_same_key() -> None:
    assert key(asked()) == key(asked())


def test_another_question_has_another_key_in_the_same_partition() -> None:
    other = key(asked(SYSTEM, user("How can I change my password?")))
    assert other.exact != key(asked()).exact
    assert other.partition == key(asked()).partition


@pytest.mark.parametrize(
    "other",
    [
        asked(replace(SYSTEM, text="You are a judge."), user()),
        asked(SYSTEM, user("hello"), Message(role="assistant", text="hi"), user()),
        replace(asked(), model="gpt-4o-mini"),
        replace(asked(), parameters={"temperature": 1.0}),
        replace(asked(), extra={"index": "handbook", "epoch": 2}),
        replace(asked(), policy="router-1"),
        replace(asked(), provider="azure"),
        replace(asked(), prompt=replace(asked().prompt, tools=(ToolDefinition(name="search"),))),
        replace(asked(), prompt=replace(asked().prompt, output_schema=OutputSchema(schema={"type": "object"}))),
        replace(asked(), prompt=replace(asked().prompt, options={"tool_choice": "none"})),
    ],
)
def test_what_differs_beside_the_question_is_another_partition(other: CacheRequest) -> None:
    assert key(other).exact != key(asked()).exact
    assert key(other).partition != key(asked()).partition


@pytest.mark.parametrize(("name", "value"), [("namespace", "other"), ("epoch", 1)])
def test_a_namespace_or_its_epoch_parts_everything(name: str, value: object) -> None:
    assert key(asked(), **{name: value}).exact != key(asked()).exact
    assert key(asked(), **{name: value}).partition != key(asked()).partition


def test_another_embedder_is_another_partition_under_the_same_exact_key() -> None:
    other = key(asked(), embedder="f")
    assert other.exact == key(asked()).exact
    assert other.partition != key(asked()).partition


def test_tool_call_ids_do_not_count_but_which_result_belongs_to_which_call_does() -> None:
    def history(first: str, second: str, answers: tuple[str, str]) -> CacheRequest:
        calls = (ToolCall(name="a", id=first), ToolCall(name="b", id=second))
        results = tuple(Message(role="tool", text="r", tool_call_id=call) for call in answers)
        return asked(SYSTEM, user("go"), Message(role="assistant", tool_calls=calls), *results, user())

    one, same = history("x1", "x2", ("x1", "x2")), history("y1", "y2", ("y1", "y2"))
    crossed = history("z1", "z2", ("z2", "z1"))
    assert key(one) == key(same)
    assert key(one).exact != key(crossed).exact


def test_the_order_of_tools_and_of_names_in_arguments_does_not_count() -> None:
    a, b = ToolDefinition(name="a", parameters={"x": 1, "y": 2}), ToolDefinition(name="b")
    one = replace(asked(), prompt=replace(asked().prompt, tools=(a, b)))
    two = replace(asked(), prompt=replace(asked().prompt, tools=(b, replace(a, parameters={"y": 2, "x": 1}))))
    assert key(one) == key(two)


def test_the_query_that_is_named_is_what_is_left_out() -> None:
    def rendered(context: str, query: str) -> CacheRequest:
        return asked(SYSTEM, user(f"Context: {context}\nQuestion: {query}\nAnswer:"), query=query)

    assert key(rendered("blue", "why?")).partition == key(rendered("blue", "how?")).partition
    assert key(rendered("blue", "why?")).partition != key(rendered("red", "why?")).partition
    assert key(rendered("blue", "why?")).query == "why?"


def test_a_part_tagged_as_the_users_input_is_the_question() -> None:
    text = "Use the context. What now?"
    request = asked(SYSTEM, user(text, tags=(Tag(component="user_input", start=17),)))
    assert key(request).query == "What now?"


def test_a_query_that_stands_nowhere_in_the_prompt_leaves_the_exact_key_only() -> None:
    assert key(asked(SYSTEM, user("rendered otherwise"), query="what was asked")).partition is None


def test_after_a_tool_result_nothing_is_asked_that_could_be_rephrased() -> None:
    call = Message(role="assistant", tool_calls=(ToolCall(name="a", id="1"),))
    request = asked(SYSTEM, user(), call, Message(role="tool", text="42", tool_call_id="1"))
    assert key(request).partition is None


def test_two_pictures_of_one_size_are_told_apart() -> None:
    def picture(digest: str) -> CacheRequest:
        return asked(SYSTEM, user(media=(Media(kind="image", width=9, height=9, digest=digest),)))

    assert key(picture("a")).exact != key(picture("b")).exact


@pytest.mark.parametrize(
    ("mode", "is_same"), [("exact", False), ("window:1", True), ("window:3", False), ("ignore", True)]
)
def test_a_context_mode_says_how_much_history_must_be_equal(mode: str, is_same: bool) -> None:
    def chat(first: str) -> CacheRequest:
        return asked(SYSTEM, user(first), Message(role="assistant", text="ok"), user())

    context = ContextMode.parse(mode)
    one, two = key(chat("a"), context=context), key(chat("b"), context=context)
    assert (one.partition == two.partition) is is_same
    assert one.exact != two.exact


def test_in_summary_mode_the_summary_stands_for_the_history() -> None:
    def chat(first: str, summary: str) -> CacheRequest:
        told = user(summary, tags=(Tag(component="summary"),))
        return asked(SYSTEM, told, user(first), Message(role="assistant", text="ok"), user())

    mode = ContextMode.parse("summary")
    assert key(chat("a", "s"), context=mode).partition == key(chat("b", "s"), context=mode).partition
    assert key(chat("a", "s"), context=mode).partition != key(chat("a", "t"), context=mode).partition


@pytest.mark.parametrize("wrong", ["", "window", "window:0", "window:x", "all"])
def test_a_context_mode_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(BadInput, match="window:K"):
        ContextMode.parse(wrong)


@given(st.text(), st.text())
def test_only_blanks_at_ends_and_unicode_composition_are_folded(left: str, right: str) -> None:
    import unicodedata

    def folded(text: str) -> str:
        lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return "\n".join(line.rstrip(" \t") for line in lines).strip()

    same = key(asked(SYSTEM, user(left))).exact == key(asked(SYSTEM, user(right))).exact
    assert same == (folded(left) == folded(right))


@given(
    st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4),
    st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4),
)
def test_no_two_lists_of_messages_run_together(one: list[str], two: list[str]) -> None:
    def chat(texts: list[str]) -> CacheRequest:
        return asked(*(Message(role="system", text=text) for text in texts), user())

    same = key(chat(one)).exact == key(chat(two)).exact
    assert same == ([t.strip() for t in one] == [t.strip() for t in two]) or not all(t.isascii() for t in one + two)
