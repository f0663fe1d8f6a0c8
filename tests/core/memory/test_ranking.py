"""The turns that a question needs come first, with vectors and without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.embeddings import default_embedder
from tokenwise_core.memory.index import RecallIndex, Turn
from tokenwise_core.memory.ranking import Cues, fill, rank

CHAT = [
    ("Ann", "Hi Bob! How was your weekend?", 0, "6 May 2023"),
    ("Bob", "Great. I went fishing with my brother at the lake.", 0, "6 May 2023"),
    ("Ann", "Nice! Did you catch anything?", 0, "6 May 2023"),
    ("Bob", "Two trout. We fried them over the fire.", 0, "6 May 2023"),
    ("Ann", "Big news, Bob: I adopted two kittens from the shelter.", 1, "20 June 2023"),
    ("Bob", "Lovely! What are they called?", 1, "20 June 2023"),
    ("Ann", "Miso and Soba. They already broke a vase.", 1, "20 June 2023"),
    ("Bob", "Oh no. Ann, was it the one from Lisbon?", 1, "20 June 2023"),
    ("Ann", "Luckily another one. My physician says I'm allergic to penicillin, by the way.", 2, "1 July 2023"),
    ("Bob", "Good to know. Talk soon!", 2, "1 July 2023"),
]


def index(*, embedded: int = len(CHAT)) -> RecallIndex:
    built = RecallIndex()
    for speaker, text, segment, at in CHAT:
        built.add(Turn(text=text, speaker=speaker, segment=segment, at=at))
    waiting = built.missing(embedded)
    if waiting:
        built.put_vectors(waiting, default_embedder().embed(list(waiting.values())))
    return built


def best(built: RecallIndex, query: str, *, dense: bool = True, **options: object) -> list[int]:
    vectors = default_embedder().embed(built.to_embed(query)) if dense else None
    scores = rank(built, query, vectors, **options).scores  # type: ignore[arg-type]
    return np.argsort(-scores, kind="stable").tolist()


@pytest.mark.parametrize(
    ("query", "turn"),
    [
        ("What did Bob do at the lake?", 1),
        ("What are the names of Ann's cats?", 6),
        ("Which pets did Ann adopt?", 4),
        ("Which medicine must the doctor not give Ann?", 8),
    ],
)
def test_the_turn_that_answers_is_among_the_first_two(query: str, turn: int) -> None:
    assert turn in best(index(), query)[:2]


def test_the_answer_to_a_question_is_found_through_its_neighbours() -> None:
    assert 3 in best(index(), "What did Bob catch when fishing?")[:3]


def test_without_vectors_words_decide_and_the_ranking_says_so() -> None:
    query = "Where was the vase from?"
    assert not rank(index(), query).dense
    assert not rank(index(embedded=0), query, default_embedder().embed([query])).dense
    assert rank(index(), query, default_embedder().embed([query])[0]).dense
    assert best(index(embedded=0), query)[0] == 6


def test_turns_still_without_a_vector_are_found_by_their_words() -> None:
    built = index(embedded=5)
    assert 8 in best(built, "Is Ann allergic to penicillin?")[:2]


def test_only_the_turns_asked_for_are_ranked() -> None:
    query = "What are the names of Ann's kittens?"
    mask = np.zeros(len(CHAT), np.bool_)
    mask[:3] = True
    for among in (range(3), mask, [2, 0, 1]):
        scores = rank(index(), query, among=among).scores
        assert np.isfinite(scores[:3]).all()
        assert (scores[3:] == -np.inf).all()
    nothing = rank(index(), query, among=range(0))
    assert (nothing.scores == -np.inf).all()
    assert rank(RecallIndex(), query).scores.shape == (0,)


def test_the_named_speakers_turns_come_before_those_that_address_them() -> None:
    query = "What did Ann say about Lisbon's vase?"
    with_cue, without = (rank(index(), query, cues=Cues(speaker=weight)).scores for weight in (0.35, 0.0))
    raised = with_cue - without
    assert raised == pytest.approx([0.35 if speaker == "Ann" else 0 for speaker, *_ in CHAT], abs=1e-5)


def test_a_very_long_query_still_finds_its_turn() -> None:
    query = " ".join(f"nothing{i} of word{i}" for i in range(2000)) + " penicillin"
    assert best(index(), query, dense=False)[0] == 8


def test_a_date_in_the_question_lifts_the_sitting_of_that_date() -> None:
    assert {CHAT[i][2] for i in best(index(), "What happened on July 1, 2023?", dense=False)[:2]} == {2}


def test_a_turn_that_only_asks_yields_to_one_that_tells() -> None:
    built = RecallIndex()
    built.add(Turn(text="Is the violin yours?", speaker="Ann"))
    built.add(Turn(text="The violin is mine.", speaker="Bob"))
    scores = rank(built, "violin").scores
    assert scores[1] > scores[0]


def test_the_fill_passes_over_what_does_not_fit_and_keeps_the_order_of_the_talk() -> None:
    scores = np.array([0.1, 0.9, 0.8, 0.7, -np.inf], np.float32)
    assert fill(scores, [5, 5, 50, 5, 1], 15) == (0, 1, 3)
    assert fill(scores, [5, 5, 50, 5, 1], 4) == ()
    assert fill(np.zeros(0, np.float32), [], 10) == ()


def test_a_sittings_heading_is_paid_once() -> None:
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    options = {"segments": [0, 1, 0], "heading_tokens": [4, 4, 4]}
    assert fill(scores, [5, 5, 5], 14, **options) == (0, 2)
    assert fill(scores, [5, 5, 5], 18, **options) == (0, 1)


@given(
    st.lists(
        st.tuples(st.floats(-1, 1, width=32), st.integers(1, 30), st.integers(0, 3), st.integers(0, 9)), max_size=25
    ),
    st.integers(0, 200),
)
def test_what_is_filled_never_exceeds_the_budget(turns: list[tuple[float, int, int, int]], budget: int) -> None:
    scores = np.array([turn[0] for turn in turns], np.float32)
    tokens, segments = ([turn[i] for turn in turns] for i in (1, 2))
    heading = {segment: max(h for _, _, s, h in turns if s == segment) for segment in set(segments)}
    kept = fill(scores, tokens, budget, segments=segments, heading_tokens=[heading[s] for s in segments])
    assert list(kept) == sorted(set(kept))
    assert sum(tokens[i] for i in kept) + sum(heading[s] for s in {segments[i] for i in kept}) <= budget
    left_out = min((tokens[i] + heading[segments[i]] for i in range(len(turns)) if i not in kept), default=None)
    used = sum(tokens[i] for i in kept) + sum(heading[s] for s in {segments[i] for i in kept})
    assert left_out is None or used + left_out > budget


@given(
    st.lists(st.integers(0, len(CHAT) - 1), min_size=1, max_size=12), st.sampled_from(["Miso", "", "Bob fish?", "🙂"])
)
def test_scores_are_finite_for_every_turn_whatever_was_said(turns: list[int], query: str) -> None:
    built = RecallIndex()
    for i in turns:
        speaker, text, segment, at = CHAT[i]
        built.add(Turn(text=text, speaker=speaker, segment=segment, at=at))
    assert np.isfinite(rank(built, query).scores).all()
