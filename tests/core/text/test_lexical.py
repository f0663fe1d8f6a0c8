"""BM25 that grows with the conversation, over single texts and over windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.text.lexical import Lexical

CHAT = [
    "Ann: I adopted two kittens on 8 May 2023.",
    "Bob: Lovely! What are their names?",
    "Ann: Miso and Soba. My order AC-1234 of cat food came today.",
    "Bob: I was running late for work again.",
    "Ann: The bus was late too.",
]
WORDS = ["kitten", "dog", "run", "order", "late", "bus", "AC-1234", "4711", "Tokyo"]
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)


def index(texts: list[str]) -> Lexical:
    built = Lexical()
    built.add_all(texts)
    return built


def window_scores(built: Lexical, query: str, size: int) -> np.ndarray:
    return built.weighted_scores(dict.fromkeys(built.terms(query), 1.0), size=size)


def test_another_form_of_the_word_finds_the_text() -> None:
    assert index(CHAT).scores("who runs?").argmax() == 3
    assert index(CHAT).scores("Did she get a kitten?").argmax() == 0


@pytest.mark.parametrize("query", ["AC-1234", "order ac-1234?", "8 May", "2023", "'Soba'", "Ann's kittens"])
def test_codes_dates_numbers_and_names_stay_terms(query: str) -> None:
    assert index(CHAT).scores(query).max() > 0


def test_common_words_find_nothing() -> None:
    assert not index(CHAT).scores("What are you and I going to do with the?").any()


def test_a_rare_term_weighs_more_than_a_frequent_one() -> None:
    built = index(CHAT)
    assert built.rarity("miso") > built.rarity("late") > built.rarity("ann")
    assert (built.found_in("ann"), built.found_in("late"), built.found_in("nowhere")) == (3, 2, 0)
    assert built.positions("late").tolist() == [3, 4]
    assert built.positions("nowhere").tolist() == []


def test_a_window_scores_as_its_texts_joined_would() -> None:
    joined = [" ".join(CHAT[max(0, i - 1) : i + 2]) for i in range(len(CHAT))]
    query = "the names of the kittens, and who was late"
    assert window_scores(index(CHAT), query, 3) == pytest.approx(index(joined).scores(query), abs=1e-5)
    joined = [" ".join(CHAT[max(0, i - 2) : i + 3]) for i in range(len(CHAT))]
    assert window_scores(index(CHAT), query, 5) == pytest.approx(index(joined).scores(query), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Wir haben die Häuser gestrichen", "häuser"),
        ("я живу в Москве", "москве"),
        ("私は京都に住んでいます", "京都"),
        ("我住在北京的酒店", "北京"),
        ("J'ai réservé un hôtel à Besançon", "besançon"),
    ],
)
def test_other_languages_are_found_by_their_words(text: str, query: str) -> None:
    assert index([text, "I live in Leeds"]).scores(query).argmax() == 0
    assert index([text, "I live in Leeds"]).scores(query)[0] > 0


def test_an_empty_index_and_an_empty_query_score_nothing() -> None:
    assert Lexical().scores("kitten").shape == (0,)
    assert window_scores(Lexical(), "kitten", 5).shape == (0,)
    assert not index(CHAT).scores("").any()
    assert index([""]).scores("kitten").tolist() == [0]


@given(st.lists(SENTENCES, max_size=12), st.lists(SENTENCES, max_size=6), SENTENCES, st.data())
def test_cut_back_and_continued_is_as_if_the_rest_had_never_been(
    texts: list[str], others: list[str], query: str, data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(texts)))
    cut = index(texts)
    cut.truncate(kept)
    cut.add_all(others)
    fresh = index(texts[:kept] + others)
    assert len(cut) == len(fresh)
    for size in (1, 3, 5):
        assert window_scores(cut, query, size).tolist() == window_scores(fresh, query, size).tolist()


@given(st.lists(SENTENCES, min_size=1, max_size=12), SENTENCES)
def test_scores_are_finite_never_negative_and_one_a_text(texts: list[str], query: str) -> None:
    scores = index(texts).scores(query)
    assert scores.dtype == np.float32
    assert scores.shape == (len(texts),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
