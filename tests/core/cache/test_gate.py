"""What may be cached at all, and what may be found by meaning."""

from __future__ import annotations

import pytest

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.cache.gate import exact_only, is_volatile, refused_answer, refused_request
from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.messages import Media, Message, Prompt, Tag


def asked(*messages: Message, **kwargs: object) -> CacheRequest:
    return CacheRequest(prompt=Prompt(messages=messages), model="m", **kwargs)  # type: ignore[arg-type]


def user(text: str, **kwargs: object) -> Message:
    return Message(role="user", text=text, **kwargs)  # type: ignore[arg-type]


RAG = "Context information is below.\n---\nThe sky is blue.\n---\nQuery: why?\nAnswer: "


def test_a_picture_that_cannot_be_told_from_another_gets_no_cache() -> None:
    assert refused_request(asked(user("what is it?", media=(Media(kind="image"),)))) == "unsafe:media"
    assert refused_request(asked(user("what is it?", media=(Media(kind="image", digest="a"),)))) is None


def test_a_question_about_a_picture_is_never_found_by_meaning() -> None:
    request = asked(user("what is it?", media=(Media(kind="image", digest="a"),)))
    assert exact_only(request, "what is it?") == "unsafe:media"


def test_a_tool_result_is_never_found_by_meaning() -> None:
    assert exact_only(asked(user("q"), Message(role="tool", text="42")), "q") == "unsafe:tool_result"


@pytest.mark.parametrize("text", [RAG, "Instructions: be brief\nQuestion: why?", "### Context:\nblue\n\nwhy?"])
def test_a_rendered_template_is_no_question(text: str) -> None:
    assert exact_only(asked(user(text)), text) == "unsafe:template"


def test_a_template_whose_question_is_named_has_one() -> None:
    assert exact_only(asked(user(RAG), query="why?"), "why?") is None
    assert exact_only(asked(user(RAG, tags=(Tag(component="user_input", start=2),))), "why?") is None


@pytest.mark.parametrize("text", ["What does context mean here?", "My question: why?", "Two lines.\nAnd why is that?"])
def test_a_plain_question_may_be_found_by_meaning(text: str) -> None:
    assert exact_only(asked(user(text)), text) is None


@pytest.mark.parametrize("text", ["What is the weather today?", "the LATEST release?", "who is president now"])
def test_a_question_about_now_grows_old_soon(text: str) -> None:
    assert is_volatile(text)


@pytest.mark.parametrize("text", ["What do you know?", "todays", None])
def test_other_questions_do_not(text: str | None) -> None:
    assert not is_volatile(text)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (CachedAnswer(text="x", complete=False), "truncated"),
        (CachedAnswer(text="x", finish_reason="length"), "truncated"),
        (CachedAnswer(text="x", finish_reason="MAX_TOKENS"), "truncated"),
        (CachedAnswer(text="x", refusal=True), "refusal"),
        (CachedAnswer(text="x", finish_reason="content_filter"), "refusal"),
        (CachedAnswer(text="x", finish_reason="error"), "error"),
        (CachedAnswer(text="x", tool_calls=True), "tool_calls"),
        (CachedAnswer(text=" "), "empty"),
        (CachedAnswer(text="x", finish_reason="stop"), None),
    ],
)
def test_what_must_not_be_stored_is_not(answer: CachedAnswer, reason: str | None) -> None:
    assert refused_answer(answer, tool_calls=False) == reason


def test_tool_calls_are_stored_where_that_was_asked_for() -> None:
    assert refused_answer(CachedAnswer(text="", tool_calls=True, payload={"a": 1}), tool_calls=True) is None
