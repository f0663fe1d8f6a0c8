"""`SummaryMemoryBlock`: what LlamaIndex's `Memory` flushes, summarised and bounded; it ships no block that does."""

from __future__ import annotations

import logging
import threading
from typing import Any, Self

from cachetools import LRUCache
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.llms.llm import LLM
from llama_index.core.memory import BaseMemoryBlock
from typing_extensions import override

from tokenwise_core.errors import BadInput
from tokenwise_core.memory import Keep, Memory, Prepared, Rates
from tokenwise_core.memory.prompts import transcript
from tokenwise_core.memory.sessions import Sessions
from tokenwise_core.text.extractive import extract
from tokenwise_llamaindex.memory.messages import written
from tokenwise_llamaindex.memory.turns import Asked, Turns

log = logging.getLogger("tokenwise.memory")

_LEAST = 100
_KEPT = 512
_RATES = Rates(read=1.0, write=1.0, output=0.0)
"""Nothing of a block is read from a provider's cache: `Memory` puts it before the system prompt, and it changes. What a
summary costs is not weighed: who adds a block wants one."""


class SummaryMemoryBlock(BaseMemoryBlock[str]):
    """Summaries of the messages that left the queue, and the newest of them, in *max_tokens* at most.

    >>> memory = Memory.from_defaults(token_limit=8_000, memory_blocks=[SummaryMemoryBlock(llm=llm)])

    Summaries are made by *llm* behind the requests; until one is there, and without a model, the messages' most telling
    sentences stand in. Values that a summary lost (names, amounts, dates) are listed with it. Each session of a
    `Memory` has its own, kept in *sessions*: give a URL to have them outlive the process. With a *priority* above 0 (1
    by default) the content may be cut down where `Memory` needs the room.
    """

    name: str = Field(default="summary", description="The name of the block, a tag in the prompt.")
    priority: int = Field(default=1, description="0: never truncated.")
    max_tokens: int = Field(default=1_500, description="Tokens of the content that are never exceeded.")
    _memory: Memory = PrivateAttr()
    _llm: LLM | None = PrivateAttr()
    _turns: LRUCache[str, Turns] = PrivateAttr()
    _lock: threading.Lock = PrivateAttr()

    def __init__(
        self,
        *,
        llm: LLM | None = None,
        max_tokens: int = 1_500,
        name: str = "summary",
        description: str | None = None,
        priority: int = 1,
        accept_short_term_memory: bool = True,
        sessions: Sessions | str = "memory://",
    ) -> None:
        if max_tokens < _LEAST:
            raise BadInput(f"max_tokens={max_tokens}: a summary needs {_LEAST} tokens at least")
        fields: dict[str, Any] = {
            "name": name,
            "description": description,
            "priority": priority,
            "accept_short_term_memory": accept_short_term_memory,
            "max_tokens": max_tokens,
        }
        super().__init__(**fields)
        self._memory = Memory(target_tokens=max_tokens, recall=None, sessions=sessions, rates=_RATES)
        self._llm, self._turns, self._lock = llm, LRUCache(_KEPT), threading.Lock()

    @property
    def memory(self) -> Memory:
        """The core memory that decides."""
        return self._memory

    @override
    async def aput(
        self, messages: list[ChatMessage], from_short_term_memory: bool = False, session_id: str | None = None
    ) -> None:
        """Take up messages that were flushed; nothing is written into them."""
        if from_short_term_memory and not self.accept_short_term_memory:
            return
        try:
            await self._put(messages, session_id)
        except Exception as error:  # fail-open: what is raised here would be raised by the user's `put`
            log.warning("a memory block failed (%s): messages are not in it", type(error).__name__, exc_info=error)

    @override
    async def _aput(self, messages: list[ChatMessage]) -> None:
        await self._put(messages, None)

    @override
    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        """Return the content for the session that is named in *block_kwargs*; "" where nothing was flushed yet."""
        try:
            prepared, count = await self._of(block_kwargs.get("session_id")).prepared(Asked())
        except Exception as error:  # fail-open
            log.warning("a memory block failed (%s): it is left out", type(error).__name__, exc_info=error)
            return ""
        return self._text(prepared) if count else ""

    @override
    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Return the most telling sentences of *content*, as many tokens less; None where nothing is left."""
        if not content:
            return None
        left = self._memory.counter.text(content) - tokens_to_truncate
        return self._bounded(content, left) or None if left > 0 else None

    async def _put(self, messages: list[ChatMessage], session_id: str | None) -> None:
        turns = self._of(session_id)
        data = [written(message) for message in messages]
        await turns.work(lambda: turns.append(data))
        await turns.prepared(Asked())
        await turns.begin()

    def _of(self, session_id: object) -> Turns:
        key = f"{session_id or ''}|{self.name}"  # as all that derives from a session: a purge reaches it
        with self._lock:
            turns = self._turns.get(key)
            if turns is None:
                turns = self._turns[key] = Turns(self._memory, key, llm=self._llm, summariser_price=0.0)
            return turns

    def _text(self, prepared: Prepared) -> str:
        """Return what the plan shows as one text: summaries whole, and what the bound leaves of the messages."""
        count, conversation = self._memory.counter.text, prepared.situation.conversation
        summaries = [part.text for part in prepared.plan.parts if not isinstance(part, Keep)]
        kept = [part for part in prepared.plan.parts if isinstance(part, Keep)]
        messages = [message for part in kept for message in conversation.slice(part.start, part.stop)]
        known = self._bounded("\n".join(summaries), self.max_tokens)
        left = self.max_tokens - count(known) - 1
        said = self._bounded(transcript(messages, count=count), left) if left > 0 else ""
        return "\n".join(text for text in (known, said) if text)

    def _bounded(self, text: str, max_tokens: int) -> str:
        count = self._memory.counter.text
        return text if count(text) <= max_tokens else extract(text, max_tokens=max_tokens, count=count).text

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # contexts copy their state: there is one block
