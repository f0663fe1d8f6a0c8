"""What a conversation holds and what is shown of it (S1-19)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.view import View


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


def usage_of(conversation: Conversation, view: View) -> MemoryUsage:
    """Return what *conversation* holds, and what *view* shows of it."""
    by_role: Counter[str] = Counter()
    for at, message in enumerate(conversation.messages):
        by_role[message.role] += conversation.tokens(at, at + 1)
    evicted = sum(conversation.tokens(start, stop) for start, stop in view.evicted)
    summaries = sum(summary.tokens for summary in view.summaries)
    shown = conversation.total - evicted + summaries
    slot = view.slot if view.slot is not None and view.slot.text else None
    behind = conversation.tokens(slot.turn, len(conversation)) if slot else 0  # the slot goes, and they move up
    return MemoryUsage(
        total_tokens=conversation.total,
        messages=len(conversation),
        by_role=dict(by_role),
        has_summary=any(not one.is_note for one in view.summaries),
        summaries=sum(not one.is_note for one in view.summaries),
        summary_tokens=summaries,
        shown_tokens=shown + (slot.tokens if slot else 0),
        stable_tokens=shown - behind,
        relative_cost=view.account.relative,
    )
