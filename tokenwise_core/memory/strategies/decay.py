"""`Decay`: messages fade with age, the unimportant sooner; of what has faded a line is left."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import nsmallest

from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.cutting import least_first, leaving, left_out
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.strategies.dropping import Dropping
from tokenwise_core.memory.strategies.importance import rated
from tokenwise_core.memory.units import Unit
from tokenwise_core.memory.view import Range, View, evicting
from tokenwise_core.text.extractive import extract

LINE_TOKENS = 24
"""What is left of a faded message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decay(Dropping):
    """The units whose weight is least go first: importance × *rate* ^ age in turns; the newest messages stay.

    S4-11 kept each message with that probability, by chance, and the newest with .8 only; here the same history gives
    the same context. Of what went, the most important lines stand in its place, up to *summary_tokens*. Measured, decay
    by age is harmful: what is asked for later is seldom new (45 % of the evidence at a tenth of the tokens, even with
    similarity; without age 72 %). For facts that are true for a time only.
    """

    rate: float = 0.8
    summary_tokens: int = 300

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "decay"

    def cut(self, situation: Situation, room: int, keep: int) -> View:
        """Return the view without the lightest units, a few lines of theirs in their place."""
        conversation = situation.conversation
        lines = min(self.summary_tokens, room // 4)
        weights = _Weights(conversation, self.rate)
        ranked = sorted(leaving(situation, keep=keep), key=lambda unit: (weights.of(unit), unit.start))
        gone = least_first(situation, ranked, room - lines)
        evicted = evicting(situation.view.evicted, *((unit.start, unit.stop) for unit in gone))
        return left_out(situation, gone, _lines(situation, evicted, lines) if gone else "")


class _Weights:
    """What a unit weighs now: its importance, less with each turn of the user since."""

    def __init__(self, conversation: Conversation, rate: float) -> None:
        self._conversation, self._rate = conversation, rate
        self._turns = conversation.turns

    def of(self, unit: Unit) -> float:
        age = self._turns(len(self._conversation)) - self._turns(unit.start)
        return float((1 + rated(self._conversation, unit)) * self._rate**age)


def _lines(situation: Situation, evicted: tuple[Range, ...], most: int) -> str:
    """Return lines of the most important messages that are gone and in no model's summary, in their order."""
    conversation, count = situation.conversation, situation.count
    since = max((summary.stop for summary in situation.view.summaries if not summary.hidden), default=0)
    units = [unit for a, b in evicted for unit in conversation.units.between(max(a, since), b)]
    chosen: dict[int, str] = {}
    left = most
    tried = 2 * most // LINE_TOKENS
    for unit in nsmallest(tried, units, key=lambda unit: (-rated(conversation, unit), -unit.start)):
        if left < LINE_TOKENS:
            break
        line = _line(situation, unit)
        if line:
            chosen[unit.start] = line
            left -= count(line) + 1
    return "\n".join(line for _, line in sorted(chosen.items()))


def _line(situation: Situation, unit: Unit) -> str:
    """Return the most telling sentence of what user or assistant said in *unit*."""
    messages = situation.conversation.slice(unit.start, unit.stop)
    said = " ".join(message.text for message in messages if message.role in ("user", "assistant"))
    line = extract(said, max_tokens=LINE_TOKENS, count=situation.count).text.replace("\n", " ")
    if not line and said.strip():  # no sentence is that short
        line = f"{said.strip()[: 3 * LINE_TOKENS]}…"
    return f"{messages[0].role}: {line}" if line else ""
