"""`Dedupe`: messages that say again what stands above are left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenwise_core.memory.cutting import leaving, whole
from tokenwise_core.memory.paying import over, pays
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.strategies.dropping import Dropping
from tokenwise_core.memory.strategies.window import newest
from tokenwise_core.memory.units import Unit
from tokenwise_core.memory.view import View, evicting
from tokenwise_core.text.duplicates import near_duplicates

LEAST_TOKENS = 24
"""Shorter messages are never repeats: "yes" answers another question each time."""
AMONG = 100
"""Units that are compared: the newest. All pairs that can be near are found in some 6 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dedupe(Dropping):
    """A message goes that is not new beside one that stays; order stays as it was (S2-11).

    Near are texts whose three-word shingles have a Jaccard similarity of *similarity*, with the same values and
    negations: to drop what says another thing is worse than to keep what is said twice. What was not sent yet goes at
    once; of what was, the later one, where breaking the prefix pays. At the hard limit the oldest messages go, too.
    Measured, chats hardly repeat themselves: little is gained, and nothing that is asked for later is lost.
    """

    similarity: float = 0.9
    keep_messages: int = 1

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "dedupe"

    def soft(self, situation: Situation) -> View:
        """Return the view without all repeats, or without the new ones, as far as that pays."""
        repeats = self._repeats(situation, self.keep_messages)
        unsent = [unit for unit in repeats if unit.start >= situation.view.length]
        for units in (repeats, unsent):
            done = self._without(situation, units)
            if units and pays(situation, done, epsilon=self.epsilon):
                return done
        return situation.view

    def cut(self, situation: Situation, room: int, keep: int) -> View:
        """Return the view without all repeats; where that does not fit, the newest messages."""
        view = self._without(situation, self._repeats(situation, keep))
        return newest(replace(situation, view=view), room, keep) if over(situation, view) else view

    def _without(self, situation: Situation, units: list[Unit]) -> View:
        """Return the view without *units*; no note: what they say is shown."""
        view = situation.view
        if not units:
            return view
        evicted = evicting(view.evicted, *((unit.start, unit.stop) for unit in units))
        return whole(replace(view, evicted=evicted), situation.conversation)

    def _repeats(self, situation: Situation, keep: int) -> list[Unit]:
        conversation = situation.conversation
        units = [
            unit
            for unit in leaving(situation, keep=keep)
            if unit.stop - unit.start == 1
            and unit.role in ("user", "assistant")
            and not conversation.messages[unit.start].media
            and conversation.tokens(unit.start, unit.stop) >= LEAST_TOKENS
        ][-AMONG:]
        texts = [conversation.messages[unit.start].text for unit in units]
        said = near_duplicates(texts, self.similarity)
        return [
            unit
            for unit, earlier in zip(units, said, strict=True)
            if earlier is not None and conversation.messages[units[earlier].start].role == unit.role
        ]
