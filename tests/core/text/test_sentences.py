"""Where a sentence ends, and where a full stop is something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.text.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met Prof. Lee. They spoke.", ["Dr. Smith met Prof. Lee.", "They spoke."]),
        ("See e.g. Fig. 3 for it. Then stop.", ["See e.g. Fig. 3 for it.", "Then stop."]),
        ("He left at 5 p.m. The U.S. office closed.", ["He left at 5 p.m.", "The U.S. office closed."]),
        ("It costs $3.50 in v2.1.3 now. Good.", ["It costs $3.50 in v2.1.3 now.", "Good."]),
        ("Due on Jan. 5. Paid since.", ["Due on Jan. 5.", "Paid since."]),
        ("J. R. Tolkien wrote it. Yes.", ["J. R. Tolkien wrote it.", "Yes."]),
        ("1. Open the lid. 2. Press.", ["1. Open the lid.", "2. Press."]),
        ("Visit https://a.b/c.html?x=1. Then go.", ["Visit https://a.b/c.html?x=1.", "Then go."]),
        ('"Really?" she asked. "Yes." He left.', ['"Really?" she asked.', '"Yes."', "He left."]),
        ("List:\n- first item\n- second item", ["List:", "- first item", "- second item"]),
        ("A line that\nreads on. Next\n\nparagraph", ["A line that reads on.", "Next", "paragraph"]),
        ("User: hi\nAssistant: hello there", ["User: hi", "Assistant: hello there"]),
        ("# Head\nText here", ["# Head", "Text here"]),
        ("| a | b. c |\n| d | e |", ["| a | b. c |", "| d | e |"]),
        ("", []),
        (" \n\t\n", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_a_code_block_is_one_sentence_with_its_lines() -> None:
    code = "```py\nx = 1. \n\ny = x.z()\n```"
    assert sentences(f"Run this. \n{code}\nThen stop.") == ["Run this.", code, "Then stop."]


@given(st.text())
def test_no_character_but_white_space_is_lost(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
