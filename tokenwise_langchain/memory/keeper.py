"""One memory over lists of LangChain messages: what middleware and runnable share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage

from tokenwise_core import process
from tokenwise_core.errors import BadInput
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.plan import Plan
from tokenwise_core.memory.request import Prepared, Request
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.usage import MemoryUsage, usage_of
from tokenwise_core.memory.view import View
from tokenwise_core.memory.views import Views
from tokenwise_core.usage.events import Usage
from tokenwise_langchain.memory.applied import applied
from tokenwise_langchain.memory.mirror import Mirror, Mirrors
from tokenwise_langchain.memory.summarizer import Shown, Summarizer

SummarizerOf = Callable[[Shown], Summarizer | None]
"""Makes the summariser of one call of what the model was shown; None where no model makes summaries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What memory made of one request: the *messages* to be sent, and how it came to them."""

    prepared: Prepared
    messages: list[Any]
    given: Sequence[BaseMessage]

    @property
    def facts(self) -> dict[str, Any]:
        """What was decided, for traces: counts and words of ours, no text of the user's."""
        outcome = self.prepared.outcome
        return {
            "memory": outcome.reason or "unchanged",
            "memory_before": outcome.before,
            "memory_after": outcome.after,
            "memory_stable": self.prepared.prefix.stable_tokens,
        }

    def unmarked(self) -> list[BaseMessage]:
        """Return what was sent, without the marks by which its saving is booked: for a request of our own."""
        return applied(self.prepared.plan, self.given, mark=None, copies={})


class Keeper:
    """Shows models what *memory* makes of their conversations; *stored* views outlive the process."""

    def __init__(self, memory: Memory, *, stored: bool = False) -> None:
        if not isinstance(memory, Memory):
            raise BadInput(f"memory is {memory!r}: give a Memory, such as Memory(target_tokens=4000)")
        self.memory, self._stored = memory, stored
        self._begin()

    def _begin(self) -> None:
        self._pid = process.pid
        self._mirrors, self._views = Mirrors(self.memory), Views(self.memory, stored=self._stored)

    def _own(self) -> None:
        """Begin anew in a forked child: a lock that another thread held is never let go there."""
        if self._pid != process.pid:
            self._begin()

    def show(
        self,
        session: str | None,
        messages: Sequence[BaseMessage],
        request: Request,
        summarizer: SummarizerOf,
        *,
        view: View | None = None,
    ) -> Kept:
        """Return what to send of *messages*; *view* is what was derived before, where the framework keeps it."""
        self._own()
        if view is None and session is not None:
            self._views.read(session)
        with self._mirrors.using(session, messages) as (conversation, mirror):
            view = self._views.of(conversation) if view is None else view
            asked = self._inline(conversation, view, messages, summarizer, request)
            prepared = self.memory.prepare(conversation, view, request, ask=asked.ask if asked else None)
            return self._kept(prepared, messages, mirror)

    async def ashow(
        self,
        session: str | None,
        messages: Sequence[BaseMessage],
        request: Request,
        summarizer: SummarizerOf,
        *,
        view: View | None = None,
    ) -> Kept:
        """Do the same without blocking the event loop."""
        self._own()
        if view is None and session is not None and self._views.must_read(session):
            await self.memory.work(lambda: self._views.read(session))
        await self.memory.loaded()
        async with self._mirrors.ausing(session, messages) as (conversation, mirror):
            view = self._views.of(conversation) if view is None else view
            asked = self._inline(conversation, view, messages, summarizer, request)
            prepared = await self.memory.aprepare(conversation, view, request, ask=asked.aask if asked else None)
            return self._kept(prepared, messages, mirror)

    def learn(self, session: str | None, kept: Kept, usage: Usage | None, summarizer: SummarizerOf) -> None:
        """Note that the answer has come; begins the summary that is due."""
        self._own()
        if session is not None:
            self._views.keep(session, kept.prepared.view)
        asked = summarizer(kept.unmarked) if kept.prepared.made is not None else None
        self.memory.answered(kept.prepared, usage=usage, ask=asked.ask if asked else None)

    async def alearn(self, session: str | None, kept: Kept, usage: Usage | None, summarizer: SummarizerOf) -> None:
        """Do the same without blocking the event loop, also where the summary is waited for."""
        if self.memory.summaries == "after_answer":
            await asyncio.to_thread(self.learn, session, kept, usage, summarizer)
        else:
            self.learn(session, kept, usage, summarizer)

    def find(self, session: str | None, messages: Sequence[BaseMessage], query: str, *, view: View | None) -> str:
        """Return what left the context of *messages* and answers *query*; "" where nothing does."""
        self._own()
        with self._mirrors.using(session, messages) as (conversation, _):
            return self.memory.recalled(conversation, view or self._views.of(conversation), query)

    def usage(self, session: str | None, messages: Sequence[BaseMessage], *, view: View | None = None) -> MemoryUsage:
        """Return what *messages* hold, and what *view*, or the one known of *session*, shows of them."""
        self._own()
        if view is None:
            view = View() if session is None else self._views.read(session)
        with self._mirrors.using(None, messages) as (conversation, _):  # the session's own stays as it is
            return usage_of(conversation, view.holding(conversation), self.memory)

    def _kept(self, prepared: Prepared, messages: Sequence[BaseMessage], mirror: Mirror) -> Kept:
        shown = applied(prepared.plan, messages, mark=prepared.mark, copies=mirror.copies)
        return Kept(prepared=prepared, messages=shown, given=messages)

    def _inline(
        self,
        conversation: Conversation,
        view: View,
        messages: Sequence[BaseMessage],
        summarizer: SummarizerOf,
        request: Request,
    ) -> Summarizer | None:
        """Return who makes summaries before the request goes out: shown what would be sent without a cut."""
        if self.memory.summaries != "inline":
            return None
        return summarizer(lambda: applied(self._uncut(conversation, view, request), messages, mark=None, copies={}))

    def _uncut(self, conversation: Conversation, view: View, request: Request) -> Plan:
        memory = self.memory
        held = view.holding(conversation)
        return Situation(
            conversation=conversation,
            view=held,
            limits=memory.limits,
            count=memory.counter.text,
            tools=memory.tool_results,
            offers_recall=request.offers_recall,
        ).plan(held)
