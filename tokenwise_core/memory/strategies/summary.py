"""`Summary` and `Hybrid`: what is old is summarised, what is new stays as it was said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tokenwise_core.flow import Flow
from tokenwise_core.memory.buffer import BlockSummary
from tokenwise_core.memory.economics import EPSILON
from tokenwise_core.memory.paying import is_above_target, pays
from tokenwise_core.memory.situation import Arranged, Situation
from tokenwise_core.memory.strategies.dropping import KEEP_MESSAGES, LOW_WATER, fitted, room
from tokenwise_core.memory.strategies.importance import Importance, Score
from tokenwise_core.memory.view import Block, View


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One running summary of all that is old; *recent_share* of the soft limit holds the newest messages verbatim.

    S1-17, S2-03; made behind the request, priced and pinned as `BlockSummary` does it, which costs less: its tail is
    shorter, and its summaries are frozen, not written anew.
    """

    recent_share: float = 0.6
    summary_tokens: int = 300
    epsilon: float = EPSILON

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "summary"

    def arrange(self, situation: Situation) -> Flow[Arranged]:
        """Summarise what is older than the recent share where that pays, or must be."""
        return self._inner(situation).arrange(situation)

    def summary(self, situation: Situation, block: Block) -> Flow[Mapping[str, Any] | None]:
        """Return the making of the summary of *block*."""
        return self._inner(situation).summary(situation, block)

    def _inner(self, situation: Situation) -> BlockSummary:
        tail = room(situation, self.recent_share)
        return BlockSummary(
            summary_tokens=self.summary_tokens, tail_tokens=tail, merge_at=1, epsilon=self.epsilon
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """From more than *after_turns* turns on what is old is summarised; before, the least important goes (S1-18).

    At the hard limit a summary that is ready is used, then the least important goes, at last what matters too: no model
    is waited for.
    """

    after_turns: int = 10
    recent_share: float = 0.6
    summary_tokens: int = 300
    score: Score | None = None
    low_water: float = LOW_WATER
    keep_messages: int = KEEP_MESSAGES
    epsilon: float = EPSILON
    _summary: Summary = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        inner = Summary(recent_share=self.recent_share, summary_tokens=self.summary_tokens, epsilon=self.epsilon)
        object.__setattr__(self, "_summary", inner)

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "hybrid"

    def arrange(self, situation: Situation) -> Flow[Arranged]:
        """Do as much of it as pays, and what must be."""
        conversation, view = situation.conversation, situation.view
        if view.pending or conversation.turns(len(conversation)) > self.after_turns:
            soft = replace(situation, limits=replace(situation.limits, max_tokens=None))
            arranged = yield from self._summary.arrange(soft)
        else:
            arranged = self._less(situation)
        cut = self._by_importance
        return fitted(situation, arranged, cut, low_water=self.low_water, keep=self.keep_messages)

    def summary(self, situation: Situation, block: Block) -> Flow[Mapping[str, Any] | None]:
        """Return the making of the summary of *block*."""
        return self._summary.summary(situation, block)

    def _by_importance(self, situation: Situation, room: int, keep: int) -> View:
        return Importance(score=self.score).cut(situation, room, keep)

    def _less(self, situation: Situation) -> Arranged:
        """Let the least important go where that pays."""
        view = situation.view
        if is_above_target(situation, view):
            done = self._by_importance(situation, room(situation, self.low_water), self.keep_messages)
            if done != view and pays(situation, done, epsilon=self.epsilon):
                return Arranged(view=done, reason="importance")
        return Arranged(view=view)
