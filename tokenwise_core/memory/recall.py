"""What left the context and is needed again: turns recalled for a question, verbatim, in their order, with dates."""

from __future__ import annotations

import re
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.errors import BadInput
from tokenwise_core.memory.conversation import AROUND_MESSAGE, Conversation
from tokenwise_core.memory.index import Floats, RecallIndex, Turn
from tokenwise_core.memory.ranking import Cues, fill, rank
from tokenwise_core.memory.view import Range, Slot
from tokenwise_core.memory.wording import is_question
from tokenwise_core.messages import Message
from tokenwise_core.protocols import CountText, Embedder
from tokenwise_core.text.excerpt import excerpt

SITTING_GAP_S = 3_600
"""A pause after which a new sitting begins."""
HEAD = "[Recalled from earlier in this conversation]"
_INDEXED_CHARACTERS = 20_000
"""What is indexed of a long message."""
LONGEST_TOKENS = 300
"""A longer message is recalled by its telling lines: those that share words with the question first."""
_FEW_LINES = 3
_AFTER_ITEM = re.compile(r"(?<=[,;}\]])[ \t]+")  # JSON on one line has items for lines
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

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or not 0 < self.share <= 1:
            raise BadInput(f"Recall(max_tokens={self.max_tokens}, share={self.share}): give tokens, and a share of 0…1")
        if not callable(self.when) and self.when not in ("questions", "always"):
            raise BadInput(f"Recall(when={self.when!r}): give 'questions', 'always' or a function of the text")

    def is_for(self, text: str) -> bool:
        """Say whether *text* is a turn that needs recall."""
        if callable(self.when):
            return self.when(text)
        return self.when == "always" or is_question(text)

    def budget(self, target: int) -> int:
        """Return the tokens that recall may take under a soft limit of *target*."""
        return min(self.max_tokens, round(self.share * target))


class Searchable:
    """One conversation's index; a message's place in it is its place in the conversation.

    *lines* are the tokens of each message as the slot shows it, *digest* is the conversation's up to the last one.
    Not thread-safe: hold *lock*.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.index = RecallIndex()
        self.lines = array("q")
        self.digest = ""
        self.is_filling = False

    def extend(self, conversation: Conversation, stop: int, count: CountText) -> None:
        """Make the messages before *stop* findable; what is known of another history is forgotten."""
        length = len(self.index)
        if length and (length > len(conversation) or conversation.digest(length) != self.digest):
            self.index, self.lines = RecallIndex(), array("q")
        index = self.index
        before = conversation.messages[len(index) - 1].at if len(index) else None
        segment = index.last_segment
        for message in conversation.slice(len(index), stop):
            if message.at is not None and before is not None and message.at - before > SITTING_GAP_S:
                segment += 1
            before = message.at if message.at is not None else before
            index.add(turn_of(message, segment))
            self.lines.append(min(count(_line(message)), LONGEST_TOKENS) + 1)
        self.digest = conversation.digest(len(index))


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
    found: Searchable,
    *,
    evicted: Sequence[Range],
    query: str,
    vectors: Floats | None,
    budget: int,
    count: CountText,
    cues: Cues,
) -> Slot | None:
    """Return the slot for the user's last turn: the evicted turns that *query* needs, within *budget* tokens."""
    asked = conversation.last_user
    among = _among(conversation, evicted, len(found.index))
    if asked is None or not among.any() or budget <= 0:
        return None
    ranking = rank(found.index, query, vectors, among=among, cues=cues)
    chosen = fill(
        ranking.scores,
        found.lines,
        budget - count(HEAD) - AROUND_MESSAGE,
        segments=found.index.segments,
        heading_tokens=_Headings(conversation, count),
    )
    if not chosen:
        return None
    text = shown(conversation, chosen, query=query, count=count)
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


class _Headings(Sequence[int]):
    """The tokens of the heading above each message's sitting, counted where they are asked for."""

    def __init__(self, conversation: Conversation, count: CountText) -> None:
        self._conversation, self._count = conversation, count

    def __len__(self) -> int:
        return len(self._conversation)

    def __getitem__(self, at: Any) -> Any:
        day = date(self._conversation.messages[at])
        return self._count(f"[{day}]") + 1 if day else 0


def shown(conversation: Conversation, positions: Sequence[int], *, query: str, count: CountText) -> str:
    """Return the turns at *positions* as the model reads them for *query*."""
    return "\n".join([HEAD, *_lines(conversation, positions, query, count)])


def _lines(conversation: Conversation, positions: Sequence[int], query: str, count: CountText) -> Iterator[str]:
    messages = [conversation.messages[at] for at in positions]
    for day, said in groupby(messages, key=date):
        if day is not None:
            yield f"[{day}]"
        yield from (_shortened(_line(message), query, count) for message in said)


def _line(message: Message) -> str:
    return f"{speaker(message)}: {message.text}"


def _shortened(line: str, query: str, count: CountText) -> str:
    if count(line) <= LONGEST_TOKENS:
        return line
    text = line if line.count("\n") >= _FEW_LINES else _AFTER_ITEM.sub("\n", line)
    return excerpt(text, max_tokens=LONGEST_TOKENS, count=count, query=query).text
