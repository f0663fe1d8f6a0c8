"""`NoCut` and `Window`: everything within the hard limit, or the newest messages, cut in blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenwise_core.flow import Flow
from tokenwise_core.memory.cutting import cut_after, leaving, left_out
from tokenwise_core.memory.situation import Arranged, Situation
from tokenwise_core.memory.strategies.dropping import Dropping, fitted
from tokenwise_core.memory.view import View


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCut(Dropping):
    """Everything is sent; only at the hard limit the oldest messages go, down to *low_water* of it."""

    low_water: float = 0.75

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "no cut"

    def arrange(self, situation: Situation) -> Flow[Arranged]:
        """Fit the hard limit."""
        yield from ()
        arranged = Arranged(view=replace(situation.view, pending=None))
        limits = situation.limits
        only = replace(situation, limits=replace(limits, target=limits.max_tokens or limits.target))
        return fitted(only, arranged, self.cut, low_water=self.low_water, keep=self.keep_messages)

    def cut(self, situation: Situation, room: int, keep: int) -> View:
        """Return the newest messages that *room* holds."""
        return newest(situation, room, keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window(Dropping):
    """The newest messages, from a user's on; a note says how many are missing.

    The window moves in blocks: between the soft limit and *low_water* of it nothing moves. One that moves with each
    message breaks the provider's cached prefix each time: measured, that cost 1.4 to 4.5 × what sending everything
    costs. At least the *keep_messages* newest stay.
    """

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "window"

    def cut(self, situation: Situation, room: int, keep: int) -> View:
        """Return the newest messages that *room* holds."""
        return newest(situation, room, keep)


def newest(situation: Situation, room: int, keep: int) -> View:
    """Return the view with a tail of about *room* tokens, the last *keep* messages at least."""
    conversation = situation.conversation
    stop = cut_after(situation, tail=room, start=conversation.head)
    return left_out(situation, [unit for unit in leaving(situation, keep=keep) if unit.stop <= stop])
