"""The calls that were sent last, as they were sent: what a summary can be asked behind."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from llama_index.core.base.llms.types import ChatMessage
from typing_extensions import override

from tokenwise_llamaindex.calls import Answering, LLMAnswer, LLMCall, Response

_KEPT = 16
_BEFORE = 8
"""Messages that an application may send before those of its memory: system prompts, examples."""


class Sent(NamedTuple):
    """The messages of a call, and its parameters."""

    messages: Sequence[ChatMessage]
    params: Mapping[str, Any]


class Recent(Answering):
    """The model behind the last lever, and what was sent to it last.

    Nothing is kept before somebody *watches*: a memory whose summaries this model makes.
    """

    def __init__(self) -> None:
        self.watched = False
        self._sent: deque[Sent] = deque(maxlen=_KEPT)

    def behind(self, shown: Sequence[ChatMessage]) -> Sent | None:
        """Return the newest call that sent *shown*; None where there is none, or it is too long ago.

        It is known by the first and the last of them: templates make messages of their own that say the same.
        """
        calls = reversed(tuple(self._sent)) if shown else ()
        return next((sent for sent in calls if _holds(sent.messages, shown)), None)

    @override
    def call(self, request: LLMCall) -> LLMAnswer:
        self._note(request)
        return super().call(request)

    @override
    async def acall(self, request: LLMCall) -> LLMAnswer:
        self._note(request)
        return await super().acall(request)

    @override
    def open(self, request: LLMCall) -> Iterator[Response]:
        self._note(request)
        return super().open(request)

    @override
    async def aopen(self, request: LLMCall) -> AsyncIterator[Response]:
        self._note(request)
        return await super().aopen(request)

    def _note(self, request: LLMCall) -> None:
        if self.watched and request.prompt is None:
            self._sent.append(Sent(list(request.messages), request.params))


def _holds(messages: Sequence[ChatMessage], shown: Sequence[ChatMessage]) -> bool:
    most = min(len(messages) - len(shown), _BEFORE)
    return any(
        _says(messages[start], shown[0]) and _says(messages[start + len(shown) - 1], shown[-1])
        for start in range(most + 1)
    )


def _says(one: ChatMessage, other: ChatMessage) -> bool:
    return one is other or (one.role is other.role and one.blocks == other.blocks)
