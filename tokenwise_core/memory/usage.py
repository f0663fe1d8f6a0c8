"""What a conversation holds and what is shown of it (S1-19)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.plan import Keep, Plan, Put, Swap
from tokenwise_core.memory.swaps import swap
from tokenwise_core.memory.tool_results import ToolResults
from tokenwise_core.memory.view import View, planned
from tokenwise_core.tokens import TokenCounter


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsage:
    """Tokens of a conversation.

    *total_tokens* of all its *messages*, *by_role* of them; *shown_tokens* is what the last request showed of them, and
    *summary_tokens* what summaries took of that. *stable_tokens* is the part from the beginning on that the next
    request will show unchanged, *relative_cost* what was spent for each unit that sending everything would have cost.
    """

    total_tokens: int = 0
    messages: int = 0
    by_role: Mapping[str, int] = field(default_factory=dict)
    has_summary: bool = False
    summaries: int = 0
    summary_tokens: int = 0
    shown_tokens: int = 0
    stable_tokens: int = 0
    relative_cost: float | None = None


class Shows(Protocol):
    """What decides how tools' results are shown: a `Memory`."""

    counter: TokenCounter
    tool_results: ToolResults | None


def usage_of(conversation: Conversation, view: View, memory: Shows) -> MemoryUsage:
    """Return what *conversation* holds, and what *view* shows of it by *memory*."""
    by_role: Counter[str] = Counter()
    for at, message in enumerate(conversation.messages):
        by_role[message.role] += conversation.tokens(at, at + 1)
    plan = _plan(conversation, view, memory)
    recalled = view.slot.text if view.slot is not None else ""
    stable = 0
    for part in plan.parts:
        if recalled and isinstance(part, Put) and part.text == recalled:
            break  # the slot goes, and what stands behind it moves up
        stable += conversation.tokens(part.start, part.stop) if isinstance(part, Keep) else part.tokens
    return MemoryUsage(
        total_tokens=conversation.total,
        messages=len(conversation),
        by_role=dict(by_role),
        has_summary=any(not one.is_note for one in view.summaries),
        summaries=sum(not one.is_note for one in view.summaries),
        summary_tokens=sum(summary.tokens for summary in view.summaries),
        shown_tokens=plan.tokens,
        stable_tokens=stable,
        relative_cost=view.account.relative,
    )


def _plan(conversation: Conversation, view: View, memory: Shows) -> Plan:
    count, tools = memory.counter.text, memory.tool_results or ToolResults()

    def shortened(position: int, kind: str) -> Swap:
        return swap(conversation, position, kind, count=count, tools=tools, offers_recall=False)

    return planned(view, conversation, swap=shortened)
