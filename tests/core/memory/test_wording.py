"""What wording tells: a question, whom it is about, a day, something concrete."""

from __future__ import annotations

import pytest

from tokenwise_core.memory.wording import (
    asked_in,
    concreteness,
    date_terms,
    in_their_words,
    is_question,
    question_share,
    speakers_named,
)


@pytest.mark.parametrize(
    "text",
    [
        "When did Ann move to Leeds?",
        "What was my order number again?!",
        'Who said "never again"?',
        "¿Dónde vivo?",
        "我住在哪里？",
        "Where did we stay in Rome? And who came along?",
    ],
)
def test_a_question_and_little_else_is_a_question(text: str) -> None:
    assert is_question(text)


@pytest.mark.parametrize(
    "text",
    ["", "I moved to Leeds.", "I moved to Leeds last year and love it here. You?", "Why not! Let's go.", "a ? b : c"],
)
def test_a_statement_is_none_even_with_a_question_in_it(text: str) -> None:
    assert not is_question(text)


def test_the_share_of_a_turn_that_asks_counts_characters() -> None:
    assert question_share("Fine. Good?") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("1:56 pm on 8 May, 2023", {"2023", "may", "d8"}),
        ("2023-05-08T13:56:00Z", {"2023", "may", "d8"}),
        ("on September 3rd", {"sep", "d3"}),
        ("in the spring of 2022", {"2022"}),
        ("I may take 8 of them; call 555-2023", set()),
        ("2023-13-45", {"2023"}),
        ("Mark and Janet, a junior mayor, read 2 novels; Decide!", set()),
        ("Sept 9 and 10 January", {"sep", "d9", "jan", "d10"}),
    ],
)
def test_dates_are_read_and_other_numbers_are_not(text: str, terms: set[str]) -> None:
    assert date_terms(text) == terms


@pytest.mark.parametrize(
    ("question", "theirs"),
    [
        ("What did Ann paint?", "What did I paint?"),
        ("Where does Ann's sister live, and does she visit her?", "Where does my sister live, and does I visit my?"),
        ("when did ann lee move", "when did I move"),
        ("What did Annabel paint?", "What did Annabel paint?"),
        ("Wann zog Ann nach Leeds?", "Wann zog Ann nach Leeds?"),
    ],
)
def test_a_question_is_put_in_the_words_of_whom_it_is_about(question: str, theirs: str) -> None:
    assert in_their_words(question, "Ann Lee") == theirs


def test_a_role_is_no_name() -> None:
    assert speakers_named("Which user talked to the assistant?", ["user", "assistant", "Assistant"]) == ()
    assert speakers_named("Did Ann call Bob?", ["Ann", "Bob", "Zoe"]) == ("Ann", "Bob")
    assert speakers_named("will it rain, Will?", ["Will"]) == ("Will",)
    assert speakers_named("will it rain?", ["Will"]) == ()
    assert speakers_named("where did ann go?", ["Ann"]) == ("Ann",)


def test_names_and_times_are_concrete_and_small_talk_is_not() -> None:
    assert concreteness("That's so great, thanks!") == 0
    assert concreteness("Yesterday I met Sara in Leeds.") > concreteness("Yesterday I met someone.") > 0
    assert concreteness("Last year, last month, last week, in May, Ann, the Bob, the Carl, the Dora, the Emil") == 1


def test_a_long_message_is_searched_by_its_questions() -> None:
    told = "We went to the coast in May and stayed for a week. " * 10
    assert (
        asked_in(f"{told}Where did we stay? {told}And who came along? Thanks!")
        == "Where did we stay? And who came along?"
    )
    assert asked_in("I moved to Leeds. Where did Ann go?") == "I moved to Leeds. Where did Ann go?"


@pytest.mark.parametrize("text", ["One sentence of many. " * 50, "no end " * 200, "why " * 200 + "?", "x" * 5_000])
def test_without_questions_that_fit_it_is_searched_by_its_end(text: str) -> None:
    found = asked_in(text)
    assert 0 < len(found) <= 200
    assert text.rstrip().endswith(found.rstrip())
