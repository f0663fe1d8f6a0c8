"""Rankings put together by score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tokenwise_core.text.fusion import fused, min_max


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_scores_are_stretched_to_zero_and_one() -> None:
    assert min_max(row(2, 4, 3)).tolist() == [0, 1, 0.5]


def test_a_list_without_an_opinion_adds_nothing() -> None:
    assert min_max(row(7, 7)).tolist() == [0, 0]
    assert min_max(row()).tolist() == []


def test_fusion_keeps_how_far_apart_things_are() -> None:
    close, clear = row(1.0, 0.99, 0), row(0, 1, 0.1)
    assert fused([close, clear]).argmax() == 1
    assert fused([close, clear], [3, 1]).tolist() == pytest.approx([0.75, 0.9925, 0.025])


def test_a_weight_of_zero_is_as_if_the_list_were_not_there() -> None:
    assert fused([row(1, 2, 3), row(9, 1, 1)], [1, 0]).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("lists", "weights", "why"),
    [([], None, "nothing to fuse"), ([row(1, 2)], [1, 2], "1 lists"), ([row(1, 2)], [0], "more than 0")],
)
def test_what_cannot_be_fused_says_why(lists: list[np.ndarray], weights: list[float] | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fused(lists, weights)


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(-1e6, 1e6, width=32)))
def test_stretching_keeps_the_order_and_the_bounds(scores: np.ndarray) -> None:
    stretched = min_max(scores)
    assert ((stretched >= 0) & (stretched <= 1)).all()
    assert (np.diff(stretched[np.argsort(scores, kind="stable")]) >= 0).all()
