"""Where a text's tokens go (S1-03), and what a prompt adds up to (S1-01)."""

from __future__ import annotations

import pytest

from tokenwise_core.tokens import analyze_tokenization, project
from tokenwise_core.usage.components import CountSource


def test_common_words_are_cheap_and_rare_ones_dear() -> None:
    common = analyze_tokenization("the weather is good today", "gpt-4o")
    rare = analyze_tokenization("pneumonoultramicroscopicsilicovolcanoconiosis", "gpt-4o")
    assert common.efficiency_score > rare.efficiency_score
    assert common.inefficient_tokens == ()


def test_an_analysis_shows_each_piece() -> None:
    analysis = analyze_tokenization("The quick brown fox", "gpt-4o")
    assert analysis.tokens == ("The", " quick", " brown", " fox")
    assert (analysis.token_count, analysis.text_length, analysis.chars_per_token) == (4, 19, 4.75)
    assert analysis.efficiency_score == pytest.approx(4.75 / 4)
    assert analysis.source is CountSource.EXACT


def test_a_model_without_a_published_tokeniser_is_analysed_as_an_estimate() -> None:
    assert analyze_tokenization("Hello", "claude-sonnet-4-5").source is CountSource.ESTIMATED


def test_an_empty_text_has_no_tokens_and_no_density() -> None:
    empty = analyze_tokenization("")
    assert (empty.token_count, empty.chars_per_token, empty.efficiency_score) == (0, 0.0, 0.0)


def test_the_seeds_example_adds_up() -> None:
    projected = project(5_000, requests_per_day=1_000_000)
    assert (projected.per_day, projected.per_month) == (5_000_000_000, 150_000_000_000)
    assert projected.per_year == 365 * projected.per_day
