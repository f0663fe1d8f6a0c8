"""A model that answers in prose: the same content for an intent, in another phrasing each time, without its label.

What an answer says is drawn by a hash of the intent: where to go, what to choose there, what happens, when, whom to
ask. Two intents may share a part, seldom more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from benchmarks.cache_texts import Question

_PLACES = (
    "the billing page", "the mobile app", "the help desk portal", "the nearest branch", "the travel section",
    "the recipe archive", "the garage console", "the family dashboard", "the calendar view", "the medical file",
    "the music library", "the shopping list", "the weather screen", "the contacts book", "the tax overview",
)  # fmt: skip
_THINGS = (
    "the statement", "a replacement card", "the exchange calculator", "the vaccination record", "a spare key",
    "the seat map", "the loyalty balance", "an oil change", "the translation box", "the reminder bell",
    "a savings goal", "the playlist", "the parcel number", "the holiday request", "the nutrition table",
    "the fraud form", "the identity check", "the pending transfer", "the interest rate", "the tyre pressure",
)  # fmt: skip
_ACTIONS = (
    "confirm it with your fingerprint", "send us a photo of the receipt", "type the code from the letter",
    "wait for the green tick", "print the barcode", "compare both prices", "sign with your full name",
    "switch off the old device", "ask the person next to you to witness it", "read the amount aloud",
    "scan the back of the passport", "drag it to the top", "write down the serial number", "empty the tray first",
)  # fmt: skip
_RESULTS = (
    "the money is returned to you", "the new limit applies", "an engineer calls you back", "the booking is moved",
    "the alarm falls silent", "the document arrives by post", "the account is opened again", "the order is cancelled",
    "the doctor receives a copy", "the lights turn blue", "your name is corrected", "the fee disappears",
    "the route is planned anew", "the song starts over", "the insurance takes over",
)  # fmt: skip
_UNITS = ("minutes", "hours", "days", "weeks")
_TEAMS = ("payments", "security", "logistics", "travel", "health", "kitchen", "legal", "vehicle", "leisure", "records")
_PHRASINGS = (
    "Open {place}, choose {thing} and {action}. After {time} {result}. If not, ask the {team} team.",
    "You can do this in {place}: choose {thing}, then {action}. After {time} {result}. Or else ask the {team} team.",
    "Please go to {place} and choose {thing}, then {action}; {result} after {time}. The {team} team can help.",
    "In {place}, choose {thing} and {action}. It takes {time} until {result}. For anything else, ask the {team} team.",
    "To get this done, open {place}, pick {thing} and {action}. Within {time} {result}; the {team} team can help you.",
    "Just {action} once you have chosen {thing} in {place}. {time} later {result}. If not, ask the {team} team.",
)  # fmt: skip


class Model:
    """Answers the requests of a stream: *said* is all that it says there."""

    def __init__(self, said: Mapping[str, str]) -> None:
        self._topic_of = said

    @classmethod
    def of(cls, stream: Sequence[Question]) -> Model:
        return cls({answer(place, question): question.answer for place, question in enumerate(stream)})

    @property
    def said(self) -> tuple[str, ...]:
        return tuple(self._topic_of)

    def is_same(self, served: str, wanted: str) -> bool:
        return self._topic_of[served] == self._topic_of[wanted]


def answer(place: int, question: Question) -> str:
    """Return the answer to a request: what it says by the question's topic, how by the place in the stream."""
    topic = question.answer
    said = {
        name: words[_drawn(f"{name} {topic}", len(words))]
        for name, words in (
            ("place", _PLACES), ("thing", _THINGS), ("action", _ACTIONS), ("result", _RESULTS), ("team", _TEAMS),
        )
    }  # fmt: skip
    said["time"] = f"{2 + _drawn(f'number {topic}', 28)} {_UNITS[_drawn(f'unit {topic}', len(_UNITS))]}"
    return _PHRASINGS[_drawn(f"{place}", len(_PHRASINGS))].format(**said)


def _drawn(seed: str, among: int) -> int:
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest()) % among
