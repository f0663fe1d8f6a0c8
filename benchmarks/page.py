"""The figures as a page of Markdown: `benchmarks/README.md`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

HEAD = """# Figures

Every claim, measured by `python -m benchmarks AREA [--data DIR] [--json FILE] [--quick] [--full]` beside its peers in
the same run. *floor* must hold, *goal* is what we are after; a share or an error is a fraction. The data is public and
read from DIR by the file names that its README gives; rows whose data is absent say so. Times are CPU time of one
thread unless the row says otherwise, and move with the machine: compare them with the peers beside them.

This page and [results/](results/) hold the last full run of each area. Write them anew with
`python -m benchmarks AREA --full --json benchmarks/results/AREA.json --page benchmarks/README.md`.
"""


def page(
    figures: Sequence[Mapping[str, Any]],
    versions: Mapping[str, str],
    *,
    number: Callable[[object], str],
    verdict: Callable[[Mapping[str, Any]], str],
) -> str:
    """Return the whole page."""
    lines = [HEAD]
    area = None
    for figure in figures:
        if figure["area"] != area:
            area = figure["area"]
            lines += [f"\n## {area.capitalize()}\n", "| figure | ours | floor | goal | stands | beside us | n |"]
            lines.append("|---|--:|--:|--:|---|---|--:|")
        peers = "; ".join(f"{name} {number(value)}" for name, value in figure.get("peers", {}).items()) or "–"
        lines.append(
            f"| `{figure['key']}` | {number(figure['ours'])} | {number(figure.get('must'))} "
            f"| {number(figure.get('goal'))} | {verdict(figure)} | {peers} | {number(figure.get('n'))} |"
        )
    lines += ["", "## Notes", ""]
    lines += [f"- `{figure['key']}`: {figure['note']}" for figure in figures if figure.get("note")]
    lines += ["", "## Measured with", "", ", ".join(f"{name} {version}" for name, version in versions.items()), ""]
    return "\n".join(lines)
