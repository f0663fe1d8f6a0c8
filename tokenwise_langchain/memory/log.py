"""One session's log in this process, as LangChain messages: shared by all histories of the session."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from operator import is_
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.plan import Keep, Swap
from tokenwise_core.memory.request import Prepared, Request
from tokenwise_core.memory.session import Session
from tokenwise_core.memory.sessions import Owner
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_core.scoping import current_scope
from tokenwise_core.twins import Twin, copies, twin_of
from tokenwise_langchain.memory.applied import applied
from tokenwise_langchain.memory.models import answered_by, usage_of
from tokenwise_langchain.memory.stored import decode, encode, project
from tokenwise_langchain.memory.summarizer import Summarizer

_NO_QUESTION = " "
"""What is asked is not known: nothing is recalled for the turn before."""


class Log:
    """The messages of *session_id*; what is shown of them stays the same until more are added. Thread-safe."""

    def __init__(self, memory: Memory, session_id: str, owner: Owner | None) -> None:
        self.session = Session(memory, session_id, project=project, owner=owner)
        self._lock = threading.RLock()
        self._written: list[dict[str, Any]] = []
        self._objects: list[BaseMessage] = []
        self._twins: list[Twin] = []
        self._names: list[str] = []
        self._copies: dict[int, tuple[str, BaseMessage]] = {}
        self._ids: set[str | None] = set()  # of what was handed out: they tell later what came from here
        self._shown: tuple[int, object, list[str], list[Twin]] | None = None
        self._prepared: Prepared | None = None
        self._model: tuple[str | None, str | None] = None, None

    def begin(self, message: BaseMessage) -> bool:
        """Begin with *message*, whose id makes a second time harmless; False where there are messages already."""
        if self.session.messages():
            return False
        self.session.append([encode(message)], ids=[str(message.id)])
        return True

    def append(self, messages: Sequence[BaseMessage], summarizer: Summarizer | None) -> None:
        """Append *messages*; an answer among them begins the summary that is due."""
        self.session.append([encode(message) for message in messages])
        answers = [message for message in messages if isinstance(message, AIMessage)]
        if answers:
            self._answered(answers[-1], summarizer)

    def all(self) -> list[BaseMessage]:
        """Return all messages."""
        with self._lock:
            self._built(self.session.messages())
            self._ids.update(self._names)
            return copies(self._twins)

    def shown(
        self, question: Sequence[BaseMessage], summarizer: Summarizer | None, *, fixed_tokens: int
    ) -> list[BaseMessage]:
        """Return what is shown of the log before *question*, which is stored later."""
        with self._lock:
            written = self.session.messages()
            last = written[-1] if written else None
            texts = [str(message.text) for message in question]
            if not self._is_shown(len(written), last, texts):
                self._shown = len(written), last, texts, self._derived(question, summarizer, fixed_tokens)
            return copies(self._shown[-1]) if self._shown else []

    def _is_shown(self, length: int, last: object, texts: list[str]) -> bool:
        """Say whether nothing came since the messages were derived that are shown now."""
        known = self._shown
        return known is not None and known[0] == length and known[1] is last and known[2] == texts

    def of_turn(self, sent: Sequence[BaseMessage]) -> list[BaseMessage]:
        """Return the messages that *sent* begins with and that came from here."""
        with self._lock:
            known = list(takewhile(self._ids.__contains__, [message.id for message in sent]))
        return list(sent[: len(known)])

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

    def _derived(self, question: Sequence[BaseMessage], summarizer: Summarizer | None, fixed_tokens: int) -> list[Twin]:
        """Decide what is shown, and return what makes copies of it."""
        model, provider = self._model
        request = Request(
            fixed_tokens=fixed_tokens,
            model=model,
            provider=provider,
            query=None if question else _NO_QUESTION,
            summariser=None if summarizer is None else "other",
        )
        ask = summarizer.ask if summarizer is not None else None
        prepared, written = self.session.prepare(request, more=[encode(message) for message in question], ask=ask)
        self._prepared = prepared
        known = self._built(written[: len(written) - len(question)])
        return self._carried_out(prepared, known)

    def _carried_out(self, prepared: Prepared, known: Sequence[BaseMessage]) -> list[Twin]:
        """Return what makes copies of what the plan shows of *known*, and of the messages that it puts in."""
        parts = [part for part in prepared.plan.parts if not isinstance(part, Swap) or part.position < len(known)]
        ours = replace(prepared.plan, parts=tuple(part for part in parts if not isinstance(part, Keep)))
        put_in = iter(applied(ours, known, mark=prepared.mark, copies=self._copies))
        shown: list[Twin] = []
        for part in parts:
            if isinstance(part, Keep):
                self._ids.update(self._names[part.start : part.stop])
                shown += self._twins[part.start : part.stop]
            else:
                message = next(put_in)
                self._ids.add(str(message.id))
                shown.append(twin_of(message))
        return shown

    def _answered(self, answer: AIMessage, summarizer: Summarizer | None) -> None:
        with self._lock:
            prepared, self._prepared = self._prepared, None
            named = answered_by(answer)
            self._model = named if named[0] else self._model
        if prepared is not None:
            ask = summarizer.ask if summarizer is not None else None
            self.session.answered(prepared, usage=usage_of([answer]), ask=ask)

    def _built(self, written: Sequence[dict[str, Any]]) -> list[BaseMessage]:
        """Return the messages that are *written*, those known as the objects that they are; not to be changed."""
        same = min(len(written), len(self._written))
        if not all(map(is_, written, self._written)):
            same = next(at for at in range(same) if written[at] is not self._written[at])
        if same < len(self._written):
            del self._written[same:], self._objects[same:], self._twins[same:], self._names[same:]
            self._copies = {at: copy for at, copy in self._copies.items() if at < same}
        new = [decode(one) for one in written[same:]]
        self._written += written[same:]
        self._objects += new
        self._twins += map(twin_of, new)
        self._names += [str(message.id) for message in new]
        return self._objects


def owner_named() -> Owner | None:
    """Return whose sessions are that begin here, by the scope in force; None where it names nobody."""
    known = current_scope()
    return Owner(application=known.application, user=known.user) if known.application or known.user else None


def log_of(memory: Memory, session_id: str, owner: Owner | None) -> Log:
    """Return the log of *owner*'s session, the same for all who ask in this process."""
    log: Log = memory.log((session_id, owner), lambda: Log(memory, session_id, owner))
    return log
