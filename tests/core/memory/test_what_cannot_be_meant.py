from __future__ import annotations

from collections.abc import Callable

import pytest

from tokenwise_core import BadInput
from tokenwise_core.memory import BlockSummary, Memory, Rates, Recall, ToolResults


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: Memory(4000), "target_tokens="),  # type: ignore[arg-type]
        (lambda: Memory(recall=True), "Recall()"),  # type: ignore[arg-type]
        (lambda: Memory(tool_results=True), "ToolResults("),  # type: ignore[arg-type]
        (lambda: Memory(pin="x"), "a function"),  # type: ignore[arg-type]
        (lambda: Memory(target_tokens=0), "such as 8000"),
        (lambda: Memory(target_tokens=9_000, max_tokens=8_000), "the hard limit is the higher"),
        (lambda: Memory(summaries="later"), "'background'"),  # type: ignore[arg-type]
        (lambda: Memory(deadline_ms=0), "above 0"),
        (lambda: Recall(when="sometimes"), "'questions'"),  # type: ignore[arg-type]
        (lambda: Recall(share=25), "0…1"),
        (lambda: BlockSummary(epsilon=-1), "epsilon"),
        (lambda: Rates(read=-1), "not below 0"),
        (lambda: ToolResults(max_tokens=10), "at least"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_give_instead(make: Callable[[], object], remedy: str) -> None:
    with pytest.raises(BadInput, match=remedy.replace("(", "[(]").replace(")", "[)]")):
        make()
