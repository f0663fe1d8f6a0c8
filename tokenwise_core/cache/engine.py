"""The way of a request through the cache: namespace, gate, key, memory, flight, store, neighbours, and back."""

from __future__ import annotations

import itertools
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from tokenwise_core import process
from tokenwise_core.cache.behind import Behind
from tokenwise_core.cache.entries import Entries
from tokenwise_core.cache.entry import CachedAnswer, Entry
from tokenwise_core.cache.exact import ExactCache, Kept, are_current
from tokenwise_core.cache.finder import Finder, Found, Policy
from tokenwise_core.cache.gate import VOLATILE_TTL_S, is_volatile, refused_answer, refused_request
from tokenwise_core.cache.index import FaissIndex
from tokenwise_core.cache.keeper import HitNote, Insert, Keeper, Limits
from tokenwise_core.cache.key import ContextMode, RequestKey, request_key
from tokenwise_core.cache.namespace import Namespaces
from tokenwise_core.cache.request import CacheRequest, Hit
from tokenwise_core.cache.stats import Counters
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.cache.warming import Parts
from tokenwise_core.deadline import Breaker, TooBusy, TooLate, Workers
from tokenwise_core.protocols import Clock, Embedder
from tokenwise_core.quick import quick
from tokenwise_core.said import Said
from tokenwise_core.scoping import current_scope
from tokenwise_core.singleflight import Flight, SingleFlight
from tokenwise_core.switch import enabled
from tokenwise_core.usage.pricing import PriceBook

log = logging.getLogger("tokenwise.cache")

