"""What core has seen of a list of LangChain messages, so that only new or changed ones are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.messages import BaseMessage

from tokenwise_core.memory.conversation import Conversation, message_counter
from tokenwise_core.memory.engine import Memory
from tokenwise_langchain.blocks import Fields
from tokenwise_langchain.convert import snapshot, to_message

_MANY = 16
_LONG = 8_000
"""Messages, and characters of one, that are new and take some milliseconds to be read and counted."""


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

    def takes_long(self, messages: Sequence[BaseMessage]) -> bool:
        """Say whether so much of *messages* is new that an event loop would stand still while it is read."""
        known = len(self._fields)
        new = messages[known:]
        if len(new) > _MANY or any(not isinstance(one.content, str) or len(one.content) > _LONG for one in new):
            return True
        is_changed = known > len(messages) or (known > 0 and not _equal(messages[known - 1].__dict__, self._fields[-1]))
        return is_changed and len(messages) > _MANY

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
        with self._lent(session) as (conversation, mirror):
            mirror.sync(conversation, messages)
            yield conversation, mirror

    @asynccontextmanager
    async def ausing(
        self, session: str | None, messages: Sequence[BaseMessage]
    ) -> AsyncIterator[tuple[Conversation, Mirror]]:
        """Do the same; where much is new it is read beside the event loop."""
        with self._lent(session) as (conversation, mirror):
            if mirror.takes_long(messages):
                await self._memory.work(lambda: mirror.sync(conversation, messages))
            else:
                mirror.sync(conversation, messages)
            yield conversation, mirror

    @contextmanager
    def _lent(self, session: str | None) -> Iterator[tuple[Conversation, Mirror]]:
        if session is None:
            yield Conversation("", message_counter(self._memory.counter.text)), Mirror()
            return
        with self._memory.using(session) as conversation:
            mirror = self._mirrors.get(conversation)
            if mirror is None:
                mirror = self._mirrors[conversation] = Mirror()
            yield conversation, mirror
