"""Tokens counted before the call against what providers reported, beside tokencost, litellm and langchain-core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks import counting_rows as recorded
from benchmarks.counting_peers import Count, offline_files, peers
from benchmarks.counting_rows import Row
from tokenwise_core.tokens import Calibration, TokenCounter, read_request

CALIBRATING = 5
"""The first rows of a folder: they calibrate and are not scored."""
Measure = Callable[[Sequence[float]], float]


def exact(errors: Sequence[float]) -> float:
    """Return the share of counts that are right to the token."""
    return sum(error == 0 for error in errors) / len(errors)


def typical(errors: Sequence[float]) -> float:
    return float(median(abs(error) for error in errors))


def average(errors: Sequence[float]) -> float:
    return float(mean(abs(error) for error in errors))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One judged figure: which rows, which measure, the floor and the goal."""

    key: str
    rows: Callable[[Row], bool]
    measure: Measure
    must: float
    goal: float
    better: str = "lower"
    calibrated: bool = False


FIGURES = (
    Figure(
        key="openai.messages.exact", rows=recorded.is_message_row, measure=exact, must=0.95, goal=0.97, better="higher"
    ),
    Figure(key="openai.tools.mean_error", rows=recorded.is_chat_tools_row, measure=average, must=0.025, goal=0.015),
    Figure(
        key="openai.tools.exact", rows=recorded.is_chat_tools_row, measure=exact, must=0.65, goal=0.80, better="higher"
    ),
    Figure(
        key="responses.tools.mean_error", rows=recorded.is_responses_tools_row, measure=average, must=0.06, goal=0.04
    ),
    Figure(
        key="claude.calibrated.median_error",
        rows=recorded.named("claude"),
        measure=typical,
        must=0.03,
        goal=0.02,
        calibrated=True,
    ),
    Figure(
        key="gemini.calibrated.median_error",
        rows=recorded.named("gemini"),
        measure=typical,
        must=0.03,
        goal=0.02,
        calibrated=True,
    ),
)


def figures(data_dir: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """Return the counting figures; every row takes microseconds, so *full* and *quick* change nothing."""
    rows = recorded.load(data_dir)
    if not rows:
        return [_absent(figure, data_dir) for figure in FIGURES]
    with offline_files():
        return [_measured(figure, rows) for figure in FIGURES]


def _measured(figure: Figure, rows: Sequence[Row]) -> dict[str, Any]:
    shown, left_out = recorded.select(rows, figure.rows)
    scored = calibrated_errors(shown) if figure.calibrated else [(row, _error(row, _ours(row))) for row in shown]
    errors = [error for _, error in scored]
    held_out = [error for row, error in scored if recorded.is_held_out(row)]
    note = (
        f"{left_out} rows left out for hidden context; rules were found on one half of the cassettes "
        "(answer schemas, parallel calls and first tools with the other half's residuals in sight)"
    )
    if held_out:
        note += f", the other half: {figure.measure(held_out):.4f} (n {len(held_out)})"
    beside, remarks = _beside(figure, [row for row, _ in scored])
    return {
        **_base(figure),
        "ours": figure.measure(errors) if errors else None,
        "peers": beside,
        "n": len(errors),
        "note": "; ".join([note, *remarks]),
    }


def calibrated_errors(rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """Return the errors of the later rows of each folder, after its first five have calibrated."""
    scored = []
    for folder in recorded.folders(rows):
        calibration = Calibration()
        for place, row in enumerate(folder):
            counter = TokenCounter.for_model(row["model"], calibration=calibration)
            counted = counter.count(read_request(row["request"], row["api"]))
            if place < CALIBRATING:
                counter.observe(counted, row["in"])
            else:
                scored.append((row, _error(row, counted.total)))
    return scored


def _ours(row: Row) -> int:
    return TokenCounter.for_model(row["model"]).count(read_request(row["request"], row["api"])).total


def _error(row: Row, tokens: int) -> float:
    return tokens / row["in"] - 1


def _beside(figure: Figure, rows: Sequence[Row]) -> tuple[dict[str, Any], list[str]]:
    """Return the peers' figures on the same rows, and what went wrong with them."""
    values: dict[str, Any] = {}
    remarks = []
    for name, count in peers().items():
        if isinstance(count, str) or not rows:
            values[name] = count if isinstance(count, str) else None
            continue
        errors, crashes = _peer_errors(count, rows)
        values[name] = figure.measure(errors)
        if crashes:
            remarks.append(f"{name} raised on {crashes} rows (counted as 0 tokens)")
    return values, remarks


def _peer_errors(count: Count, rows: Sequence[Row]) -> tuple[list[float], int]:
    errors, crashes = [], 0
    for row in rows:
        try:
            tokens = count(row["model"], read_request(row["request"], row["api"]))
        except Exception:  # whatever another package raises on a row is its result on that row
            tokens, crashes = 0, crashes + 1
        errors.append(_error(row, tokens))
    return errors, crashes


def _absent(figure: Figure, data_dir: Path) -> dict[str, Any]:
    missing = f"no recorded_usage/*.jsonl* in {data_dir.name or 'the data folder'}: {recorded.SOURCE}"
    return {**_base(figure), "ours": None, "peers": {}, "n": 0, "note": missing}


def _base(figure: Figure) -> dict[str, Any]:
    return {
        "area": "accounting",
        "key": figure.key,
        "goal": figure.goal,
        "must": figure.must,
        "unit": "fraction",
        "better": figure.better,
    }
