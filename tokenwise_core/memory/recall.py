"""What left the context and is needed again: turns recalled for a question, verbatim, in their order, with dates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.memory.conversation import AROUND_MESSAGE, Conversation
from tokenwise_core.memory.index import Floats, RecallIndex, Turn
from tokenwise_core.memory.ranking import Cues, Ranking, fill, rank
from tokenwise_core.memory.view import Range, Slot
from tokenwise_core.memory.wording import is_question
from tokenwise_core.messages import Message
from tokenwise_core.protocols import CountText, Embedder

SITTING_GAP_S = 3_600
"""A pause after which a new sitting begins."""
HEAD = "[Recalled from earlier in this conversation]"
_HEADING_TOKENS = 12
_INDEXED_CHARACTERS = 2_000
"""What is indexed of a long message; a tool's result is found by its beginning."""
_SPEAKERS = {"user": "User", "assistant": "Assistant", "tool": "Result"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """When turns are recalled, and how many.

    At most *max_tokens*, and at most *share* of the soft limit. *when* is "questions" (a message that is a question
    and little else), "always", or a function of the message's text. *embedder* "default" is the embedded one; None
    searches by words alone, as does the default where its extra is not installed.
    """

    max_tokens: int = 1_000
    share: float = 0.25
    when: Literal["questions", "always"] | Callable[[str], bool] = "questions"
    embedder: Embedder | Literal["default"] | None = "default"
    cues: Cues = field(default_factory=Cues)

    def is_for(self, text: str) -> bool:
        """Say whether *text* is a turn that needs recall."""
        if callable(self.when):
            return self.when(text)
        return self.when == "always" or is_question(text)

    def budget(self, target: int) -> int:
        """Return the tokens that recall may take under a soft limit of *target*."""
        return min(self.max_tokens, round(self.share * target))


def extend(index: RecallIndex, conversation: Conversation, stop: int) -> None:
    """Make the messages before *stop* findable; a message's place in the index is its place in the conversation."""
    before = conversation.messages[len(index) - 1].at if len(index) else None
    segment = int(index.segments[-1]) if len(index) else 0
    for message in conversation.slice(len(index), stop):
        if message.at is not None and before is not None and message.at - before > SITTING_GAP_S:
            segment += 1
        before = message.at if message.at is not None else before
        index.add(turn_of(message, segment))


def turn_of(message: Message, segment: int = 0) -> Turn:
    """Return *message* as the index takes it."""
    text = "" if message.role in ("system", "developer") else message.text[:_INDEXED_CHARACTERS]
    return Turn(text=text, speaker=speaker(message) if text else "", segment=segment, at=date(message))


def speaker(message: Message) -> str:
    """Return who speaks."""
    return message.name or _SPEAKERS.get(message.role, "")


def date(message: Message) -> str | None:
    """Return the day on which *message* was said, as people write it; None where nobody knows."""
    if message.at is None:
        return None
    when = datetime.fromtimestamp(message.at, tz=UTC)
    return f"{when.day} {when:%B %Y}"


def recalled(
    conversation: Conversation,
    index: RecallIndex,
    *,
    evicted: Sequence[Range],
    query: str,
    vector: Floats | None,
    budget: int,
    count: CountText,
    cues: Cues,
) -> Slot | None:
    """Return the slot for the user's last turn: the evicted turns that *query* needs, within *budget* tokens."""
    asked = conversation.last_user
    among = _among(conversation, evicted, len(index))
    if asked is None or not among.any() or budget <= 0:
        return None
    ranking = rank(index, query, vector, among=among, cues=cues)
    chosen = _chosen(conversation, index, ranking, budget, count)
    if not chosen:
        return None
    text = shown(conversation, chosen)
    return Slot(
        turn=asked,
        digest=conversation.digest(asked + 1),
        text=text,
        tokens=count(text) + AROUND_MESSAGE,
        positions=chosen,
    )


def _among(conversation: Conversation, evicted: Sequence[Range], length: int) -> NDArray[np.bool_]:
    mask = np.zeros(length, np.bool_)
    for start, stop in evicted:
        mask[start:stop] = True
    for at in np.flatnonzero(mask):
        if not conversation.messages[at].text:
            mask[at] = False
    return mask


def _chosen(
    conversation: Conversation, index: RecallIndex, ranking: Ranking, budget: int, count: CountText
) -> tuple[int, ...]:
    """Return the best turns whose rendering fits *budget*, headings included."""
    tokens = _Lines(conversation, count)
    left = budget - count(HEAD) - AROUND_MESSAGE
    chosen: tuple[int, ...] = ()
    room = left
    for _ in range(3):  # what the headings take depends on what is chosen
        chosen = fill(ranking.scores, tokens, room)
        headings = len({date(conversation.messages[at]) for at in chosen} - {None})
        taken = sum(tokens[at] for at in chosen) + headings * _HEADING_TOKENS
        if taken <= left:
            return chosen
        room -= taken - left
    return fill(ranking.scores, tokens, left - len({*index.segments.tolist()}) * _HEADING_TOKENS)


class _Lines(Sequence[int]):
    """The tokens of each message's line, counted where they are asked for."""

    def __init__(self, conversation: Conversation, count: CountText) -> None:
        self._conversation, self._count = conversation, count

    def __len__(self) -> int:
        return len(self._conversation)

    def __getitem__(self, at: Any) -> Any:
        return self._count(_line(self._conversation.messages[at])) + 1


def shown(conversation: Conversation, positions: Sequence[int]) -> str:
    """Return the turns at *positions* as the model reads them."""
    return "\n".join([HEAD, *_lines(conversation, positions)])


def _lines(conversation: Conversation, positions: Sequence[int]) -> Iterator[str]:
    messages = [conversation.messages[at] for at in positions]
    for day, said in groupby(messages, key=date):
        if day is not None:
            yield f"[{day}]"
        yield from map(_line, said)


def _line(message: Message) -> str:
    return f"{speaker(message)}: {message.text}"
