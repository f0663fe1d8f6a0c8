"""The index of a conversation's turns: words at once, vectors when they come, cut back and continued."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.memory.index import RecallIndex, Turn

TEXTS = [
    "I adopted two kittens yesterday.",
    "Lovely! What are their names?",
    "Miso and Soba.",
    "Do they like the balcony?",
    "They sleep there all day.",
    "Our order AC-1234 is late.",
]
rng = np.random.default_rng(5)


def unit_rows(count: int, dimension: int = 8) -> np.ndarray:
    rows = rng.normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def index(texts: list[str] = TEXTS) -> RecallIndex:
    built = RecallIndex()
    for i, text in enumerate(texts):
        built.add(Turn(text=text, speaker=("Ann", "Bob")[i % 2], segment=i // 3, at=f"{8 + i // 3} May 2023"))
    return built


def test_a_turn_is_found_by_its_words_before_it_has_a_vector() -> None:
    assert index().lexical.scores("Which kitten did Ann adopt?").argmax() == 0
    assert list(index().missing()) == list(range(6))
    assert not index().embedded.any()


def test_what_is_missing_shrinks_as_vectors_come_in_any_order() -> None:
    built = index()
    waiting = built.missing()
    late = {position: waiting[position] for position in (4, 1)}
    built.put_vectors(late, unit_rows(2))
    assert list(built.missing()) == [0, 2, 3, 5]
    assert list(built.missing(limit=2)) == [0, 2]
    assert built.embedded.tolist() == [False, True, False, False, True, False]


def test_a_window_is_as_similar_as_the_mean_of_its_vectors() -> None:
    built, rows, query = index(), unit_rows(6), unit_rows(1)[0]
    built.put_vectors(built.missing(), rows)
    found = built.similarities(query)
    assert found[1] == pytest.approx(rows @ query, abs=1e-5)
    for size in (3, 5):
        half = size // 2
        means = np.stack([rows[max(0, i - half) : i + half + 1].mean(axis=0) for i in range(6)])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        assert found[size] == pytest.approx(means @ query, abs=1e-5)


def test_a_turn_replaced_while_it_was_being_embedded_keeps_no_vector_of_the_old_one() -> None:
    built = index()
    waiting = built.missing()
    built.truncate(4)
    built.add(Turn(text="Something else now.", speaker="Ann"))
    built.put_vectors(waiting, unit_rows(6))
    assert built.missing() == {4: "Something else now."}
    assert built.embedded.tolist() == [True, True, True, True, False]


def test_vectors_of_another_model_are_refused() -> None:
    built = index()
    built.put_vectors({0: TEXTS[0]}, unit_rows(1, 8))
    with pytest.raises(ValueError, match="one embedder"):
        built.put_vectors({1: TEXTS[1]}, unit_rows(1, 16))


def test_what_a_turn_tells_is_kept_by_position() -> None:
    built = index()
    assert built.segments.tolist() == [0, 0, 0, 1, 1, 1]
    assert built.question_shares[0] == 0
    assert built.question_shares[3] == 1
    assert built.said_by("Bob").tolist() == [False, True, False, True, False, True]
    assert not built.said_by("Zoe").any()
    assert built.dated("What happened on May 9, 2023?").tolist() == pytest.approx([2 / 3] * 3 + [1] * 3)
    assert not built.dated("What may have happened?").any()


def test_a_question_about_one_speaker_is_also_searched_in_their_words() -> None:
    assert index().to_embed("What did Ann call her kittens?") == (
        "What did Ann call her kittens?",
        "What did I call my kittens?",
    )
    assert index().to_embed("What did Ann and Bob order?") == ("What did Ann and Bob order?",)
    assert index().to_embed("Where is the order?") == ("Where is the order?",)


def test_an_index_can_be_copied_and_pickled() -> None:
    built = index()
    built.put_vectors(built.missing(3), unit_rows(3))
    for other in (copy.deepcopy(built), pickle.loads(pickle.dumps(built))):
        assert other.missing() == built.missing()
        assert other.lexical.scores("kitten").tolist() == built.lexical.scores("kitten").tolist()


@given(st.lists(st.sampled_from(TEXTS), max_size=9), st.lists(st.sampled_from(TEXTS), max_size=9), st.data())
def test_cut_back_and_continued_is_as_if_the_rest_had_never_been(
    texts: list[str], others: list[str], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(texts)))
    vectors = {text: row for text, row in zip(TEXTS, unit_rows(6), strict=True)}  # noqa: C416
    cut, fresh = index(texts), index(texts[:kept])
    cut.put_vectors(cut.missing(), np.array([vectors[text] for text in texts], np.float32).reshape(-1, 8))
    cut.truncate(kept)
    for built in (cut, fresh):
        for text in others:
            built.add(Turn(text=text, speaker="Bob", segment=9))
        waiting = built.missing()
        built.put_vectors(waiting, np.array([vectors[text] for text in waiting.values()], np.float32).reshape(-1, 8))
    assert len(cut) == len(fresh) == kept + len(others)
    query = unit_rows(1)[0]
    for size, similar in fresh.similarities(query).items():
        assert cut.similarities(query)[size] == pytest.approx(similar, abs=1e-5)
    assert cut.segments.tolist() == fresh.segments.tolist()
    assert cut.embedded.all()
