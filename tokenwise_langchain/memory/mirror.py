"""What core has seen of a list of LangChain messages, so that only new or changed ones are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.messages import BaseMessage

from tokenwise_core.memory.conversation import Conversation, message_counter
from tokenwise_core.memory.engine import Memory
from tokenwise_langchain.blocks import Fields
from tokenwise_langchain.convert import snapshot, to_message


class Mirror:
    """The messages of one core conversation, as snapshots of their fields.

    Known messages are compared in one sweep, by identity where the objects are the same and by content where a
    checkpoint gave others. An edited, removed or rewritten history is taken up where it first differs. *copies* holds
    the messages that were made with another text, by position.
    """

    def __init__(self) -> None:
        self._fields: list[dict[str, Any]] = []
        self.copies: dict[int, tuple[str, BaseMessage]] = {}

    def sync(self, conversation: Conversation, messages: Sequence[BaseMessage]) -> None:
        """Bring *conversation* up to date with *messages*, none of which is changed."""
        if len(conversation) != len(self._fields):  # somebody else grew it, too
            self._forget(0)
        fields = [message.__dict__ for message in messages]
        known = self._same(fields)
        if known == len(self._fields) == len(fields):
            return
        self._forget(known)
        conversation.sync(known, [to_message(one, at) for at, one in enumerate(fields[known:], known)])
        self._fields += map(snapshot, messages[known:])

    def _same(self, fields: list[dict[str, Any]]) -> int:
        """Return how many of the first messages core knows as they are."""
        most = min(len(fields), len(self._fields))
        if _equal(fields[:most], self._fields[:most]):
            return most
        for at in range(most):
            if not self._is_same(fields[at], at):
                return at
        return most

    def _is_same(self, fields: Fields, at: int) -> bool:
        """Say whether a message shows the model what it showed: usage, ids and the like may have changed."""
        known = self._fields[at]
        if _equal(fields, known):
            return True
        if to_message(fields, at) != to_message(known, at):
            return False
        self._fields[at] = dict(fields)
        self.copies.pop(at, None)
        return True

    def _forget(self, known: int) -> None:
        del self._fields[known:]
        self.copies = {at: copy for at, copy in self.copies.items() if at < known}


def _equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except Exception:  # values of the application's own may refuse to be compared
        return False


class Mirrors:
    """A mirror for each conversation that *memory* keeps in this process. Thread-safe, as its loans are exclusive."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._mirrors: WeakKeyDictionary[Conversation, Mirror] = WeakKeyDictionary()

    @contextmanager
    def using(self, session: str | None, messages: Sequence[BaseMessage]) -> Iterator[tuple[Conversation, Mirror]]:
        """Lend the conversation *session*, up to date with *messages*; one of its own where nobody names it."""
        if session is None:
            conversation = Conversation("", message_counter(self._memory.counter.text))
            yield self._synced(conversation, messages)
            return
        with self._memory.using(session) as conversation:
            yield self._synced(conversation, messages)

    def _synced(self, conversation: Conversation, messages: Sequence[BaseMessage]) -> tuple[Conversation, Mirror]:
        mirror = self._mirrors.get(conversation)
        if mirror is None:
            mirror = self._mirrors[conversation] = Mirror()
        mirror.sync(conversation, messages)
        return conversation, mirror
