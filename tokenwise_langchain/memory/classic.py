"""`TokenwiseSummaryMemory`: in the place of `ConversationSummaryBufferMemory` in chains of `langchain-classic`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self
from uuid import uuid4

from langchain_classic.memory.chat_memory import BaseChatMemory
from langchain_classic.memory.utils import get_prompt_input_key
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, get_buffer_string
from langchain_core.prompts import BasePromptTemplate
from pydantic import ConfigDict, Field, model_validator

from tokenwise_core.errors import BadInput
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_langchain.memory.applied import is_ours
from tokenwise_langchain.memory.history import SummaryBufferHistory


class TokenwiseSummaryMemory(BaseChatMemory):
    """Keeps a chain's conversation whole, and shows the chain as much of it as pays.

    >>> chain = ConversationChain(llm=llm, memory=TokenwiseSummaryMemory(llm=llm, max_token_limit=2_000))

    *llm* makes the summaries, behind the answers; without one, sentences of the conversation stand in.
    *max_token_limit* is where a cut is looked for (the soft limit of *memory*, which may be given instead, with a hard
    one). *session_id* goes on with a session that *memory* keeps. *prompt*, a template of `summary` and `new_lines`,
    asks for the summaries; by default our words do. *moving_summary_buffer* is the summary that an empty session begins
    with. Of the original's options, `summary_message_cls` and `chat_memory` are not taken: the messages are those of
    the session.

    LangChain calls all classic memories deprecated: for agents use `SummaryBufferMiddleware`.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    llm: BaseLanguageModel | None = Field(default=None, exclude=True, repr=False)  # type: ignore[type-arg]  # pydantic
    memory: Memory | None = Field(default=None, exclude=True, repr=False)
    session_id: str = Field(default_factory=lambda: uuid4().hex)
    max_token_limit: int = 2000
    prompt: BasePromptTemplate | None = Field(default=None, exclude=True, repr=False)  # type: ignore[type-arg]  # pydantic
    begun_with: str = Field(default="", alias="moving_summary_buffer", exclude=True, repr=False)
    memory_key: str = "history"
    human_prefix: str = "Human"
    ai_prefix: str = "AI"
    chat_memory: BaseChatMessageHistory | None = Field(default=None, exclude=True)  # type: ignore[assignment]

    @model_validator(mode="after")
    def _open(self) -> Self:
        if isinstance(self.chat_memory, SummaryBufferHistory):
            return self
        if self.chat_memory is not None:
            raise BadInput(
                "chat_memory is not taken: give session_id='…' and memory=Memory(sessions='sqlite:///sessions.sqlite')"
            )
        self.memory = self.memory or Memory(target_tokens=self.max_token_limit)
        self.chat_memory = SummaryBufferHistory(self.session_id, self.memory, summarizer=self.llm, prompt=self.prompt)
        if self.begun_with.strip():
            self.chat_memory.begin(self.begun_with)
        return self

    @property
    def history(self) -> SummaryBufferHistory:
        """The session: `full_messages()` is all of it."""
        assert isinstance(self.chat_memory, SummaryBufferHistory)
        return self.chat_memory

    @property
    def memory_variables(self) -> list[str]:
        """The one variable that is filled in."""
        return [self.memory_key]

    @property
    def buffer(self) -> str | list[BaseMessage]:
        """What is shown now."""
        return self._formed(self.history.messages_for(()))

    async def abuffer(self) -> str | list[BaseMessage]:
        """Return the same without blocking the event loop."""
        return await asyncio.to_thread(lambda: self.buffer)

    @property
    def moving_summary_buffer(self) -> str:
        """The summaries that are shown now."""
        return "\n".join(str(message.text) for message in self.history.messages_for(()) if is_ours(message))

    @moving_summary_buffer.setter
    def moving_summary_buffer(self, summary: str) -> None:
        """Begin an empty session with *summary*; in another, summaries are made of what it holds."""
        if summary.strip() and not self.history.begin(summary):
            raise BadInput(
                "moving_summary_buffer cannot be put in the place of a session's own summaries: clear() it first, or "
                "give moving_summary_buffer='…' with a new session_id"
            )

    def load_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return what the chain is to be shown before the question in *inputs*."""
        return {self.memory_key: self._formed(self.history.messages_for(self._question(inputs)))}

    async def aload_memory_variables(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.load_memory_variables, inputs)

    def usage(self) -> MemoryUsage:
        """Return what the session holds and shows: tokens in all, by role, summaries, stable prefix."""
        return self.history.usage()

    def prune(self) -> None:
        """Do nothing: what is shown is decided when it is asked for."""

    async def aprune(self) -> None:
        """Do nothing, as `prune`."""

    def _question(self, inputs: dict[str, Any]) -> Sequence[BaseMessage]:
        with suppress(Exception):  # several inputs, or none: it is asked without being known
            asked = inputs[self.input_key or get_prompt_input_key(inputs, self.memory_variables)]
            if isinstance(asked, str):
                return [HumanMessage(asked)]
        return ()

    def _formed(self, messages: list[BaseMessage]) -> str | list[BaseMessage]:
        """Return the messages, or their text, in which a summary is nobody's turn."""
        if self.return_messages:
            return messages
        said = [SystemMessage(message.content) if is_ours(message) else message for message in messages]
        return get_buffer_string(said, human_prefix=self.human_prefix, ai_prefix=self.ai_prefix)
