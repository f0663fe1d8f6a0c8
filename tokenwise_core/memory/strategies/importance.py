"""`Importance` and `Priority`: what matters least goes first, wherever it stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.cutting import least_first, leaving, left_out
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.strategies.dropping import Dropping
from tokenwise_core.memory.units import Unit
from tokenwise_core.memory.view import View
from tokenwise_core.messages import Message
from tokenwise_core.text.spans import Kind, spans

Score = Callable[[Message], float]

POINTS: Mapping[Kind, float] = {
    "error": 3, "decision": 3, "constraint": 3,
    "identifier": 2, "email": 2, "url": 2, "path": 2, "amount": 2, "date": 2,
    "time": 1, "number": 1, "code": 1, "quote": 1, "name": 0.5,
}  # fmt: skip
"""What each kind adds to a message's importance: errors and decisions first, as in S4-06, then values."""
_AT_MOST = 3
"""Of one kind no more count: a table is not ten times as important as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance(Dropping):
    """The least important units go first, the older of two; a note says how many are missing.

    *score* rates a message: by default its errors, decisions, constraints, identifiers and numbers. Measured, such
    scores keep no more of what is asked for later than a random choice does (10.5 % of the evidence at a tenth of the
    tokens; recall keeps 86 %): use it with recall, or with a score that knows better.
    """

    score: Score | None = None

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "importance"

    def cut(self, situation: Situation, room: int, keep: int) -> View:
        """Return the view without the least important units, so that *room* holds."""
        conversation = situation.conversation
        ranked = sorted(
            leaving(situation, keep=keep), key=lambda unit: (rated(conversation, unit, self.score), unit.start)
        )
        return left_out(situation, least_first(situation, ranked, room))


@dataclass(frozen=True, slots=True, kw_only=True)
class Priority(Dropping):
    """What has priority fills the context, the rest goes; order stays as it was (S4-03).

    *priority* is a function of the message, or a priority for each name: of a tag's source or component, of who speaks,
    of a role; the first that is known counts, 0 where none is. By default decisions, errors and values have it (S4-04).
    """

    priority: Score | Mapping[str, float] | None = None

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return "priority"

    def cut(self, situation: Situation, room: int, keep: int) -> View:
        """Return the view with the units of the highest priority that *room* holds, newer ones first."""
        conversation, score = situation.conversation, self._score()
        units = leaving(situation, keep=keep)
        sizes = {unit.start: conversation.tokens(unit.start, unit.stop) for unit in units}
        left = room - (situation.plan(situation.view).tokens - sum(sizes.values()))
        gone = []
        for unit in sorted(units, key=lambda unit: (-rated(conversation, unit, score), -unit.start)):
            if sizes[unit.start] <= left:
                left -= sizes[unit.start]
            else:
                gone.append(unit)
        return left_out(situation, gone)

    def _score(self) -> Score | None:
        known = self.priority
        return _named(known) if isinstance(known, Mapping) else known


def _named(priorities: Mapping[str, float]) -> Score:
    def score(message: Message) -> float:
        tags = [name for tag in message.tags for name in (tag.source, tag.component)]
        return next(
            (priorities[name] for name in (*tags, message.name, message.role) if name and name in priorities), 0.0
        )

    return score


def rated(conversation: Conversation, unit: Unit, score: Score | None = None) -> float:
    """Return how important a unit is: as its most important message."""
    if score is not None:
        return max(map(score, conversation.slice(unit.start, unit.stop)))
    return max(_points_at(conversation, at) for at in range(unit.start, unit.stop))


def points(text: str) -> float:
    """Return how important *text* is by what stands in it."""
    counts = Counter(span.kind for span in spans(text))
    return sum(POINTS[kind] * min(times, _AT_MOST) for kind, times in counts.items())


def _points_at(conversation: Conversation, at: int) -> float:
    known = conversation.scores.get(at)
    if known is None:
        known = conversation.scores[at] = points(conversation.messages[at].text)
    return known
