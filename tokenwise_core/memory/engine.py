"""`Memory`: one request's way through strategy, summaries and recall; what adapters call."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from cachetools import LRUCache

from tokenwise_core import process
from tokenwise_core.flow import Asker, AsyncAsker, run
from tokenwise_core.memory.booking import announced
from tokenwise_core.memory.buffer import BlockSummary
from tokenwise_core.memory.checks import check_limits, check_parts, check_way
from tokenwise_core.memory.conversation import Conversation, message_counter
from tokenwise_core.memory.course import Course, Thought, Work, adrive, drive, thought
from tokenwise_core.memory.cutting import as_it_holds
from tokenwise_core.memory.economics import Rates
from tokenwise_core.memory.hygiene import cleared, originals, tidied
from tokenwise_core.memory.learned import Learned
from tokenwise_core.memory.logs import Logs, Open
from tokenwise_core.memory.paying import recall_room
from tokenwise_core.memory.prefix import marks
from tokenwise_core.memory.recall import Recall
from tokenwise_core.memory.recaller import Recaller
from tokenwise_core.memory.request import Prepared, Request, When, outcome_of
from tokenwise_core.memory.sessions import Sessions, open_sessions
from tokenwise_core.memory.sessions.protocol import owner_here
from tokenwise_core.memory.situation import Arranged, Limits, Situation, Strategy
from tokenwise_core.memory.stats import Counters, MemoryStats
from tokenwise_core.memory.store_access import StoreAccess
from tokenwise_core.memory.summarising import Summariser
from tokenwise_core.memory.threads import Threads
from tokenwise_core.memory.tool_results import ToolResults
from tokenwise_core.memory.unchanged import everything, unchanged
from tokenwise_core.memory.view import Block, Slot, View
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.protocols import Clock
from tokenwise_core.tokens import TokenCounter
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.pricing import PriceBook

log = logging.getLogger("tokenwise.memory")

T = TypeVar("T")

TARGET_TOKENS = 8_000
"""Soft limit of the whole context where nobody says another."""
WINDOW_SHARE = 0.9
"""What of a model's window is the hard limit where nobody says another: room for the answer, and for our counts."""
DEADLINE_MS = 150
CLOSE_S = 10.0
ORIGINAL_S = 5.0
LONG_TOKENS = 2_000
"""Tokens that are new since the last request beyond which they are not read on an event loop."""
_CONVERSATIONS = 512
_RECALL = Recall()


