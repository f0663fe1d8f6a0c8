"""How many tokens get the right component: labelled prompts through the frameworks' real chains, agents and engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import attribution_langchain, attribution_llamaindex
from benchmarks.labelled import Labelled

SHOWN = 4  # confusions named in the note


def figures(data: Path, *, full: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    rows = list(chain(attribution_langchain.prompts(), attribution_llamaindex.prompts()))
    accuracy, wrong = judge(rows)
    confusions = ", ".join(f"{name} {tokens:+}" for name, tokens in wrong.most_common(SHOWN))
    halves = {
        name: judge([row for row in rows if row.event.framework == name])[0] for name in ("langchain", "llamaindex")
    }
    return [
        {
            "area": "accounting", "key": "attribution.accuracy", "ours": round(accuracy, 4), "goal": 0.98, "must": 0.95,
            "unit": "share of tokens", "better": "higher", "peers": {}, "n": len(rows),
            "note": f"tags removed; langchain {halves['langchain']:.3f}, llamaindex {halves['llamaindex']:.3f}"
            + (f"; most booked too much: {confusions}" if confusions else ""),
        }
    ]  # fmt: skip


def judge(rows: Iterable[Labelled]) -> tuple[float, Counter[str]]:
    """Return the share of input tokens in the right component, and what got too many.

    A token counts as right where both sides agree: Σ min(ours, truth) ÷ Σ truth over all prompts and components.
    """
    right = total = 0
    wrong: Counter[str] = Counter()
    for row in rows:
        for component in set(row.truth) | {c for c in row.event.breakdown.tokens if not c.is_output}:
            ours, truth = row.event.breakdown[component], row.truth.get(component, 0)
            right += min(ours, truth)
            total += truth
            wrong[str(component)] += max(0, ours - truth)
    return (right / total if total else 0.0), +wrong
