"""A session's messages as LlamaIndex has them: each is read from its JSON once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from tokenwise_core.memory import Keep, Prepared, Put
from tokenwise_core.messages import Message
from tokenwise_llamaindex.memory.messages import MemoryMessage, copied, opened, read, swapped, view_of

Data = Mapping[str, Any]


class Log:
    """The messages read so far, by position and JSON; what is handed out is a copy. Thread-safe."""

    def __init__(self) -> None:
        self._read: list[tuple[Data, ChatMessage]] = []
        self._lock = threading.Lock()

    def project(self, data: Data, index: int) -> Message:
        """Return core's view of a message: what `Session` asks for, once a message."""
        return view_of(self._message(data, index), index)

    def copies(self, data: Sequence[Data]) -> list[ChatMessage]:
        """Return copies of all messages."""
        return [copied(self._message(one, at)) for at, one in enumerate(data)]

    def shown(self, prepared: Prepared, data: Sequence[Data], *, stop: int) -> list[ChatMessage]:
        """Return what is to be sent of *data*: copies of the messages before *stop*, and messages of ours."""
        sent: list[ChatMessage] = []
        for part in prepared.plan.parts:
            if isinstance(part, Keep):
                end = min(part.stop, stop)
                sent += [copied(self._message(data[at], at)) for at in range(part.start, end)]
            elif isinstance(part, Put):
                sent.append(MemoryMessage.of(part.text, part.component, prepared.mark))
            elif part.position < stop:
                sent.append(swapped(copied(self._message(data[part.position], part.position)), part.text))
        return opened(sent, prepared.mark) if prepared.view.evicted else sent

    def _message(self, data: Data, index: int) -> ChatMessage:
        """Return the message at *index*, of which *data* was written; not to be changed."""
        known = self._read[index] if index < len(self._read) else None
        if known is not None and known[0] is data:
            return known[1]
        message = read(data)
        with self._lock:
            if index < len(self._read):
                self._read[index] = data, message
            elif index == len(self._read):
                self._read.append((data, message))
        return message
