"""What must survive in a text is found: values of every kind, names, clauses that bind, quotations and code."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.text.spans import CLAUSES, KINDS, VALUES, Kind, spans


def found(text: str, *kinds: Kind) -> list[str]:
    return [span.text for span in spans(text, kinds or KINDS)]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("url", "See https://x.io/a?b=1&c=%20d, please", "https://x.io/a?b=1&c=%20d"),
        ("url", "(www.example.com/x)", "www.example.com/x"),
        ("url", "reach s3://bucket/key.", "s3://bucket/key"),
        ("email", "Mail bob.lee+x@mail.example.org!", "bob.lee+x@mail.example.org"),
        ("path", "in /etc/nginx/nginx.conf:", "/etc/nginx/nginx.conf"),
        ("path", "open C:\\Users\\bob\\notes.txt now", "C:\\Users\\bob\\notes.txt"),
        ("path", "src/main.py:12 fails", "src/main.py:12"),
        ("path", "edit pyproject.toml.", "pyproject.toml"),
        ("path", "./run and", "./run"),
        ("path", "~/notes", "~/notes"),
        ("amount", "for £10.90.", "£10.90"),
        ("amount", "for $1,204.50 today", "$1,204.50"),
        ("amount", "cost 300 EUR", "300 EUR"),
        ("amount", "about 5 % of", "5 %"),
        ("amount", "$3 million", "$3 million"),
        ("amount", "kostet 20 €", "20 €"),
        ("amount", "took 20 minutes", "20 minutes"),
        ("amount", "12 people came", "12 people"),
        ("amount", "5km away", "5km"),
        ("amount", "a 5-year plan", "5-year"),
        ("date", "on 2024-05-10T11:36:51Z", "2024-05-10T11:36:51Z"),
        ("date", "on May 7", "May 7"),
        ("date", "on 7 May 2023, I", "7 May 2023"),
        ("date", "at 8 May, 2023", "8 May, 2023"),
        ("date", "December 24th, 2022", "December 24th, 2022"),
        ("date", "since June 2021", "June 2021"),
        ("date", "the 3rd of March", "3rd of March"),
        ("date", "by 12/31/2024", "12/31/2024"),
        ("date", "in Q3 2024", "Q3 2024"),
        ("date", "May 3-5, 2024", "May 3-5, 2024"),
        ("date", "3 May '24 or", "3 May '24"),
        ("identifier", "Reservation ID: UHDAHF", "UHDAHF"),
        ("identifier", "call +49 170 1234567.", "+49 170 1234567"),
        ("identifier", "call (555) 123-4567", "(555) 123-4567"),
        ("path", "on \\\\srv\\share", "\\\\srv\\share"),
        ("number", "rated 4.5/5", "4.5/5"),
        ("amount", "pay USD 5k", "USD 5k"),
        ("time", "at 10:30 am", "10:30 am"),
        ("time", "at 3pm", "3pm"),
        ("time", "at 23:59:01.", "23:59:01"),
        ("identifier", "order ORD-1234.", "ORD-1234"),
        ("identifier", "I am sofia_kim_7287", "sofia_kim_7287"),
        ("identifier", "flight HAT084,", "HAT084"),
        ("identifier", "ticket #4711", "#4711"),
        ("identifier", "set MAX_TOKENS=5", "MAX_TOKENS"),
        ("identifier", "call getUserName()", "getUserName"),
        ("identifier", "commit 9f8e7d6c5b4a", "9f8e7d6c5b4a"),
        ("identifier", "v1.2.3 is out", "v1.2.3"),
        ("identifier", "use os.path.join", "os.path.join"),
        ("identifier", "pass --dry-run", "--dry-run"),
        ("identifier", "ask @bob", "@bob"),
        ("identifier", '{"id":"x_1"}', "x_1"),
        ("identifier", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ("number", "card 9725", "9725"),
        ("number", "all 1,234,567 of", "1,234,567"),
        ("number", "the 1990s", "1990s"),
        ("number", "open 24/7", "24/7"),
        ("number", "it was -3.5.", "-3.5"),
        ("number", "192.168.0.1", "192.168.0.1"),
        ("number", "有 42 个", "42"),
    ],
)
def test_a_value_is_found_whole_and_of_its_kind(kind: Kind, text: str, value: str) -> None:
    assert [(span.kind, span.text) for span in spans(text, VALUES) if span.kind == kind] == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "mind-blowing self-care",
        "e.g. this, i.e. that",
        "and/or",
        "McDonald and MacArthur",
        "Yes?! ... no",
        "GREAT! LOVE IT",
        "it's - so -",
    ],
)
def test_ordinary_words_are_no_values(text: str) -> None:
    assert found(text, *VALUES) == []


def test_the_numbers_of_a_list_are_no_values() -> None:
    assert found("1. Open the lid\n2. Add 3 eggs", *VALUES) == ["3 eggs"]


def test_the_most_specific_reading_wins() -> None:
    assert found("https://x.io/2024-05-10/ORD-1 on 2024-05-11 for $20", *VALUES) == [
        "https://x.io/2024-05-10/ORD-1",
        "2024-05-11",
        "$20",
    ]


def test_words_joined_by_a_slash_are_read_one_by_one() -> None:
    assert found("HAT084/HAT229 ($80/$338)", *VALUES) == ["HAT084", "HAT229", "$80", "$338"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Yesterday I met Mel in New York.", ["Mel", "New York"]),
        ("Hey Caroline! Thanks Mel, see you.", ["Caroline", "Mel"]),
        ("He works at the Bank of America.", ["Bank of America"]),
        ("We saw Gina's studio and the NASA film.", ["Gina", "NASA"]),
        ("Painting is fun. Running too.", []),
        ("I think Monday is fine.", []),
        ("**Flight Number:** HAT084", []),
        ("New York is large.", ["New York"]),
    ],
)
def test_names_are_capitalised_words_that_do_not_merely_begin_a_sentence(text: str, names: list[str]) -> None:
    assert found(text, "name") == names


@pytest.mark.parametrize(
    ("kind", "text", "clause"),
    [
        ("decision", "Fine. We decided to use Postgres. Bye.", "We decided to use Postgres."),
        ("decision", "From now on write v2.1 in the log\nOk", "From now on write v2.1 in the log"),
        ("constraint", "You must not call it twice! Ok?", "You must not call it twice!"),
        ("constraint", "Hi. Don't ever delete the index; it is slow.", "Don't ever delete the index;"),
        ("constraint", "I prefer window seats", "I prefer window seats"),
        ("error", "ok\nKeyError: 'x' in a.py\nok", "KeyError: 'x' in a.py"),
        ("error", "The cause was a stale lock. Done.", "The cause was a stale lock."),
    ],
)
def test_clauses_that_bind_are_found_from_border_to_border(kind: Kind, text: str, clause: str) -> None:
    assert found(text, kind) == [clause]


@pytest.mark.parametrize(
    "text", ["That must have been awesome!", "I never knew.", "We'll keep going!", "Nice to see you"]
)
def test_small_talk_binds_nobody(text: str) -> None:
    assert found(text, *CLAUSES) == []


def test_quotations_code_and_json_are_ranges_with_their_values_inside() -> None:
    text = 'She said "see you at 5pm". Run `make x`:\n```py\nprint(1)\n```\n{"user": "x_1", "n": [1, 2]}'
    assert found(text, "quote")[0] == '"see you at 5pm"'
    assert found(text, "code") == ["`make x`", "```py\nprint(1)\n```", '{"user": "x_1", "n": [1, 2]}']
    assert {"5pm", "x_1"} <= set(found(text, *VALUES))


def test_only_the_kinds_that_are_asked_for_are_found() -> None:
    assert {span.kind for span in spans("Mel paid $20 on May 7.", {"amount"})} == {"amount"}


pieces = st.lists(
    st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["$20 ", "May 7, 2023", "a/b/c.py:1", "x_1", " 20 minutes", "10:30 am", "{[", '"', "`", "\n1. "]
        ),
    ),
    max_size=12,
).map("".join)


@given(pieces)
def test_spans_hold_the_text_that_they_say_and_never_overlap_within_a_kind(text: str) -> None:
    everything = spans(text)
    for span in everything:
        assert text[span.start : span.end] == span.text != ""
    values = [span for span in everything if span.kind in VALUES]
    for group in (values, *([s for s in everything if s.kind == kind] for kind in KINDS - VALUES)):
        assert all(a.end <= b.start for a, b in pairwise(group))


def test_a_long_text_without_borders_is_read_in_linear_time() -> None:
    for text in (
        "x" * 200_000,
        "A" * 200_000,
        "1" * 200_000,
        "a." * 100_000,
        "/" * 200_000,
        "{[" * 50_000,
        "ab@" * 60_000,
    ):
        spans(text)
