"""A session's messages as LlamaIndex has them: each is read from its JSON once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from tokenwise_core.memory import Keep, Prepared, Put
from tokenwise_core.messages import Message
from tokenwise_core.twins import Twin, copies, twin_of
from tokenwise_llamaindex.memory.messages import MemoryMessage, opened, read, swapped, view_of

Data = Mapping[str, Any]


class Log:
    """The messages read so far, by position and JSON; what is handed out is a copy. Thread-safe."""

    def __init__(self) -> None:
        self._read: list[tuple[Data, ChatMessage, Twin]] = []
        self._lock = threading.Lock()

    def project(self, data: Data, index: int) -> Message:
        """Return core's view of a message: what `Session` asks for, once a message."""
        return view_of(self._known(data, index)[1], index)

    def copies(self, data: Sequence[Data]) -> list[ChatMessage]:
        """Return copies of all messages."""
        return self._copies(data, 0, len(data))

    def shown(self, prepared: Prepared, data: Sequence[Data], *, stop: int) -> list[ChatMessage]:
        """Return what is to be sent of *data*: copies of the messages before *stop*, and messages of ours."""
        sent: list[ChatMessage] = []
        for part in prepared.plan.parts:
            if isinstance(part, Keep):
                sent += self._copies(data, part.start, min(part.stop, stop))
            elif isinstance(part, Put):
                sent.append(MemoryMessage.of(part.text, part.component, prepared.mark))
            elif part.position < stop:
                sent.append(swapped(self._known(data[part.position], part.position)[2](), part.text))
        return opened(sent, prepared.mark) if prepared.view.evicted else sent

    def _copies(self, data: Sequence[Data], start: int, stop: int) -> list[ChatMessage]:
        """Return deep copies: the framework writes into the messages that it gets."""
        known = self._read[start:stop]
        if len(known) == stop - start and all(one[0] is data[at] for at, one in enumerate(known, start)):
            return copies([twin for _, _, twin in known])
        return [self._known(data[at], at)[2]() for at in range(start, stop)]

    def _known(self, data: Data, index: int) -> tuple[Data, ChatMessage, Twin]:
        """Return the message at *index*, of which *data* was written, and what copies it; not to be changed."""
        known = self._read[index] if index < len(self._read) else None
        if known is not None and known[0] is data:
            return known
        message = read(data)
        made = data, message, twin_of(message)
        with self._lock:
            if index < len(self._read):
                self._read[index] = made
            elif index == len(self._read):
                self._read.append(made)
        return made
