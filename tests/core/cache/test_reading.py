"""What is read in a question, whatever the question is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.reading import Reading, read


@given(st.text() | st.text(alphabet="aA1.,'\"`$%-/@_ ?\n’“é漢😀\ud800", max_size=200))
def test_any_text_is_read_and_comes_back_from_json_as_it_was(text):
    reading = read(text, protected=("a b", ".*", ""))
    assert Reading.from_json(json.loads(json.dumps(reading.to_json()))) == reading


def test_a_reading_of_another_version_is_read_without_what_is_unknown():
    stored = {**read("Where is my order?").to_json(), "mood": "curious"}
    assert Reading.from_json(stored) == read("Where is my order?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It costs $1.5 million", {"1500000 usd"}),
        ("It costs 1,000.50 euros", {"1000.5 eur"}),
        ("two thousand and five cars", {"2005"}),
        ("a hundred dollars and twenty-one cents", {"100 usd", "21 cent"}),
        ("one two three", {"2", "3", "1"}),
        ("the 2nd or the third", {"2nd", "3rd"}),
        ("between 8:30am and 8.30 pm", {"08:30", "20:30"}),
        ("half past 20:15", {"20:15"}),
        ("it is -3 degrees", {"-3 degree"}),
        ("this one, that one", set()),
        ("one month or one day", {"1 month"}),
        ("a dozen eggs", {"12"}),
        ("5k runs", {"5000"}),
        ("½ of ５", {"5"}),
    ],
)
def test_amounts_have_one_form_however_they_are_written(text, expected):
    assert read(text).numbers == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HP M605x", {"m605x"}),
        ("order #A-1001, please", {"a-1001"}),
        ("from v2 to v2.0.1.", {"v2", "v2.0.1"}),
        ("open ~/notes/To Do.md", {"~/notes/To", "Do.md"}),
        (r"in C:\Users\me\x.txt", {r"C:\Users\me\x.txt"}),
        ("see https://a.example/x?y=1.", {"https://a.example/x?y=1"}),
        ("mail Bob@Example.com!", {"bob@example.com"}),
        ("run `git push -f`", {"git push -f"}),
        ("what is 3 * 4", {"3*4"}),
        ("on 2024-05-01", {"2024-05-01"}),
        ("the years 2012/2013", {"2012/2013"}),
        ("½ of it", {"1/2"}),
        ("snake_case and C#", {"snake_case", "c#"}),
        ("and/or, e.g. the U.S.", set()),
    ],
)
def test_codes_paths_addresses_and_versions_are_identifiers(text, expected):
    assert read(text).identifiers == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Is Hillary Clinton well?", {"hillari", "clinton"}),
        ("Hillary Clinton is well", {"hillari", "clinton"}),
        ("how far is paris from the moon in july", {"paris", "juli"}),
        ("How Do I Reset My Password", set()),
        ("Where is my card? It is late.", set()),
        ("May I go?", set()),
    ],
)
def test_names_are_known_by_their_capital_or_by_being_places_and_dates(text, expected):
    assert read(text).entities == expected


@pytest.mark.parametrize(
    ("text", "negations"),
    [
        ("I can't pay", ("pay",)),
        ("I cant pay", ("pay",)),
        ("pay without a card", ("card",)),
        ("You can not not pay", ()),
        ("I don't know how to pay", ()),
        ("whether or not I pay", ()),
        ("not only cards", ()),
    ],
)
def test_a_negation_counts_where_it_denies_something(text, negations):
    assert read(text).negations == negations


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("How do I reset my password?", True),
        ("reset password", True),
        ("is there a café near me", True),
        ("", True),
        ("12345", True),
        ("¿Cómo puedo cambiar mi contraseña?", False),
        ("Wie kann ich mein Passwort ändern?", False),
        ("mot de passe oublié", False),
        ("как сменить пароль", False),
        ("パスワードを変更するには", False),
    ],
)
def test_english_is_told_from_other_languages(text, english):
    assert read(text).english is english


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "a ",
        "1-",
        "a@",
        "/a",
        "`a",
        "'a",
        '"a',
        "a.b",
        "kept by ",
        "did use to ",
        "one hundred ",
        "1 = 2 ",
        "was ",
        "Turkey ",
        "X. ",
        "-a ",
        "!(",
        "a - ",
        "*a ",
        "IT it ",
    ],
)
def test_a_very_long_text_is_read_in_one_pass(piece):
    text = piece * (60_000 // len(piece))  # a quadratic pattern would take minutes
    assert len(read(text).plain) <= 2 * len(text)


def test_the_folded_text_is_lower_case_words():
    assert read("What’s  the U.S. “tax”?\n").plain == "what is the usa tax"
