"""`SummaryBufferRunnable`: memory as a step of a chain, on lists of messages."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from cachetools import LRUCache
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.runnables.utils import ConfigurableFieldSpec

from tokenwise_core import process
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.request import Prepared, Request
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_core.switch import enabled
from tokenwise_langchain.memory.keeper import Keeper, Kept
from tokenwise_langchain.memory.models import answered_by, usage_of
from tokenwise_langchain.memory.naming import SessionOf, session_of
from tokenwise_langchain.memory.reopened import Reopened
from tokenwise_langchain.memory.summarizer import LanguageModel, Shown, Summarizer
from tokenwise_langchain.runs import Guard

_KEPT = 512


class SummaryBufferRunnable(Reopened, Runnable[LanguageModelInput, list[BaseMessage]]):
    """Takes all messages of a conversation, returns those that the model is to be shown.

    >>> chain = prompt | SummaryBufferRunnable(Memory(target_tokens=4_000), summarizer=cheap) | model
    >>> chain.invoke({"history": messages}, config={"configurable": {"session_id": "s-1"}})

    It takes what a chat model takes: messages, a prompt's value, a text. The session is the config's `session_id` or
    `thread_id`, or that of the scope, or what *session* names; without any, what was derived is forgotten with the
    call. It is kept in the memory's session store, so any worker goes on with it.

    *summarizer* makes summaries, begun with the request that makes them due; without one, sentences of the conversation
    stand in. *fixed_tokens* is what the model is sent beside the messages (tools). The usage of an answer is read from
    its message, where that comes back with the next request. In an agent, use `SummaryBufferMiddleware`.
    """

    opened = frozenset({"_pid", "_keeper", "_sent", "_lock", "_guard"})

    def __init__(
        self,
        memory: Memory | None = None,
        *,
        summarizer: LanguageModel | None = None,
        session: SessionOf = None,
        fixed_tokens: int = 0,
        name: str | None = None,
    ) -> None:
        self.memory, self.name = memory or Memory(), name
        self._summarizer, self._session, self._fixed_tokens = summarizer, session, fixed_tokens
        self._begin()

    def _begin(self) -> None:
        self._pid = process.pid
        self._keeper = Keeper(self.memory, stored=True)
        self._sent: LRUCache[str, tuple[Prepared, int]] = LRUCache(_KEPT)
        self._lock = threading.Lock()
        self._guard = Guard("memory")

    @property
    def errors(self) -> int:
        """How many lists went through as they were, because the adapter failed."""
        return self._guard.errors

    def usage(self, input: LanguageModelInput, config: RunnableConfig | None = None) -> MemoryUsage:
        """Return what a conversation holds and shows: tokens in all, by role, summaries, stable prefix.

        *input* is all of it, *config* names its session, as for `invoke`; without a session all is taken to be shown.
        """
        messages = _messages(input)
        return self._keeper.usage(session_of(self._session, ensure_config(config), messages), messages)

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What can be configured: the session."""
        return [
            ConfigurableFieldSpec(
                id="session_id",
                annotation=str,
                name="Session ID",
                description="Whose conversation the messages are.",
                default=None,
                is_shared=True,
            )
        ]

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[BaseMessage]:
        """Return what the model is to be shown of *input*."""
        return self._call_with_config(self._invoke, input, config)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[BaseMessage]:
        """Do the same without blocking the event loop."""
        return await self._acall_with_config(self._ainvoke, input, config)

    def _invoke(self, given: LanguageModelInput, run_manager: Any, config: RunnableConfig) -> list[BaseMessage]:
        messages = _messages(given)
        kept: Kept | None = None
        if enabled():
            with self._guard("prepare"):
                session = session_of(self._session, ensure_config(config), messages)
                asked = self._asked(session, messages)
                kept = self._keeper.show(session, messages, asked, self._summarizer_of)
                self._keeper.learn(session, kept, None, self._summarizer_of)
                self._note(session, kept)
        return messages if kept is None else kept.messages

    async def _ainvoke(self, given: LanguageModelInput, run_manager: Any, config: RunnableConfig) -> list[BaseMessage]:
        messages = _messages(given)
        kept: Kept | None = None
        if enabled():
            with self._guard("prepare"):
                session = session_of(self._session, ensure_config(config), messages)
                asked = self._asked(session, messages)
                kept = await self._keeper.ashow(session, messages, asked, self._summarizer_of)
                await self._keeper.alearn(session, kept, None, self._summarizer_of)
                self._note(session, kept)
        return messages if kept is None else kept.messages

    def _summarizer_of(self, shown: Shown) -> Summarizer | None:
        return None if self._summarizer is None else Summarizer(self._summarizer)

    def _asked(self, session: str | None, messages: Sequence[BaseMessage]) -> Request:
        """Return what core must know of the request; what the last answer reports is learnt on the way."""
        if self._pid != process.pid:  # a forked child, where a lock that another thread held is never let go
            self._begin()
        answer = next((one for one in reversed(messages) if isinstance(one, AIMessage)), None)
        with self._lock:
            before = self._sent.pop(session, None) if session is not None else None
        if before is not None and answer is not None:
            prepared, length = before
            usage = usage_of([one for one in messages[length:] if isinstance(one, AIMessage)][:1])
            if usage is not None:
                self.memory.answered(replace(prepared, block=None, made=None), usage=usage)
        model, provider = answered_by(answer)
        return Request(
            fixed_tokens=self._fixed_tokens,
            model=model,
            provider=provider,
            summariser=None if self._summarizer is None else "other",
        )

    def _note(self, session: str | None, kept: Kept) -> None:
        if session is not None:
            with self._lock:
                self._sent[session] = kept.prepared, len(kept.given)


def _messages(given: LanguageModelInput) -> list[BaseMessage]:
    if isinstance(given, PromptValue):
        return given.to_messages()
    return [HumanMessage(given)] if isinstance(given, str) else convert_to_messages(given)
