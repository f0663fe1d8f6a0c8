"""The last resort of a hard limit: what may not be cut out is shortened where it is a tool's result."""

from __future__ import annotations

from dataclasses import replace

from tokenwise_core.memory.plan import Keep
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.swaps import fitting
from tokenwise_core.memory.view import View

LEAST_TOKENS = 60
"""Results are shortened to no less: the head says what it was."""


def fit(situation: Situation, notes: list[str]) -> tuple[View, list[str]]:
    """Return the view with the tools' results that it shows shortened, the oldest first, until the context fits.

    *notes* gain what was done, and by how much the context exceeds the limit where nothing helps.
    """
    view, limit = situation.view, situation.limits.max_tokens
    over = _over(situation, view)
    if limit is None or over <= 0:
        return view, notes
    shortened = 0
    for position in _results(situation, view):
        tokens = situation.conversation.tokens(position, position + 1)
        if over <= 0:
            break
        kept = max(LEAST_TOKENS, tokens - over - LEAST_TOKENS)
        view = replace(view, swapped={**view.swapped, position: fitting(kept)})
        shortened += 1
        over = _over(situation, view)
    if shortened:
        notes = [*notes, f"{shortened} tool results of this turn were shortened to fit the context"]
    if over > 0 and view.slot is not None and view.slot.text:
        view = replace(view, slot=replace(view.slot, text="", tokens=0, positions=()))
        notes = [*notes, "what was recalled for this turn was left out to fit the context"]
        over = _over(situation, view)
    if over > 0:
        notes = [*notes, f"the context exceeds max_tokens by {over}: what may not be cut is larger than that"]
    return view, notes


def _over(situation: Situation, view: View) -> int:
    return situation.total(situation.plan(view)) - (situation.limits.max_tokens or 0)


def _results(situation: Situation, view: View) -> list[int]:
    """Return the positions of tools' results that are shown whole and long enough to be shortened."""
    conversation = situation.conversation
    shown = (at for part in situation.plan(view).parts if isinstance(part, Keep) for at in range(part.start, part.stop))
    return [
        at
        for at in shown
        if conversation.messages[at].role == "tool" and conversation.tokens(at, at + 1) > 2 * LEAST_TOKENS
    ]
