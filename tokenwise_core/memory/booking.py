"""What a request saved, announced to the ledger before it is sent."""

from __future__ import annotations

from tokenwise_core.memory.economics import Account
from tokenwise_core.memory.plan import Keep, Plan
from tokenwise_core.memory.situation import Arranged, Situation
from tokenwise_core.usage.noted import Announced, announce


def announced(strategy: str, situation: Situation, arranged: Arranged, plan: Plan, after: Account) -> str | None:
    """Announce what this request saves, and return its mark; None where nothing of ours is in it to bear one."""
    if all(isinstance(part, Keep) for part in plan.parts):
        return None
    before = arranged.view.account
    overhead = after.unbooked  # a summary is begun before anything is there to bear a mark
    return announce(
        Announced(
            lever="memory",
            would_send=situation.full,
            sends=situation.fixed + plan.tokens,
            would_cost=after.everything - before.everything,
            costs=after.ours - before.ours,
            overhead_output=round(overhead / max(situation.rates.output, 1.0)),
            overhead_cost=overhead,
            reason=arranged.reason or strategy,
        )
    )
