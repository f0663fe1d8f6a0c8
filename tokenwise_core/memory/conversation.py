"""What is known of one conversation: its messages, their tokens, their units, and a hash of each beginning."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import islice

from tokenwise_core.memory.plan import Swap
from tokenwise_core.memory.tool_results import digest
from tokenwise_core.memory.units import Units
from tokenwise_core.messages import Message
from tokenwise_core.protocols import CountText

CountMessage = Callable[[Message], int]
AROUND_MESSAGE = 4
"""Tokens around a message's text: role, start and end marks."""
AROUND_CALL = 6
"""Tokens around a call's name and arguments."""
MEDIUM_TOKENS = 1_000
"""What an image, sound or file is taken for where nobody knows its tokens: about that of a large image."""
_DIGEST_BYTES = 12


def message_counter(count: CountText) -> CountMessage:
    """Return a count of whole messages: text, calls, replayed reasoning and media."""

    def tokens(message: Message) -> int:
        calls = sum(count(call.name) + count(call.arguments) + AROUND_CALL for call in message.tool_calls)
        named = count(message.name) + 1 if message.name else 0
        media = MEDIUM_TOKENS * len(message.media)
        reasoning = count(message.reasoning) if message.reasoning else 0
        return count(message.text) + named + calls + media + reasoning + AROUND_MESSAGE

    return tokens


class Conversation:
    """The messages of one session as core sees them; grows by `sync`, in time that the new messages take.

    A history that was cut back or rewritten is taken up at the last message that is still the same. Hold *lock* for
    whatever reads it behind its owner's back; *id* names it in stores. *head* is where its leading system messages end,
    *results* finds the first tool's result of each digest, *rendered* keeps what stands in results' places, *scores*
    how important messages are.
    """

    def __init__(self, id: str, count: CountMessage) -> None:
        self.id, self._count = id, count
        self.lock = threading.RLock()
        self.messages: list[Message] = []
        self.units = Units()
        self._ends: list[int] = []
        self._digests: list[bytes] = []
        self._users: list[int] = []
        self._calls: dict[str, str] = {}
        self.head = 0
        self.results: dict[str, int] = {}
        self.rendered: dict[tuple[int, str, bool], Swap] = {}
        self.scores: dict[int, float] = {}

    def sync(self, known: int, new: Sequence[Message]) -> None:
        """Keep the first *known* messages and let *new* follow them."""
        with self.lock:
            if known < len(self.messages):
                self._cut_back(known)
            for message in new:
                self._add(message)

    def replace(self, messages: Sequence[Message]) -> None:
        """Take up *messages* as the whole history: what begins like the known one stays as it is."""
        same = 0
        for known, message in zip(self.messages, messages, strict=False):
            if known is not message and known != message:
                break
            same += 1
        self.sync(same, messages[same:])

    def _add(self, message: Message) -> None:
        at = len(self.messages)
        self.messages.append(message)
        self.units.add(message)
        self._ends.append(self.total + self._count(message))
        self._digests.append(_digest(self._digests[-1] if at else b"", message))
        if message.role == "user":
            self._users.append(at)
        for call in message.tool_calls:
            if call.id is not None:
                self._calls[call.id] = call.name
        if message.role == "tool" and message.text:
            self.results.setdefault(digest(message.text), at)
        if at == self.head and message.role in ("system", "developer"):
            self.head += 1

    def _cut_back(self, length: int) -> None:
        kept = self.messages[:length]
        del self.messages[length:], self._ends[length:], self._digests[length:]
        self.units = Units(kept)
        self._users = [at for at in self._users if at < length]
        self.head = min(self.head, length)
        self.results = {name: at for name, at in self.results.items() if at < length}
        self.rendered = {key: text for key, text in self.rendered.items() if key[0] < length}
        self.scores = {at: score for at, score in self.scores.items() if at < length}

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def total(self) -> int:
        """Tokens of all messages."""
        return self._ends[-1] if self._ends else 0

    def tokens(self, start: int, stop: int) -> int:
        """Return the tokens of messages [start, stop)."""
        if stop <= start:
            return 0
        return self._ends[stop - 1] - (self._ends[start - 1] if start else 0)

    def blocks(self, start: int) -> int:
        """Return of how many content blocks (texts, calls, results, media) the messages from *start* on consist."""
        found = islice(self.messages, start, None)
        return sum(max(bool(m.text) + len(m.tool_calls) + len(m.media) + bool(m.reasoning), 1) for m in found)

    def digest(self, stop: int) -> str:
        """Return the hash of the first *stop* messages: equal only where all of them are."""
        return self._digests[stop - 1].hex() if stop else ""

    @property
    def last_user(self) -> int | None:
        """Position of the newest user message, None where there is none."""
        return self._users[-1] if self._users else None

    def turns(self, stop: int) -> int:
        """Return how many messages of the user stand before *stop*."""
        return bisect_left(self._users, stop)

    def user_before(self, position: int) -> int | None:
        """Return the position of the newest user message at or before *position*."""
        return next((at for at in reversed(self._users) if at <= position), None)

    def called(self, position: int) -> str | None:
        """Return the name of the tool whose result stands at *position*."""
        return self._calls.get(self.messages[position].tool_call_id or "")

    def first_at(self, target: int, *, start: int, stop: int) -> int:
        """Return the first position in [start, stop] from which on no more than *target* tokens stand before *stop*.

        Found by bisection: O(log n).
        """
        low, high = start, stop
        while low < high:
            middle = (low + high) // 2
            if self.tokens(middle, stop) <= target:
                high = middle
            else:
                low = middle + 1
        return low

    def slice(self, start: int, stop: int) -> list[Message]:
        """Return messages [start, stop)."""
        return list(islice(self.messages, start, stop))


def _digest(before: bytes, message: Message) -> bytes:
    calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    media = [(medium.kind, medium.digest) for medium in message.media]
    said = (message.role, message.name, message.text, message.tool_call_id, calls, media, message.reasoning)
    return blake2b(before + repr(said).encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
