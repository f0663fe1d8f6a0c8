from __future__ import annotations

import io

import pytest
from rich.console import Console

from tokenwise_core.analytics.formats import rich_table
from tokenwise_core.analytics.tables import Table

COLUMNS = ("component", "tokens", "share", "from cache", "cost", "of cost")
ROW = ("retrieved context", "20,000", "46.8 %", "16,000", "$0.0000789", "19.7 %")


def lines(width: int, *names: str) -> list[str]:
    table = Table(title="Where", columns=COLUMNS, rows=[(name, *ROW[1:]) for name in names], sums=[("total", *ROW[1:])])
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(rich_table(table))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_names_stay_whole_on_any_width_and_nothing_runs_over(width: int) -> None:
    shown = lines(width, "retrieved context")
    assert any("retrieved context" in line and "20,000" in line for line in shown)
    assert max(map(len, shown)) <= width


def test_columns_without_room_are_named() -> None:
    assert "of cost" in lines(200, "history")[2]
    assert any(line.startswith("(no room for:") and "of cost" in line for line in lines(60, "retrieved context"))


def test_a_long_name_is_folded_before_a_column_goes() -> None:
    shown = lines(80, "n" * 90)
    assert not any("no room" in line for line in shown)
    assert sum(line.count("n" * 20) for line in shown) >= 3
    assert sum(line.count("n") for line in shown[4:-3]) == 90
