"""Extractive summaries: the text's own sentences, in order, within the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.text.extractive import extract
from tokenwise_core.text.sentences import sentences

TALK = """User: Hello there!
Assistant: Hello, how are you today?
User: Fine, thanks. Nice weather.
User: My order 4711 over 120.50 EUR must arrive before 2026-03-09.
Assistant: Sure, let me have a look at that for you.
User: Ana Ruiz decided to cancel the second parcel.
Assistant: Of course.
User: Thanks a lot!"""


def words(text: str) -> int:
    return len(text.split())


def test_numbers_names_and_decisions_come_before_small_talk() -> None:
    kept = extract(TALK, max_tokens=21, count=words).kept
    assert kept == (
        "User: My order 4711 over 120.50 EUR must arrive before 2026-03-09.",
        "User: Ana Ruiz decided to cancel the second parcel.",
    )


@pytest.mark.parametrize("limit", [0, 1, 5, 10, 20, 40, 1000])
def test_the_limit_holds_for_the_joined_text(limit: int) -> None:
    found = extract(TALK, max_tokens=limit, count=words)
    assert words(found.text) == found.tokens <= limit
    assert len(found.kept) + found.dropped == len(sentences(TALK))


def test_with_room_for_all_nothing_is_dropped() -> None:
    assert extract(TALK, max_tokens=1000, count=words).kept == tuple(sentences(TALK))


def test_the_same_sentence_is_kept_once() -> None:
    assert extract("Order 12 is late. " * 5, max_tokens=100, count=words).kept == ("Order 12 is late.",)


def test_what_was_already_said_gives_way_to_news() -> None:
    text = "Order 12 left Lyon on 3 May. Order 12 left Lyon on 3 May, yes. The invoice 77 is open."
    assert extract(text, max_tokens=14, count=words).kept == ("Order 12 left Lyon on 3 May.", "The invoice 77 is open.")


@given(st.text(), st.integers(0, 40))
def test_only_sentences_of_the_text_are_kept_in_their_order(text: str, limit: int) -> None:
    found = extract(text, max_tokens=limit, count=len)  # characters: the whole can be longer than its parts
    order = list(dict.fromkeys(sentences(text)))
    assert [part for part in order if part in found.kept] == list(found.kept)
    assert len(found.text) <= limit
