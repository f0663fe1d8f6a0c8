"""Run the benchmarks of one or more areas, print a table with the peers beside us, write JSON if asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.page import page

Figure = Mapping[str, Any]
RESULTS = Path(__file__).parent / "results"
AREAS: Mapping[str, Sequence[str]] = {
    "accounting": (
        "counting",
        "usage_invariants",
        "attribution",
        "handlers_langchain",
        "handlers_llamaindex",
        "storage",
    ),
    "cache": (
        "cache_streams",
        "cache_pairs",
        "cache_shapes",
        "cache_exact",
        "cache_index",
        "cache_storage",
        "cache_safety",
    ),
    "memory": ("memory_replay", "memory_locomo", "memory_orphans", "memory_sessions", "memory_latency"),
}
PACKAGES = (
    "tokenwise", "langchain-core", "langchain", "langgraph", "llama-index-core", "tiktoken", "genai-prices",
    "numpy", "SQLAlchemy", "faiss-cpu", "litellm", "tokencost", "gptcache",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    areas = list(AREAS) if "all" in arguments.areas else arguments.areas
    figures = [figure for area in areas for figure in _area(area, arguments)]
    print_table(figures, Console(width=None if sys.stdout.isatty() else 160))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"versions": versions(), "figures": figures}
        arguments.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if arguments.page:
        kept = [figure for area in AREAS if area not in areas for figure in _kept(area)]
        text = page([*kept, *figures], versions(), number=_number, verdict=verdict)
        arguments.page.write_text(text, encoding="utf-8")
    return 0  # a figure is reported as it is; the gate is the tests


def _kept(area: str) -> list[Figure]:
    """Return the figures of the last full run of an area that is not run now."""
    path = RESULTS / f"{area}.json"
    figures: list[Figure] = json.loads(path.read_text("utf-8"))["figures"] if path.exists() else []
    return figures


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("areas", nargs="+", choices=[*AREAS, "all"], metavar="AREA", help=", ".join([*AREAS, "all"]))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the public data")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--page",
        type=Path,
        help="write the figures to this Markdown page, with the last full run's of areas that are not run now",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds: a smoke test, no figures to quote")
    parser.add_argument(
        "--full",
        action="store_true",
        help="also the slow rows (a million events or entries, 200 kills, 100,000 histories)",
    )
    return parser.parse_args(argv)


def _area(area: str, arguments: argparse.Namespace) -> Iterator[Figure]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        for name in AREAS[area]:
            progress.add_task(f"{area}: {name}", total=None)
            began = time.perf_counter()
            figures: Callable[..., list[Figure]] = import_module(f"benchmarks.{name}").figures
            yield from figures(arguments.data, full=arguments.full, quick=arguments.quick)
            console.print(f"{area}: {name} took {time.perf_counter() - began:.1f} s", style="dim")


def verdict(figure: Figure) -> str:
    """Say how a figure stands to its floor and its goal."""
    ours, must, goal = figure["ours"], figure.get("must"), figure.get("goal")
    if ours is None:
        return "no data"
    if must is None:
        return "reported"
    sign = 1 if figure["better"] == "higher" else -1
    if sign * (ours - must) < 0:
        return "below the floor"
    return "goal reached" if goal is None or sign * (ours - goal) >= 0 else "floor held"


def print_table(figures: Sequence[Figure], console: Console) -> None:
    table = Table(title="Figures", show_lines=False)
    for column in ("figure", "ours", "floor", "goal", "stands", "n", "peers", "note"):
        table.add_column(
            column, overflow="fold", justify="right" if column in ("ours", "floor", "goal", "n") else "left"
        )
    for figure in figures:
        peers = ", ".join(f"{name}: {_number(value)}" for name, value in figure.get("peers", {}).items())
        table.add_row(
            figure["key"], _number(figure["ours"]), _number(figure.get("must")), _number(figure.get("goal")),
            verdict(figure), str(figure.get("n", "")), peers, figure.get("note", ""),
        )  # fmt: skip
    console.print(table)


def _number(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def versions() -> dict[str, str]:
    """Return what the figures were measured with."""
    found = {"python": platform.python_version(), "cpus": str(os.cpu_count()), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


if __name__ == "__main__":
    sys.exit(main())
