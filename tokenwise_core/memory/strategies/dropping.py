"""What strategies that leave units out have in common: how much goes, when, and the note that stands for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenwise_core.flow import Flow
from tokenwise_core.memory.economics import EPSILON
from tokenwise_core.memory.fitting import fit
from tokenwise_core.memory.paying import is_above_target, over, pays
from tokenwise_core.memory.situation import Arranged, Situation
from tokenwise_core.memory.view import Block, View

LOW_WATER = 0.5
"""Share of a limit that a cut leaves: the next one is far, and all between find their prefix in the cache."""
KEEP_MESSAGES = 2
"""S1-15: at least the two newest messages stay (but for the hard limit)."""
_LEAST_ROOM = 4
"""The conversation has at least a fourth of the soft limit, however much stands before it."""

Cut = Callable[[Situation, int, int], View]
"""From a situation, the tokens that the conversation may take, and how many of its newest messages stay, to a view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropping:
    """What they are: a view is cut down to *low_water* of a limit, the *keep_messages* newest stay.

    Our own cost never exceeds (1 + *epsilon*) × that of sending everything, but for the hard limit.
    """

    low_water: float = LOW_WATER
    keep_messages: int = KEEP_MESSAGES
    epsilon: float = EPSILON

    @property
    def name(self) -> str:
        """What it is called in reports."""
        raise NotImplementedError

    def cut(self, situation: Situation, room: int, keep: int) -> View:
        """Return the view cut down so that the conversation takes *room* tokens; the last *keep* messages stay."""
        raise NotImplementedError

    def arrange(self, situation: Situation) -> Flow[Arranged]:
        """Cut where that pays above the soft limit, and in any case above the hard one."""
        yield from ()  # nothing is asked; all is computed where the flow is driven
        situation = replace(situation, view=replace(situation.view, pending=None))
        view, reason = situation.view, ""
        if is_above_target(situation, view):
            done = self.soft(situation)
            reason = self.name if done != view else ""
            view = done
        arranged = Arranged(view=view, reason=reason)
        return fitted(situation, arranged, self.cut, low_water=self.low_water, keep=self.keep_messages)

    def soft(self, situation: Situation) -> View:
        """Return the view cut where that pays; as it is where not."""
        done = self.cut(situation, room(situation, self.low_water), self.keep_messages)
        return done if done != situation.view and pays(situation, done, epsilon=self.epsilon) else situation.view

    def summary(self, situation: Situation, block: Block) -> Flow[Mapping[str, Any] | None]:
        """Return nothing: no model is asked."""
        yield from ()
        return None


def fitted(
    situation: Situation, arranged: Arranged, cut: Cut, *, low_water: float, keep: int = KEEP_MESSAGES
) -> Arranged:
    """Return what fits the hard limit: ever less is kept, then results are shortened; the notes say what could not be.

    What fits already is returned as it is.
    """
    view, limit = arranged.view, situation.limits.max_tokens
    if limit is None or not over(situation, view):
        return arranged
    hard = int(low_water * max(limit / situation.scale - situation.fixed, 0))
    left = min(room(situation, low_water), hard)
    while over(situation, view):
        view = cut(replace(situation, view=view), left, keep)
        if left == keep == 0:
            break
        left, keep = left // 2, keep if left else 0
    view, notes = fit(replace(situation, view=view), list(arranged.notes))
    reasons = [arranged.reason] if view == arranged.view else [arranged.reason, "hard limit"]
    return replace(arranged, view=view, reason=", ".join(filter(None, reasons)), notes=tuple(notes))


def room(situation: Situation, low_water: float) -> int:
    """Return the tokens that a cut leaves to the conversation, by our counts."""
    limit = situation.limits.target / situation.scale
    return int(low_water * max(limit - situation.fixed, limit / _LEAST_ROOM))
