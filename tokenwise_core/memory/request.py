"""What adapters tell a memory of a request, and what they get for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tokenwise_core.flow import Flow
from tokenwise_core.memory.plan import Plan
from tokenwise_core.memory.situation import Arranged, Situation
from tokenwise_core.memory.view import Block, View
from tokenwise_core.outcome import Dropped, Outcome
from tokenwise_core.usage.prompt_cache import PrefixReport

When = Literal["background", "after_answer", "inline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a memory must know of a request beside its conversation.

    *fixed_tokens* stand before the conversation and are the same each time: system prompt, tools, answer format.
    *query* is what is asked, where that is known better than from the last user message. *summariser* says who makes
    summaries: "own" (the application's model, shown the conversation as last sent), "other", None (nobody: sentences
    of the conversation stand in); *summariser_price* is the price of its input in that of the model's.
    *offers_recall*: the model has a tool `recall(id)`, and shortened results say so.
    """

    fixed_tokens: int = 0
    model: str | None = None
    provider: str | None = None
    query: str | None = None
    summariser: Literal["own", "other"] | None = "own"
    summariser_price: float = 1.0
    offers_recall: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What is sent, and what is to be remembered for the next request.

    *outcome* holds the plan, *view* is to be kept (in the framework's state or the session store), *block* is what
    `answered` will have summarised by driving *made*, *settled* the one whose summary is in the plan from now on, or is
    no longer waited for.
    *prefix* compares the plan with the last one. *mark* is the source to be set on the tags of what the plan inserts:
    by it the saving is booked with the call.
    """

    outcome: Outcome[Plan]
    view: View
    situation: Situation
    prefix: PrefixReport
    mark: str | None = None
    block: Block | None = None
    settled: Block | None = None
    made: Flow[Any] | None = None

    @property
    def plan(self) -> Plan:
        """What the model is shown."""
        return self.outcome.result


def outcome_of(situation: Situation, arranged: Arranged, plan: Plan) -> Outcome[Plan]:
    """Return what was kept and left out, and why."""
    conversation = situation.conversation
    dropped = tuple(
        Dropped(
            position=start,
            tokens=conversation.tokens(start, stop),
            reason="summarised"
            if any(one.start < stop and start < one.stop for one in arranged.view.summaries if not one.is_note)
            else "left out",
        )
        for start, stop in arranged.view.evicted
    )
    return Outcome(
        result=plan,
        before=situation.full,
        after=situation.fixed + plan.tokens,
        dropped=dropped,
        reason=arranged.reason,
        notes=arranged.notes,
    )
