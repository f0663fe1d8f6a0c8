"""`SummaryBufferHistory`: a message history whose log is whole and whose messages fit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from tokenwise_core import process
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_core.switch import enabled
from tokenwise_langchain.memory.applied import known_summary
from tokenwise_langchain.memory.log import Log, log_of, owner_named
from tokenwise_langchain.memory.reopened import Reopened
from tokenwise_langchain.memory.summarizer import LanguageModel, Summarizer
from tokenwise_langchain.memory.turns import Reading, reading
from tokenwise_langchain.memory.worded import Template, checked_template
from tokenwise_langchain.runs import Guard


class SummaryBufferHistory(Reopened, BaseChatMessageHistory):
    """The history of one session, kept in *memory*'s session store: all of it, and shown as far as it pays.

    >>> memory = Memory(target_tokens=2_000, sessions="sqlite:///sessions.sqlite")
    >>> chain = RunnableWithMessageHistory(model, lambda session: SummaryBufferHistory(session, memory))

    `messages` is what the model is to be shown: summaries as messages in the user's role, then the latest turns. It
    stays the same until messages are added. `full_messages()` is the log, to which messages are only ever appended.
    *summarizer* makes summaries, asked by *prompt* (a template of `summary` and `new_lines`) or in our words; without
    one, sentences of the conversation stand in. *fixed_tokens* is what the prompt holds beside the history.

    Turns of one session may run at the same time under `RunnableWithMessageHistory`, in several threads and processes:
    no message is lost, none is stored twice. LangChain calls that class, and histories, deprecated: for agents use
    `SummaryBufferMiddleware`.
    """

    opened = frozenset({"_pid", "_opened", "_guard"})

    def __init__(
        self,
        session_id: str,
        memory: Memory,
        *,
        summarizer: LanguageModel | None = None,
        prompt: Template | None = None,
        fixed_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.session_id, self.memory = session_id, memory
        self._summarizer, self._prompt, self._fixed_tokens = summarizer, checked_template(prompt), fixed_tokens
        self._owner = owner_named()
        self._begin()

    def _begin(self) -> None:
        self._pid = process.pid
        self._opened, self._guard = log_of(self.memory, self.session_id, self._owner), Guard("memory")

    @property
    def _log(self) -> Log:
        """The session's log in this process: a forked child opens its own."""
        if self._pid != process.pid:
            self._begin()
        return self._opened

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # the base declares an attribute, or property
        """What the model is to be shown; copies."""
        return self._read(reading())

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the same without blocking the event loop."""
        return await asyncio.to_thread(self._read, reading())

    def messages_for(self, question: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return what the model is to be shown before *question*: with what was recalled for it."""
        return self._read(Reading(question=question))

    def full_messages(self) -> list[BaseMessage]:
        """Return all messages ever added; copies."""
        return self._log.all()

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append *messages*; an answer among them begins the summary that is due."""
        if messages:
            self._log.append(messages, self._asker() if enabled() else None)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Do the same without blocking the event loop."""
        await asyncio.to_thread(self.add_messages, messages)

    def begin(self, summary: str) -> bool:
        """Begin with a *summary* that was made elsewhere; False where the session has messages, and stays as it is."""
        return self._log.begin(known_summary(summary))

    def clear(self) -> None:
        """Forget the session: messages, summaries, originals; raises `StoreError` where they are still there."""
        self._log.clear()

    async def aclear(self) -> None:
        """Do the same without blocking the event loop."""
        await asyncio.to_thread(self.clear)

    def usage(self) -> MemoryUsage:
        """Return what the session holds and shows: tokens in all, by role, summaries, stable prefix."""
        return self._log.usage()

    def _asker(self) -> Summarizer | None:
        return None if self._summarizer is None else Summarizer(self._summarizer, prompt=self._prompt)

    def _read(self, read: Reading) -> list[BaseMessage]:
        if read.sent is not None:
            return self._log.of_turn(read.sent)
        if enabled():
            with self._guard("show a history"):
                return self._log.shown(read.question, self._asker(), fixed_tokens=self._fixed_tokens)
        return self._log.all()
