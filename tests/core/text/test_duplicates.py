"""Near-duplicates: what may go because an earlier text says it, and what may not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.text.duplicates import near_duplicates

LONG = (
    "The night train from Vienna to Rome leaves from platform nine of the main station, and the sleeping car is at the "
    "very end of it, so passengers should come early and bring their own water and something to eat on the way"
)


def test_a_text_points_to_the_earlier_one_that_it_repeats() -> None:
    assert near_duplicates([LONG, "Something else.", LONG]) == [None, None, 0]


def test_case_blanks_and_a_word_more_make_no_other_text() -> None:
    assert near_duplicates([LONG, LONG.upper().replace(" ", "  "), f"{LONG} anyway"]) == [None, 0, 0]


@pytest.mark.parametrize(
    ("said", "other"),
    [("platform nine", "platform 9"), ("leaves", "never leaves"), ("Rome", "Rome at 21:30"), ("water", "water (2 l)")],
)
def test_a_number_or_a_negation_more_makes_another_text(said: str, other: str) -> None:
    assert near_duplicates([LONG, LONG.replace(said, other)], 0.5) == [None, None]


def test_only_texts_that_stay_are_pointed_to() -> None:
    words = LONG.split()
    drifting = [" ".join(words[i:]) for i in range(6)]
    found = near_duplicates(drifting, 0.9)
    assert found[1] == 0
    assert all(found[earlier] is None for earlier in found if earlier is not None)


def test_short_texts_repeat_only_when_equal() -> None:
    assert near_duplicates(["Thanks!", "thanks !", "Thanks a lot!", ""]) == [None, 0, None, None]


def test_vectors_find_what_other_words_say() -> None:
    texts = ["We met in the spring.", "It was spring when we met.", "We met in spring 2021."]
    vectors = np.array([[1, 0], [0.99, 0.141], [0.99, 0.141]], dtype=np.float32)
    assert near_duplicates(texts) == [None, None, None]
    assert near_duplicates(texts, vectors=vectors) == [None, 0, None], "the last one has a year of its own"
    assert near_duplicates(texts, vectors=vectors, cosine=0.999)[1] is None


@pytest.mark.parametrize("threshold", [0, 1.5, -1])
def test_a_threshold_that_is_no_similarity_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        near_duplicates(["a"], threshold)


@given(
    st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join), max_size=12),
    st.sampled_from([0.3, 0.5, 0.8, 0.9, 1.0]),
)
def test_the_index_finds_what_comparing_all_with_all_finds(texts: list[str], threshold: float) -> None:
    def shingles(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(max(len(words) - 2, 1))}

    expected: list[int | None] = []
    for i, text in enumerate(texts):
        mine = shingles(text)
        similar = (
            j
            for j in range(i)
            if expected[j] is None
            and len(mine & shingles(texts[j])) >= (threshold - 1e-9) * len(mine | shingles(texts[j]))
        )
        expected.append(next(similar, None))
    assert near_duplicates(texts, threshold) == expected