T = TypeVar("T")
_hit = quick(Hit)
ADMIN_S = 30.0
"""Time budget of what a person asks for (feedback, explain)."""
REPHRASED_S = 600.0
"""How long the same rephrased words are served from memory before they are judged anew."""
EMBED_S = 60.0
"""Time budget of embedding one batch in the writer's thread."""
CLOSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a cache was made with, checked."""

    namespaces: Namespaces
    entries: Entries
    embedder: Embedder | None
    context: ContextMode
    policy: Policy
    limits: Limits
    ttl: Mapping[str | None, float]
    jitter: float
    tool_calls: bool
    shadow: bool
    deadline_s: float
    memory_bytes: int
    prices: PriceBook
    clock: Clock


class Engine:
    """One cache's working parts in one process: nothing open, in flight or counted when it is made. Never raises."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.pid = process.pid
        self.counters = Counters()
        self.exact = ExactCache(max_bytes=options.memory_bytes)
        self._flights: SingleFlight[Kept] = SingleFlight()
        self.workers = Workers(name="tokenwise-cache")
        self.breaker = Breaker(clock=time.monotonic)
        self.parts = Parts(
            entries=options.entries,
            embedder=options.embedder,
            policy=options.policy,
            prices=options.prices,
            clock=options.clock,
        )
        self.keeper = Keeper(
            self.parts.finder,
            counters=self.counters,
            limits=options.limits,
            protected=options.policy.protected,
            complete_key=self._complete_key,
            bounded=lambda work: self.workers.run(work, EMBED_S),
            clock=options.clock,
        )
        self.behind = Behind(self.keeper.write, self.keeper.idle, hurry=self.parts.wait_no_longer)
        self._hit_prefix, self._hit_numbers = secrets.token_hex(6), itertools.count(1)
        self._said = Said()

    # the way of a ticket

    def ticket(self, request: CacheRequest, *, counted: bool = True) -> Ticket:
        """Return the ticket of *request*, with its key where it may have a cache, and a hit where memory has one."""
        ticket = self._new_ticket(request, counted=counted)
        if ticket.reason is None and self._is_refresh_due:
            self._bounded(self._refreshed, ticket)  # the key needs the store's epochs
        return self._keyed(ticket, counted=counted)

    async def aticket(self, request: CacheRequest, *, counted: bool = True) -> Ticket:
        """Do what `ticket` does without blocking the event loop."""
        ticket = self._new_ticket(request, counted=counted)
        if ticket.reason is None and self._is_refresh_due:
            await self._abounded(self._refreshed, ticket)
        return self._keyed(ticket, counted=counted)

    def _new_ticket(self, request: CacheRequest, *, counted: bool) -> Ticket:
        """Return a ticket with its namespace, or the reason why it has no cache."""
        ticket = Ticket(request, namespace=None, owner=current_scope(), complete=self._complete)
        ticket.by_hand = not counted
        if not enabled():
            ticket.reason = "disabled"
        elif (namespace := self._options.namespaces.current()) is None:
            ticket.reason = "no_namespace"
        elif (refused := refused_request(request)) is not None:
            ticket.reason = refused
        elif self.breaker.is_open if counted else self.breaker.is_tripped:  # the one try is a lookup's
            ticket.reason = "off"
        else:
            ticket.namespace = namespace
            if self.parts.is_warm_up_due:
                self.workers.submit(self._warm_up)
        return ticket

    def _keyed(self, ticket: Ticket, *, counted: bool) -> Ticket:
        """Give the ticket its key and look in memory; without the store there is no key."""
        finder = self.parts.opened
        try:
            if ticket.reason is None and finder is not None:
                self._give_key(ticket, finder)
                if counted:
                    self._look_in_memory(ticket, finder)
        except Exception as error:
            ticket.key, ticket.reason = None, self.failed("key", error)
        if ticket.key is None:
            ticket.reason = ticket.reason or "error"
            if counted:
                self.counters.add(f"miss:{ticket.reason}")
        return ticket

    def _give_key(self, ticket: Ticket, finder: Finder) -> None:
        ticket.epochs = finder.epochs  # an answer begun before an invalidation is older than it
        ticket.key = self._key(ticket)
        if self.parts.embedder_id is None:
            ticket.without_embedder = "no_embedder" if self.parts.is_missing else "warming"

    def _key(self, ticket: Ticket) -> RequestKey:
        assert ticket.namespace is not None
        embedder = self.parts.embedder_id or ""
        namespace, epoch = ticket.namespace, ticket.epochs.get(f"ns:{ticket.namespace}", 0)
        return request_key(
            ticket.request, namespace=namespace, epoch=epoch, embedder=embedder, context=self._options.context
        )

    def _complete_key(self, ticket: Ticket) -> None:
        """Give a ticket that came while the embedder was loading its partition; waits for the embedder, not long."""
        if ticket.semantic_reason == "warming" and self.parts.waited_for_embedder():
            ticket.key, ticket.semantic_reason = self._key(ticket), None

    def _look_in_memory(self, ticket: Ticket, finder: Finder) -> None:
        assert ticket.key is not None
        kept = None if self.breaker.is_tripped else self.exact.get(ticket.key.exact)  # a try must try the store
        if kept is None:
            return
        if not kept.is_live(self._options.clock(), finder.epochs):
            self.exact.drop(ticket.key.exact)
        elif not kept.serves(ticket.request.capability):
            return
        elif kept.judgement is None:
            self._serve(ticket, kept, "exact")
        elif ticket.is_judged_like(kept):
            ticket.judgement = kept.judgement
            self._serve(ticket, kept, "semantic", similarity=kept.similarity)

    @staticmethod
    def is_settled(ticket: Ticket) -> bool:
        """Say whether nothing more is to be looked for."""
        return ticket.hit is not None or ticket.key is None or ticket.would_be is not None

    def followed(self, ticket: Ticket) -> Flight[Kept] | None:
        """Return the equal call in flight; None where this ticket now leads it.

        Equal calls could be served the same: one that is stricter than another does not share its rephrased hit. In
        the shadow nothing is shared.
        """
        assert ticket.key is not None
        if self._options.shadow:
            return None
        request, is_exact = ticket.request, (ticket.semantic_reason or "").startswith("unsafe")
        flight = self._flights.join(
            (ticket.key.exact, is_exact, request.capability, request.max_error, request.category)
        )
        if not flight.leads:
            return flight
        ticket.flight = flight
        return None

    def has_joined(self, ticket: Ticket, kept: Kept | None) -> bool:
        """Serve what an equal call has brought; False where it brought nothing, or was begun before an invalidation."""
        if kept is None or not are_current(kept.epochs, ticket.epochs):
            return False
        self._serve(ticket, kept, "joined")
        return True

    def search(self, ticket: Ticket) -> Ticket:
        """Look in the store and among the neighbours, within the deadline."""
        edition = self.exact.edition
        return self._settle(ticket, self._bounded(lambda: self._find(ticket), ticket), edition)

    async def asearch(self, ticket: Ticket) -> Ticket:
        """Do what `search` does without blocking the event loop."""
        edition = self.exact.edition
        return self._settle(ticket, await self._abounded(lambda: self._find(ticket), ticket), edition)

    def _find(self, ticket: Ticket) -> Found | str:
        finder = self._refreshed()
        return finder.exact(ticket) or ticket.semantic_reason or finder.semantic(ticket)

    def _settle(self, ticket: Ticket, found: Found | str | None, edition: int) -> Ticket:
        """Serve what was found, or say why nothing is served; *edition* of what memory held before the search."""
        if isinstance(found, Found) and ticket.key is not None:
            kept, answer = Kept.of(found.entry), found.entry.answer
            if found.neighbour is None or found.judgement is None:
                self.exact.put(ticket.key.exact, kept, edition=edition)
                self._serve(ticket, kept, "exact", answer=answer)
            else:
                similarity, until = found.neighbour.similarity, self._options.clock() + REPHRASED_S
                if ticket.request.max_error is None:
                    alias = kept.rephrased(similarity, found.judgement, category=ticket.request.category, until=until)
                    self.exact.put(ticket.key.exact, alias, edition=edition)
                self._serve(ticket, kept, "semantic", similarity=similarity, answer=answer)
            if ticket.flight is not None and ticket.hit is not None:
                ticket.flight.finish(kept)
        elif found is not None:
            ticket.reason = str(found)
        if ticket.hit is None and ticket.would_be is None:
            self.counters.add(f"miss:{ticket.reason or 'cold'}")
        return ticket

    def _serve(
        self,
        ticket: Ticket,
        kept: Kept,
        kind: str,
        *,
        similarity: float | None = None,
        answer: CachedAnswer | None = None,
    ) -> None:
        """Make the hit, and note it behind; in the shadow it is only remembered."""
        now = self._options.clock()
        judgement = ticket.judgement if kind == "semantic" else None
        hit = _hit(
            id=f"{self._hit_prefix}{next(self._hit_numbers):06x}",
            kind=kind,
            answer=answer or kept.answer(),
            similarity=similarity,
            score=None if judgement is None else judgement.score,
            bound=None if judgement is None else judgement.bound,
            age_s=max(now - kept.created_at, 0.0),
            saved=kept.saved,
        )
        if self._options.shadow:
            ticket.would_be, ticket.reason = hit, "shadow"
            self.counters.add("miss:shadow")
            self.counters.add(f"would:{kind}")
            return
        ticket.hit, ticket.reason, ticket.ended = hit, None, True
        self.counters.add_hit(kind, kept.saved)
        if not self.behind.later(HitNote(hit, ticket, kept, now)):
            self.counters.add("failure:hits")  # served, but nothing of it can be explained

    def _complete(self, ticket: Ticket, answer: CachedAnswer) -> None:
        """Take the model's answer: memory, those who wait, and the store behind. Never raises."""
        try:
            refused = self._refused(answer)
            if ticket.key is None or refused is not None:
                if refused is not None:
                    self.counters.add(f"refused:{refused}")
                return
            entry = self._entry(ticket, answer)
            kept = Kept.of(entry)
            self.exact.put(ticket.key.exact, kept)
            if ticket.flight is not None:
                ticket.flight.finish(kept)
            if not self.behind.put(Insert(ticket=ticket, entry=entry, kept=kept)):
                self.counters.add("dropped")
        except Exception as error:
            self.failed("store", error)

    def takes(self, ticket: Ticket, answer: CachedAnswer) -> bool:
        """Say whether *answer* would be stored."""
        return ticket.key is not None and self._refused(answer) is None

    def _refused(self, answer: CachedAnswer) -> str | None:
        return refused_answer(answer, tool_calls=self._options.tool_calls)

    def _entry(self, ticket: Ticket, answer: CachedAnswer) -> Entry:
        assert ticket.key is not None
        assert ticket.namespace is not None
        request, now = ticket.request, self._options.clock()
        tags = tuple(dict.fromkeys((*request.tags, *answer.tags)))
        return Entry(
            key=ticket.key.exact,
            namespace=ticket.namespace,
            answer=answer,
            created_at=now,
            category=request.category,
            expires_at=self._expiry(ticket, now),
            tags=tags,
            epochs={tag: ticket.epochs.get(f"tag:{tag}", 0) for tag in tags},
            owner=ticket.owner,
            capability=request.capability,
            cost_nano=self._cost(answer),
        )

    def _expiry(self, ticket: Ticket, now: float) -> float | None:
        """Return when an answer made *now* grows old, with jitter, so that not all of a burst expire at once."""
        category, asked = ticket.request.category, ticket.request.ttl_s
        lives = [
            life for life in (self._options.ttl.get(category, self._options.ttl.get(None)), asked) if life is not None
        ]
        if is_volatile(None if ticket.key is None else ticket.key.query):
            lives.append(VOLATILE_TTL_S)
        if not lives:
            return None
        return now + min(lives) * (1 - self._options.jitter * random.random())

    def _cost(self, answer: CachedAnswer) -> int | None:
        """Price what a hit saves, once the price list is loaded: loading it takes longer than a caller should wait."""
        if answer.usage is None or not self.parts.ready.is_set():
            return None
        cost = self._options.prices.cost(answer.usage, model=answer.model, provider=answer.provider)
        return None if cost is None else cost.nano

    # time budgets and failures

    def _bounded(self, work: Callable[[], T], ticket: Ticket) -> T | None:
        """Return what *work* returns within the deadline; None, counted and logged, where it fails or is late."""
        began = self.breaker.now
        try:
            value = self.workers.run(work, self._options.deadline_s - ticket.spent_s)
        except (TooLate, TooBusy, Exception) as error:
            ticket.reason = self.failed("lookup", error, since=began)
            return None
        ticket.spent_s += self.breaker.now - began
        self.breaker.succeeded()
        return value

    async def _abounded(self, work: Callable[[], T], ticket: Ticket) -> T | None:
        """Do what `_bounded` does without blocking the event loop."""
        began = self.breaker.now
        try:
            value = await self.workers.arun(work, self._options.deadline_s - ticket.spent_s)
        except (TooLate, TooBusy, Exception) as error:
            ticket.reason = self.failed("lookup", error, since=began)
            return None
        ticket.spent_s += self.breaker.now - began
        self.breaker.succeeded()
        return value

    def failed(self, part: str, error: BaseException, *, since: float | None = None) -> str:
        """Count and log a failure of ours, of work begun at *since*; return the reason of the miss that it makes."""
        late = isinstance(error, TooLate)
        reason = "timeout" if late else "busy" if isinstance(error, TooBusy) else "error"
        self.counters.add(f"failure:{part if reason == 'error' else reason}")
        tripped = reason != "busy" and self.breaker.failed(since=since)  # many at once are no fault
        kind = type(error).__name__
        if tripped:
            log.warning("the cache is off for a while: it failed several times in a row (%s, %s)", part, kind)
        elif self._said.is_due(part, error):
            log.warning("the cache failed (%s, %s): the call goes on without", part, kind)
        return reason

    def load(self) -> None:
        """Load what is slow."""
        self.parts.warm_up(self.keeper.catch_up)

    def _warm_up(self) -> None:
        try:
            self.load()
        except Exception as error:
            self.failed("open", error)

    @property
    def _is_refresh_due(self) -> bool:
        """Say whether the store must be opened, or asked what other processes did, before memory may answer."""
        finder = self.parts.opened
        return finder is None or finder.is_stale

    def _refreshed(self) -> Finder:
        """Open the store, or ask it what other processes did where that was long ago."""
        finder = self.parts.finder()
        if finder.is_stale:
            self.refresh()
        return finder

    def refresh(self) -> None:
        """Forget what memory holds where another process has deleted or invalidated something."""
        if self.parts.finder().refresh():
            self.exact.clear(unwritten=False)

    def asked_for(self, work: Callable[[], T]) -> T | None:
        """Return what a person asked for; None, counted and logged, where that fails."""
        try:
            return self.workers.run(work, ADMIN_S)
        except (TooLate, TooBusy, Exception) as error:
            self.failed("asked", error)
            return None

    def ready(self, timeout_s: float) -> bool:
        """Wait until store and embedder are open."""
        self.parts.retry_at_once()
        try:
            self.workers.run(self.load, timeout_s)
        except (TooLate, TooBusy):
            return False
        except Exception as error:
            self.failed("open", error)
            return False
        return self.parts.ready.wait(timeout_s)

    def forget(self) -> None:
        """Drop what memory and the index hold: they are made anew from the store."""
        self.exact.clear()
        finder = self.parts.opened
        if finder is not None and isinstance(finder.searcher, FaissIndex):
            finder.searcher.clear()

    def close(self) -> None:
        """Write what waits, and let go of handles and threads."""
        if self.behind.is_running:
            self.behind.stop()
        elif self.parts.opened is not None:
            with suppress(TooLate, TooBusy):  # counted, but nothing stored
                self.workers.run(self.keeper.idle, CLOSE_S)
        self.parts.close()
        self.workers.close()
