"""The recorded turns, found again by what the prompt asks, and what of their evidence the prompt holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tokenwise_core.demo.workload.values import Conversation, Evidence, Turn, Workload, normalised
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.testing.requests import last_user

_CONTAINED_WORDS = 3
"""A shorter question is only matched as the whole message: "thanks" stands in too many texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A turn, and what was said by its user before it in the recording."""

    turn: Turn
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A recorded turn that the prompt asks, and the evidence that the prompt holds or lacks."""

    turn: Turn
    found: tuple[Evidence, ...]
    missing: tuple[Evidence, ...]


class Recordings:
    """Recorded turns by their question."""

    def __init__(self, recorded: Workload | Iterable[Conversation] | Iterable[Turn]) -> None:
        self._by_question: dict[str, list[Recorded]] = {}
        for item in (*recorded.conversations, *recorded.long) if isinstance(recorded, Workload) else recorded:
            turns = item.turns if isinstance(item, Conversation) else (item,)
            said = tuple(normalised(turn.user) for turn in turns)
            for position, turn in enumerate(turns):
                entry = Recorded(turn=turn, earlier=said[:position])
                self._by_question.setdefault(said[position], []).append(entry)
        self._longest_first = sorted(
            (question for question in self._by_question if len(question.split()) >= _CONTAINED_WORDS),
            key=len,
            reverse=True,
        )

    def question_in(self, text: str) -> str | None:
        """Return the recorded question that *text* is or, rendered into a template, contains; the longest one."""
        asked = _normalised(text)
        if asked in self._by_question:
            return asked
        return next((question for question in self._longest_first if _stands_alone(question, asked)), None)

    def is_question(self, text: str) -> bool:
        """Tell whether *text* is a recorded question and nothing else."""
        return _normalised(text) in self._by_question

    def match(self, prompt: Prompt) -> Match | None:
        """Return the turn that the last user message asks, judged on the prompt; None for an unknown question.

        Of several turns with that question, the one wins whose conversation the prompt continues: most of its
        earlier user turns present, then most of its evidence, then the fewest earlier turns that are not there.
        """
        at = last_user(prompt)
        question = None if at is None else self.question_in(prompt.messages[at].text)
        if at is None or question is None:
            return None
        candidates = self._by_question[question]
        text = _evidence_text(prompt.messages, at, question)
        matches = [_judged(candidate.turn, text) for candidate in candidates]
        if len(matches) == 1:
            return matches[0]
        told = "\n".join(text)
        present = [sum(said in told for said in candidate.earlier) for candidate in candidates]
        ranks = [
            (present[i], len(matches[i].found) - len(matches[i].missing), present[i] - len(candidates[i].earlier), -i)
            for i in range(len(matches))
        ]
        return matches[max(range(len(matches)), key=ranks.__getitem__)]


def _judged(turn: Turn, text: Sequence[str]) -> Match:
    found = tuple(item for item in turn.evidence if any(item.stands_in(piece) for piece in text))
    return Match(turn=turn, found=found, missing=tuple(item for item in turn.evidence if item not in found))


def _evidence_text(messages: Sequence[Message], at: int, question: str) -> list[str]:
    """Return the normalised texts of the messages; of the asking one only what a template put around the question."""
    texts = [_normalised(message.text) for message in messages]
    before, _, after = texts[at].rpartition(question)
    texts[at : at + 1] = [before, after]
    arguments = (_normalised(call.arguments) for message in messages for call in message.tool_calls)
    return [text for text in (*texts, *arguments) if text]


def _stands_alone(question: str, text: str) -> bool:
    """Tell whether *question* stands in *text* with no letter or digit grown onto either end."""
    start = text.find(question)
    while start >= 0:
        before, after = text[start - 1 : start], text[start + len(question) :][:1]
        if not before.isalnum() and not after.isalnum():
            return True
        start = text.find(question, start + 1)
    return False


@lru_cache(maxsize=4096)
def _normalised(text: str) -> str:
    """Normalise once what comes back with every call of a conversation."""
    return normalised(text)
