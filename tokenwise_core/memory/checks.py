"""What cannot be meant is refused where it is given, with what to give instead."""

from __future__ import annotations

from typing import Any

from tokenwise_core.errors import BadInput
from tokenwise_core.memory.economics import Rates
from tokenwise_core.memory.recall import Recall
from tokenwise_core.memory.tool_results import ToolResults
from tokenwise_core.tokens import TokenCounter

_TYPES: dict[str, tuple[type, str]] = {
    "recall": (Recall, "Recall(), or None for no recall"),
    "tool_results": (ToolResults, "ToolResults(max_tokens=2000), or None to leave them as they are"),
    "rates": (Rates, "Rates(read=0.1, write=1.25)"),
    "counter": (TokenCounter, "TokenCounter.for_model('gpt-5-mini')"),
}


def check_limits(target_tokens: Any, max_tokens: Any) -> None:
    """Refuse limits that are no numbers of tokens, or crossed."""
    if not isinstance(target_tokens, int) or target_tokens < 1:
        raise BadInput(f"target_tokens={target_tokens!r}: give the tokens above which to look for cuts, such as 8000")
    if max_tokens is None:
        return
    if not isinstance(max_tokens, int):
        raise BadInput(f"max_tokens={max_tokens!r}: give the tokens that are never exceeded, such as 32000")
    if max_tokens < target_tokens:
        raise BadInput(f"max_tokens={max_tokens} is below target_tokens={target_tokens}: the hard limit is the higher")


def check_parts(*, strategy: Any, pin: Any, **parts: Any) -> None:
    """Refuse parts of another kind."""
    if strategy is not None and not hasattr(strategy, "arrange"):
        raise BadInput(f"strategy is {strategy!r}: give one such as BlockSummary(); limits go by target_tokens=")
    if pin is not None and not callable(pin):
        raise BadInput(f"pin is {pin!r}: give a function of a Message that says whether it stays")
    for name, part in parts.items():
        kind, instead = _TYPES[name]
        if part is not None and not isinstance(part, kind):
            raise BadInput(f"{name} is {part!r}: give {instead}")


def check_way(summaries: Any, deadline_ms: Any) -> None:
    """Refuse a way to make summaries that does not exist, and a deadline that nothing meets."""
    if summaries not in ("background", "after_answer", "inline"):
        raise BadInput(f"summaries={summaries!r}: give 'background', 'after_answer' or 'inline'")
    if not deadline_ms > 0:
        raise BadInput(f"deadline_ms={deadline_ms}: give milliseconds above 0")
