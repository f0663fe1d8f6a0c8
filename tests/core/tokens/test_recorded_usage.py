"""The recordings, where they are at hand: the renderings must stay as good as they were found to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import counting
from benchmarks.counting_rows import SOURCE, load

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="module")
def figures() -> dict[str, float]:
    if not load(DATA):
        pytest.skip(f"needs {SOURCE} as recorded_usage/recorded_usage.jsonl.gz")
    return {figure["key"]: figure["ours"] for figure in counting.figures(DATA)}


@pytest.mark.parametrize(("key", "floor"), [("openai.messages.exact", 0.92), ("openai.tools.exact", 0.90)])
def test_the_share_of_exact_counts_holds(figures: dict[str, float], key: str, floor: float) -> None:
    assert figures[key] >= floor


@pytest.mark.parametrize(
    ("key", "ceiling"),
    [
        ("openai.tools.mean_error", 0.015),
        ("responses.tools.mean_error", 0.04),
        ("claude.calibrated.median_error", 0.02),
        ("gemini.calibrated.median_error", 0.02),
    ],
)
def test_errors_hold(figures: dict[str, float], key: str, ceiling: float) -> None:
    assert figures[key] <= ceiling


def test_without_the_data_every_figure_is_null_and_says_what_is_missing(tmp_path: Path) -> None:
    absent = counting.figures(tmp_path)
    assert len(absent) == len(counting.FIGURES)
    assert all(figure["ours"] is None and "recorded_usage" in figure["note"] for figure in absent)
