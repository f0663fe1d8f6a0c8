"""One session's log in this process, as LangChain messages: shared by all histories of the session."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.request import Prepared, Request
from tokenwise_core.memory.session import Session
from tokenwise_core.memory.sessions import Owner
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_core.scoping import current_scope
from tokenwise_langchain.memory.applied import applied
from tokenwise_langchain.memory.models import answered_by, usage_of
from tokenwise_langchain.memory.stored import decode, encode, project
from tokenwise_langchain.memory.summarizer import LanguageModel, Summarizer

_NO_QUESTION = " "
"""What is asked is not known: nothing is recalled for the turn before."""


class Log:
    """The messages of *session_id*; what is shown of them stays the same until more are added. Thread-safe."""

    def __init__(self, memory: Memory, session_id: str, owner: Owner | None) -> None:
        self.session = Session(memory, session_id, project=project, owner=owner)
        self._lock = threading.RLock()
        self._objects: list[tuple[dict[str, Any], BaseMessage]] = []
        self._copies: dict[int, tuple[str, BaseMessage]] = {}
        self._ids: set[str] = set()
        self._shown: tuple[int, object, list[str], list[BaseMessage]] | None = None
        self._prepared: Prepared | None = None
        self._model: tuple[str | None, str | None] = None, None

    def append(self, messages: Sequence[BaseMessage], summarizer: LanguageModel | None) -> None:
        """Append *messages*; an answer among them begins the summary that is due."""
        self.session.append([encode(message) for message in messages])
        answers = [message for message in messages if isinstance(message, AIMessage)]
        if answers:
            self._answered(answers[-1], summarizer)

    def all(self) -> list[BaseMessage]:
        """Return all messages."""
        with self._lock:
            return self._handed_out(self._built(self.session.messages()))

    def shown(
        self, question: Sequence[BaseMessage], summarizer: LanguageModel | None, *, fixed_tokens: int
    ) -> list[BaseMessage]:
        """Return what is shown of the log before *question*, which is stored later."""
        with self._lock:
            written = self.session.messages()
            last = written[-1] if written else None
            texts = [str(message.text) for message in question]
            if not self._is_shown(len(written), last, texts):
                self._shown = len(written), last, texts, self._derived(question, summarizer, fixed_tokens)
            return self._handed_out(self._shown[-1] if self._shown else [])

    def _is_shown(self, length: int, last: object, texts: list[str]) -> bool:
        """Say whether nothing came since the messages were derived that are shown now."""
        known = self._shown
        return known is not None and known[0] == length and known[1] is last and known[2] == texts

    def _handed_out(self, messages: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return copies, whose ids tell later that they came from here."""
        self._ids.update(message.id for message in messages if message.id is not None)
        return [message.model_copy() for message in messages]

    def of_turn(self, sent: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return the messages that *sent* begins with and that came from here."""
        with self._lock:
            known = next((at for at, message in enumerate(sent) if message.id not in self._ids), len(sent))
        return list(sent[:known])

    def clear(self) -> None:
        """Forget the session."""
        with self._lock:
            self.session.clear()
            self._shown = self._prepared = None

    @property
    def waits(self) -> bool:
        """Say whether it holds messages that the store has not taken yet."""
        return self.session.waits

    def usage(self) -> MemoryUsage:
        """Return what the session holds and shows."""
        return self.session.usage()

    def _derived(
        self, question: Sequence[BaseMessage], summarizer: LanguageModel | None, fixed_tokens: int
    ) -> list[BaseMessage]:
        model, provider = self._model
        request = Request(
            fixed_tokens=fixed_tokens,
            model=model,
            provider=provider,
            query=None if question else _NO_QUESTION,
            summariser=None if summarizer is None else "other",
        )
        ask = Summarizer(summarizer).ask if summarizer is not None else None
        prepared, written = self.session.prepare(request, more=[encode(message) for message in question], ask=ask)
        self._prepared = prepared
        messages = [*self._built(written[: len(written) - len(question)]), *question]
        shown = applied(prepared.plan, messages, mark=prepared.mark, copies=self._copies)
        return [message for message in shown if not any(message is one for one in question)]

    def _answered(self, answer: AIMessage, summarizer: LanguageModel | None) -> None:
        with self._lock:
            prepared, self._prepared = self._prepared, None
            named = answered_by(answer)
            self._model = named if named[0] else self._model
        if prepared is not None:
            ask = Summarizer(summarizer).ask if summarizer is not None else None
            self.session.answered(prepared, usage=usage_of([answer]), ask=ask)

    def _built(self, written: Sequence[dict[str, Any]]) -> list[BaseMessage]:
        """Return the messages that are *written*, those known as the objects that they are."""
        known = self._objects
        same = next(
            (at for at, (one, (other, _)) in enumerate(zip(written, known, strict=False)) if one is not other), None
        )
        same = min(len(written), len(known)) if same is None else same
        if same < len(known):
            del known[same:]
            self._copies = {at: copy for at, copy in self._copies.items() if at < same}
        known += [(one, decode(one)) for one in written[same:]]
        return [message for _, message in known]


def log_of(memory: Memory, session_id: str) -> Log:
    """Return the log of a session, the same for all who ask in this process, whose owner the scope in force names."""
    known = current_scope()
    owner = Owner(application=known.application, user=known.user) if known.application or known.user else None
    log: Log = memory.log((session_id, owner), lambda: Log(memory, session_id, owner))
    return log