class Memory:
    """Keeps long conversations short where that pays, and within a hard limit in any case.

    *target_tokens* is the soft limit of the whole context: above it *strategy* (`BlockSummary()` by default) looks for
    a cut that pays. *max_tokens* is the hard one (nine tenths of the model's window by default). *recall* brings turns
    back that left the context, for questions that need them; None never does. *sessions* is where summaries in the
    making, and whole sessions, are kept: a URL or a store; this process's memory by default. *summaries* are made
    "background" (after the answer, in a thread of ours), "after_answer" (before the answer is handed on: for workers
    that are frozen between requests), or "inline" (before the request). *tool_results* shortens tools' results
    before they are first sent and clears old ones where that pays; what is left out, `original` returns. *pin* says
    which messages never go. *rates*
    are what tokens cost where the price list does not know (a model of your own).

    What fails, or takes longer than *deadline_ms*, leaves the request as it was last shown; nothing is raised.

    >>> memory = Memory(target_tokens=4_000, sessions="sqlite:///sessions.sqlite")
    """

    def __init__(
        self,
        strategy: Strategy | None = None,
        *,
        target_tokens: int = TARGET_TOKENS,
        max_tokens: int | None = None,
        recall: Recall | None = _RECALL,
        sessions: Sessions | str = "memory://",
        summaries: When = "background",
        tool_results: ToolResults | None = None,
        pin: Callable[[Message], bool] | None = None,
        counter: TokenCounter | None = None,
        prices: PriceBook | None = None,
        rates: Rates | None = None,
        deadline_ms: float = DEADLINE_MS,
        clock: Clock = time.time,
    ) -> None:
        check_limits(target_tokens, max_tokens)
        check_parts(strategy=strategy, recall=recall, tool_results=tool_results, pin=pin, rates=rates, counter=counter)
        check_way(summaries, deadline_ms)
        self.strategy: Strategy = strategy or BlockSummary()
        self.limits = Limits(target=target_tokens, max_tokens=max_tokens)
        self.recall, self.summaries = recall, summaries
        self.tool_results, self.pin = tool_results, pin
        self.sessions: Sessions = open_sessions(sessions) if isinstance(sessions, str) else sessions
        self.counter = counter or TokenCounter.for_model("gpt-4o")
        self.prices, self.rates = prices or PriceBook(), rates
        self.clock = clock
        self._deadline_s = deadline_ms / 1000
        self._begin()

    def _begin(self) -> None:
        self._pid = process.pid
        self._threads = Threads()
        self._workers = self._threads.workers
        self._workers.submit(lambda: self.counter.source)  # loads the tokeniser: else the first request would
        self._count = message_counter(self.counter.text)
        self._conversations: LRUCache[str, Conversation] = LRUCache(_CONVERSATIONS)
        self._lock = threading.Lock()
        self._learned = Learned(self.prices, clock=self.clock)
        self._summariser = Summariser(self.sessions, clock=self.clock)
        self._recaller = Recaller(self.recall, count=self.counter.text) if self.recall else None
        self._counters = Counters()
        self.store = StoreAccess(self._counters)
        self._logs = Logs()

    def _own(self) -> None:
        """Begin anew in a forked child: a lock that another thread held is never let go there."""
        if self._pid != process.pid:
            self._begin()

    # Conversations ----------------------------------------------------------------------------------------------------

    @contextmanager
    def using(self, id: str) -> Iterator[Conversation]:
        """Lend what this process knows of the conversation *id*: bring it up to date with `sync`, then `prepare`.

        Each borrower has it alone; who comes second at the same time gets one of its own, and reads the history anew.
        """
        self._own()
        with self._lock:
            conversation = self._conversations.pop(id, None) or Conversation(id, self._count)
        try:
            yield conversation
        finally:
            with self._lock:
                self._conversations[id] = conversation

    def log(self, key: Hashable, make: Callable[[], Open]) -> Any:
        """Return the log that an adapter keeps under *key*, the same for all who ask in this process."""
        self._own()
        return self._logs.get(key, make)

    def fixed_tokens(self, prompt: Prompt) -> int:
        """Return the tokens of what stands before a conversation: system messages, tools, answer format."""
        return self.counter.count(prompt).total

    # A request --------------------------------------------------------------------------------------------------------

    def prepare(
        self, conversation: Conversation, view: View, request: Request | None = None, *, ask: Asker | None = None
    ) -> Prepared:
        """Return what to send of *conversation*, and the view to remember; never raises.

        *ask* puts questions to the summariser; needed for inline summaries only.
        """
        request = request or Request()
        self._own()
        try:
            return drive(self._prepared(conversation, view, request), ask, self._workers, self._deadline_s)
        except Exception as error:  # fail-open: what was shown last, and what came since
            return self._as_before(conversation, view, request, error)

    async def aprepare(
        self, conversation: Conversation, view: View, request: Request | None = None, *, ask: AsyncAsker | None = None
    ) -> Prepared:
        """Do the same without blocking the event loop."""
        request = request or Request()
        self._own()
        try:
            await self.loaded()
            course = self._prepared(conversation, view, request)
            return await adrive(course, ask, self._workers, self._deadline_s)
        except Exception as error:  # fail-open
            return self._as_before(conversation, view, request, error)

    def answered(self, prepared: Prepared, *, usage: Usage | None = None, ask: Asker | None = None) -> None:
        """Note that the answer to *prepared* has come, with the provider's *usage*; begin the summary that is due.

        *ask* puts questions to the summariser; without it no summary of a model's is made. Never raises.
        """
        self._own()
        try:
            self._answered(prepared, usage, ask)
        except Exception as error:  # fail-open
            self._failed("answered", error)

    def _answered(self, prepared: Prepared, usage: Usage | None, ask: Asker | None) -> None:
        situation, block = prepared.situation, prepared.block
        if usage is not None:
            self._learned.observe(
                situation.conversation.id,
                model=situation.model,
                provider=situation.provider,
                sent=prepared.prefix.total_tokens,
                shared=prepared.prefix.stable_tokens,
                usage=usage,
                is_cold=situation.idle or situation.is_out_of_reach,
            )
        view = prepared.view
        leaves = max(view.cut, view.pending.stop if view.pending else 0)  # before it is gone: no request indexes it
        if self._recaller is not None and leaves:
            self._recaller.prepare(situation.conversation, leaves)
        if prepared.settled is not None:
            self._summariser.forget(situation.conversation.id, prepared.settled)
        if block is None or ask is None:
            return
        session = situation.conversation.id
        if prepared.made is None:
            return
        flow = prepared.made
        if self.summaries == "after_answer":
            self._summariser.make(session, block, lambda: run(flow, ask))
        else:
            self._summariser.begin(session, block, lambda: run(flow, ask))

    # ... in its steps

    def _prepared(self, conversation: Conversation, view: View, request: Request) -> Course[Prepared]:
        began = self.clock()
        awaited = view.pending
        view, reasons = as_it_holds(view, conversation)
        situation = self._situation(conversation, view, request, began)
        if (pending := view.pending) is not None and self.summaries != "inline":
            made = yield Work(lambda: self._summariser.ready(conversation.id, pending), otherwise=None)
            ready = {} if made is None else {pending.key: made}
            situation = replace(situation, ready=ready, failed=self._summariser.failures(conversation.id, pending))
        arranged, situation = yield from self._arranged(situation)
        arranged = replace(arranged, reason=", ".join(filter(None, [*reasons, arranged.reason])))
        self._keep(situation, view, arranged.view)
        shown = yield from self._with_recall(situation, arranged.view, request)
        return self._finished(situation, replace(arranged, view=shown), began, awaited=awaited)

    def _arranged(self, situation: Situation) -> Course[tuple[Arranged, Situation]]:
        """Return what the strategy decides, and what it decided on; long texts are read beside an event loop."""
        view, conversation = situation.view, situation.conversation
        is_long = conversation.tokens(view.length, len(conversation)) > LONG_TOKENS
        if is_long and situation.tools is not None:
            tidy = yield Thought(lambda: tidied(situation, view))
        else:
            tidy = tidied(situation, view)
        cleaned = replace(situation, view=cleared(situation, tidy))
        flow = self.strategy.arrange(cleaned)
        is_long = is_long or situation.total(situation.plan(view)) > situation.limits.target
        arranged: Arranged = yield from thought(flow) if is_long else flow
        reasons = ["tool results cleared"] if cleaned.view is not tidy else []
        return replace(arranged, reason=", ".join(filter(None, [*reasons, arranged.reason]))), cleaned

    def _keep(self, situation: Situation, before: View, after: View) -> None:
        """Keep the originals of tools' results that were shortened, behind: `recall(id)` returns them."""
        kept = originals(situation, before, after)
        session, owner = situation.conversation.id, owner_here()

        def keep() -> None:
            for name, text in kept.items():
                self.sessions.keep(session, name, text, owner=owner)

        if kept and not self._workers.submit(keep):
            self._counters.failed("originals")

    def behind(self, function: Callable[[], object]) -> bool:
        """Do *function* in a thread of ours, its errors unseen; at once where none is free and no event loop waits."""
        return self._threads.behind(function)

    async def work(self, function: Callable[[], T]) -> T:
        """Return what *function* returns, without blocking the event loop."""
        return await self._threads.work(function)

    async def loaded(self) -> None:
        """Wait, without blocking the event loop, until the tokeniser is there; at once where it is."""
        if not self.counter.is_loaded:
            await self.work(lambda: self.counter.source)

    def original(self, session: str, id: str) -> str | None:
        """Return the whole of a tool's result that was shortened under *id*; None where it is not known."""
        try:
            return self._workers.run(lambda: self.sessions.original(session, id), ORIGINAL_S)
        except Exception as error:  # fail-open
            self._failed("original", error)
            return None

    def recalled(self, conversation: Conversation, view: View, query: str) -> str:
        """Return the turns that left the context and say something to *query*; "" where none does. Never raises."""
        recaller = self._recaller
        try:
            evicted = view.holding(conversation).evicted
            if recaller is None or not evicted:
                return ""
            budget = recaller.recall.budget(self.limits.target)
            slot = self._workers.run(lambda: recaller.find(conversation, evicted, query, budget=budget), ORIGINAL_S)
        except Exception as error:  # fail-open
            self._failed("recalled", error)
            return ""
        return slot.text if slot is not None else ""

    def _situation(self, conversation: Conversation, view: View, request: Request, now: float) -> Situation:
        rates = self.rates or self._learned.rates(request.model, request.provider)
        limit = self.limits.max_tokens
        if limit is None:
            window = self._learned.window(request.model, request.provider)
            limit = None if window is None else round(window * WINDOW_SHARE)
        idle_s = None if view.account.at is None else now - view.account.at
        return Situation(
            conversation=conversation,
            view=view,
            limits=replace(self.limits, max_tokens=limit),
            count=self.counter.text,
            fixed=request.fixed_tokens,
            rates=rates,
            has_model=request.summariser is not None,
            waits=self.summaries == "inline" or request.summariser is None,
            reuses_prefix=request.summariser == "own",
            summariser_price=request.summariser_price,
            idle=idle_s is not None and rates.ttl_seconds is not None and idle_s > rates.ttl_seconds,
            scale=self._learned.scale(conversation.id),
            is_pinned=self.pin,
            tools=self.tool_results,
            offers_recall=request.offers_recall,
            model=request.model,
            provider=request.provider,
        )

    def _with_recall(self, situation: Situation, view: View, request: Request) -> Course[View]:
        """Return the view with the slot of the user's turn: the one that it has, or one that is searched now."""
        conversation, recaller = situation.conversation, self._recaller
        asked = conversation.last_user
        if recaller is None or asked is None or not view.evicted:
            return replace(view, slot=None)
        digest = conversation.digest(asked + 1)
        if view.slot is not None and view.slot.digest == digest:
            return view
        query = request.query or conversation.messages[asked].text
        if asked < view.cut or not recaller.recall.is_for(query):
            return replace(view, slot=None)
        budget = recall_room(situation, view, recaller.recall.budget(situation.limits.target))
        evicted = view.evicted
        slot: Slot | None = yield Work(
            lambda: recaller.find(conversation, evicted, query, budget=budget), otherwise=None
        )
        return replace(view, slot=slot or Slot(turn=asked, digest=digest, text="", tokens=0))

    def _finished(self, situation: Situation, arranged: Arranged, now: float, *, awaited: Block | None) -> Prepared:
        conversation, view = situation.conversation, arranged.view
        plan = situation.plan(view)
        prefix = situation.compared(plan)
        cost = situation.rates.request(prefix.total_tokens, prefix.stable_tokens)
        account = view.account.sent(ours=cost, everything=situation.everything, full=situation.full, at=now)
        mark = announced(self.strategy.name, situation, arranged, plan, account)
        if mark is not None:
            account = replace(account, unbooked=0.0)
        kept = replace(view, account=account, last=marks(plan.parts)).seen(conversation)
        due = arranged.begin if arranged.begin and self._summariser.may_begin(conversation.id, arranged.begin) else None
        after = replace(situation, view=kept)
        recalled = bool(view.slot and view.slot.text)
        self._counters.prepared(arranged.reason, full=situation.full, sent=prefix.total_tokens, recalled=recalled)
        return Prepared(
            outcome=outcome_of(situation, arranged, plan),
            view=kept,
            situation=after,
            prefix=prefix,
            mark=mark,
            block=due,
            settled=awaited if view.pending != awaited else None,
            made=self.strategy.summary(after, due) if due else None,
        )

    def look(self, conversation: Conversation, view: View, request: Request | None = None) -> Prepared:
        """Return what would be shown of *conversation* as things are: nothing is decided, counted or remembered."""
        return unchanged(self._bare(conversation, view, request or Request()))

    def _as_before(self, conversation: Conversation, view: View, request: Request, error: Exception) -> Prepared:
        """Return what was shown last with what came since; all of it where not even that can be made out."""
        self._failed("prepare", error)
        bare, notes = self._bare(conversation, view, request), (f"memory failed: {type(error).__name__}",)
        try:
            return unchanged(bare, reason="failed", notes=notes)
        except Exception as second:  # fail-open
            self._failed("plan", second)
            return everything(bare, reason="failed", notes=notes)

    def _bare(self, conversation: Conversation, view: View, request: Request) -> Situation:
        return Situation(
            conversation=conversation,
            view=view,
            limits=self.limits,
            count=self.counter.text,
            fixed=request.fixed_tokens,
            tools=self.tool_results,
            offers_recall=request.offers_recall,
        )

    def _failed(self, part: str, error: Exception) -> None:
        if self._counters.failed(part) == 1 or log.isEnabledFor(logging.DEBUG):
            log.warning(
                "memory failed (%s: %s): the request goes on as before", part, type(error).__name__, exc_info=error
            )

    # What it has done -------------------------------------------------------------------------------------------------

    def stats(self) -> MemoryStats:
        """Return what this memory has done in this process."""
        self._own()
        recaller = self._recaller
        return self._counters.stats(
            summaries=self._summariser.counts, lexical_only=recaller.lexical_only if recaller else 0
        )

    def drain(self, timeout_s: float = 60.0) -> bool:
        """Wait until no summary is in the making and all that left the context is searchable; False past the time."""
        self._own()
        until = time.monotonic() + timeout_s
        made = self._summariser.drain(timeout_s)
        left = max(0.0, until - time.monotonic())
        return made and (self._recaller is None or self._recaller.drain(left))

    async def adrain(self, timeout_s: float = 60.0) -> bool:
        """Do the same without blocking the event loop."""
        return await asyncio.to_thread(self.drain, timeout_s)

    def close(self) -> None:
        """Wait for what is in the making, and close the session store."""
        self.drain(CLOSE_S)
        self.sessions.close()

    def __getstate__(self) -> dict[str, Any]:
        left_out = (
            "_pid", "_threads", "_workers", "_conversations", "_lock", "_learned", "_summariser", "_recaller",
            "_counters", "_count", "_logs", "store",
        )  # fmt: skip
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __deepcopy__(self, memo: dict[int, Any]) -> Memory:
        return self  # what is in the making, and known of conversations, stays one
