from __future__ import annotations

import pytest

from tokenwise_core.messages import Message, Prompt
from tokenwise_core.usage.attribution import attribute
from tokenwise_core.usage.call import known_from_variables
from tokenwise_core.usage.containment import Finder
from tokenwise_core.usage.markers import (
    context_before_question,
    marked,
    question_after_cue,
    transcript,
    worked_examples,
)

PAGE = "Returns are accepted within thirty days of delivery, provided that the hub is complete and was not opened."
OTHER = "The wallbox is switched off before it is moved; a move within the house needs an electrician's protocol."


def test_a_finder_finds_each_text_wherever_it_stands() -> None:
    within = f"{OTHER} and then {PAGE} and {PAGE}"
    assert [within[a:b] for a, b in Finder([PAGE, OTHER, "not there at all, whatever it says"]).spans(within)] == [
        PAGE, PAGE, OTHER,
    ]  # fmt: skip


def test_a_short_text_is_found_whole() -> None:
    assert list(Finder(["Hub 3"]).spans("The Hub 3 is new.")) == [(4, 9)]


def test_a_text_that_shares_no_piece_is_not_found() -> None:
    assert list(Finder([PAGE]).spans(PAGE[:40] + " and something else " * 5)) == []


def test_a_cut_text_is_found_as_far_as_it_goes() -> None:
    ((start, end),) = Finder([PAGE + " " + OTHER]).spans("x " + (PAGE + " " + OTHER)[30:150] + " y")
    assert end - start >= 64


def test_the_question_stands_behind_the_last_cue() -> None:
    text = "Question: an old one\n\n### Question:\nHow long?\nHelpful Answer:"
    start, end = question_after_cue(text) or (0, 0)
    assert text[start:end] == "How long?"


@pytest.mark.parametrize("heading", ["Context:", "### Retrieved context:", "Search results for you:", "**Sources:**"])
def test_context_stands_between_its_heading_and_the_question(heading: str) -> None:
    text = f"Be brief.\n\n{heading}\n{PAGE}\n{OTHER}\n\nQuestion: How long?"
    start, end = context_before_question(text) or (0, 0)
    assert text[start:end] == f"{PAGE}\n{OTHER}"


def test_a_message_without_a_question_has_no_context_before_it() -> None:
    assert context_before_question(f"Context:\n{PAGE}") is None
    assert context_before_question("Question: How long?") is None


@pytest.mark.parametrize(
    ("tag", "component"),
    [("documents", "retrieved_context"), ("memories", "memory"), ("examples", "few_shot"), ("chat_history", "history")],
)
def test_tags_say_what_stands_between_them(tag: str, component: str) -> None:
    text = f"Be kind.\n<{tag} id='1'>\n{PAGE}\n</{tag}>\nGo on."
    ((start, end, found),) = marked(text)
    assert (str(found), text[start], text[end - 1]) == (component, "<", ">")


def test_a_transcript_ends_before_the_question_of_the_message_that_asks() -> None:
    text = "Chat:\nHuman: hello\nAI: hello, what is it?\nHuman: where is my parcel?\nAI:"
    start, end = transcript(text, asks=True) or (0, 0)
    assert text[start:end] == "Human: hello\nAI: hello, what is it?\n"
    start, end = transcript(text, asks=False) or (0, 0)
    assert text[start:].startswith("Human: hello")


def test_one_quoted_exchange_is_no_transcript() -> None:
    assert transcript("Write it like this:\nUser: hi\nAssistant: hello", asks=True) is None


def test_worked_examples_begin_with_the_label_that_the_question_has() -> None:
    text = "Answer so.\n\nCustomer: one?\nDesk: 1\n\nCustomer: two?\nDesk: 2\n\nCustomer: three?\nDesk:"
    start, end = worked_examples(text, text.index("three?")) or (0, 0)
    assert text[start:end] == "Customer: one?\nDesk: 1\n\nCustomer: two?\nDesk: 2"
    assert worked_examples("Customer: three?", 10) is None
    assert worked_examples("three?", 0) is None


def components(text: str, **kwargs: object) -> list[tuple[str, str]]:
    found = attribute(Prompt(messages=(Message(role="user", text=text),)), **kwargs)  # type: ignore[arg-type]
    return [(str(span.component), text[span.start : span.end]) for span in found.spans[0]]


def test_a_variable_of_an_unknown_name_that_holds_retrieved_text_is_context() -> None:
    context = f"[1] Returns\n{PAGE}\n[2] Moving\n{OTHER}"
    known = known_from_variables({"material": [context], "wish": ["How long?"]})
    found = components(f"Read:\n{context}\nThen: How long?", known=known, retrieved=[PAGE, OTHER], templated=True)
    assert [component for component, _ in found if component != "retrieved_context"] == [
        "system_prompt", "system_prompt", "user_input",
    ]  # fmt: skip
    assert "".join(text for component, text in found if component == "retrieved_context") == context


def test_titles_between_two_retrieved_texts_belong_to_them() -> None:
    found = components(f"{PAGE}\n---\n[2] Moving house\n{OTHER}", retrieved=[PAGE, OTHER])
    assert {component for component, _ in found} == {"retrieved_context"}


def test_a_context_that_quotes_the_question_stays_context() -> None:
    page = f"{PAGE} How long? {OTHER}"
    known = known_from_variables({"q": ["How long?"]})
    found = components(f"Q: How long?\nFrom: {page}", known=known, retrieved=[page], templated=True)
    assert ("user_input", "How long?") in found
    assert ("retrieved_context", page) in found
