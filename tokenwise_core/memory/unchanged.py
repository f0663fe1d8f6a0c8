"""A request for which nothing is decided: what a view shows already, or all there is."""

from __future__ import annotations

from dataclasses import replace

from tokenwise_core.memory.cutting import as_it_holds, whole
from tokenwise_core.memory.plan import Keep, Plan
from tokenwise_core.memory.request import Prepared, outcome_of
from tokenwise_core.memory.situation import Arranged, Situation
from tokenwise_core.memory.view import View
from tokenwise_core.usage.prompt_cache import PrefixReport


def unchanged(situation: Situation, *, reason: str = "", notes: tuple[str, ...] = ()) -> Prepared:
    """Return what the situation's view shows of the conversation as it is now."""
    conversation = situation.conversation
    held, _ = as_it_holds(situation.view, conversation)
    view = whole(replace(held, pending=None), conversation)
    return _prepared(situation, view, situation.plan(view), reason, notes)


def everything(situation: Situation, *, reason: str = "", notes: tuple[str, ...] = ()) -> Prepared:
    """Return all messages as they are."""
    conversation = situation.conversation
    plan = Plan(parts=(Keep(0, len(conversation)),), tokens=conversation.total)
    return _prepared(situation, View(), plan, reason, notes)


def _prepared(situation: Situation, view: View, plan: Plan, reason: str, notes: tuple[str, ...]) -> Prepared:
    return Prepared(
        outcome=outcome_of(situation, Arranged(view=view, reason=reason, notes=notes), plan),
        view=view,
        situation=situation,
        prefix=PrefixReport(stable_tokens=0, total_tokens=situation.fixed + plan.tokens),
    )
