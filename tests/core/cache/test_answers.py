"""When two answers say the same."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.answers import AnswerSignature, same_answer, signature
from tokenwise_core.cache.entry import CachedAnswer

DIRECTIONS = {"near": (1.0, 0.05), "nearer": (1.0, 0.0), "between": (1.0, 0.72), "far": (0.2, 1.0)}


def sketch(direction: str):
    """An embedder that puts every text in one direction."""

    def embed(texts: Sequence[str]):
        row = np.array(DIRECTIONS[direction], dtype=np.float32)
        return np.stack([row / np.linalg.norm(row)] * len(texts))

    return embed


def said(text: str, direction: str | None = "nearer", **kwargs) -> AnswerSignature:
    return signature(CachedAnswer(text=text, **kwargs), None if direction is None else sketch(direction))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("card_arrival", "Card_Arrival."),
        ("42", "42.0"),
        ("1,000", "1000"),
        ('"Paris"', "paris"),
        ('{"a": 1, "b": [2]}', '```json\n{"b": [2], "a": 1}\n```'),
        ("The fee is waived for a year.", "the fee is  waived for a year"),
    ],
)
def test_spelling_and_form_make_no_other_answer(one, other):
    assert same_answer(said(one), said(other)) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("card_arrival", "card_delivery_estimate"),
        ("card arrival", "card delivery"),
        ("42", "43"),
        ("yes", "no"),
        ('{"a": 1}', '{"a": 2}'),
        ("SELECT 1", "SELECT 2"),
    ],
)
def test_labels_numbers_and_json_are_never_the_same_for_being_near(one, other):
    assert same_answer(said(one), said(other)) is False


STATEMENT = "The refund arrives within 5 days on your account."


def test_prose_is_the_same_where_it_lies_near_and_says_the_same_numbers():
    assert same_answer(said(STATEMENT), said("Within 5 days the refund is on your account.", "near")) is True


@pytest.mark.parametrize(
    "other",
    [
        "The refund arrives within 6 days on your account.",
        "The refund arrives within 5 days on your account, after ```wait()```.",
    ],
)
def test_prose_with_another_number_or_code_is_another_answer(other):
    assert same_answer(said(STATEMENT), said(other, "near")) is False


def test_two_names_in_each_others_place_make_another_answer():
    one, other = "Please ask Anna in the second office.", "Please ask Robert in the second office."
    assert same_answer(said(one), said(other, "near")) is False


def test_a_denial_is_never_the_same_as_what_it_denies():
    one, other = "You can cancel the order after shipping.", "You cannot cancel the order after shipping."
    assert same_answer(said(one), said(other, "near")) is None


def test_prose_in_between_and_prose_without_vectors_cannot_be_told():
    rephrased = "Within 5 days the refund is on your account."
    assert same_answer(said(STATEMENT), said(rephrased, "between")) is None
    assert same_answer(said(STATEMENT, None), said(rephrased, None)) is None
    assert same_answer(said(STATEMENT), said(rephrased, "far")) is False


def test_tool_calls_are_compared_by_what_they_call_not_by_their_ids():
    def call(argument: str, id: str):
        return said("", tool_calls=True, payload={"tool_calls": [{"id": id, "name": "book", "args": {"to": argument}}]})

    assert same_answer(call("Oslo", "1"), call("Oslo", "2")) is True
    assert same_answer(call("Oslo", "1"), call("Rome", "1")) is False


def test_only_prose_is_embedded():
    def refuse(texts):
        raise AssertionError("embedded")

    for text in ("card_arrival", "42", '{"a": 1}', ""):
        signature(CachedAnswer(text=text), refuse)


def test_a_signature_holds_no_text():
    stored = json.dumps(said("Please ask Anna about order 4711 in the second office.").to_json())
    assert not any(word in stored.lower() for word in ("anna", "4711", "office", "order"))


@given(st.text(), st.text())
def test_comparison_is_symmetric_reflexive_and_survives_json(one, other):
    a, b = said(one), said(other)
    assert same_answer(a, b) == same_answer(b, a)
    assert same_answer(a, a) is True
    assert AnswerSignature.from_json(json.loads(json.dumps(a.to_json()))) == a
