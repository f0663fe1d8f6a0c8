"""The semantic cache: repeated and rephrased questions cost nothing, and nobody gets an answer to another question."""

from __future__ import annotations

import logging
import os
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from rich.progress import track

from tokenwise_core.cache.behind import Behind
from tokenwise_core.cache.entries import Entries, open_entries
from tokenwise_core.cache.entry import CachedAnswer, Entry, HitRecord, NamespaceTotals
from tokenwise_core.cache.exact import ExactCache, Kept
from tokenwise_core.cache.explain import Explanation, explanation, judge_hit
from tokenwise_core.cache.finder import Finder, Found, Policy
from tokenwise_core.cache.gate import VOLATILE_TTL_S, exact_only, is_volatile, refused_answer, refused_request
from tokenwise_core.cache.keeper import HitNote, Insert, Keeper, Limits
from tokenwise_core.cache.key import ContextMode, request_key
from tokenwise_core.cache.namespace import Namespace, Namespaces
from tokenwise_core.cache.request import CacheRequest, Hit, Served
from tokenwise_core.cache.stats import CacheStats, Counters
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.cache.warming import Parts
from tokenwise_core.deadline import Breaker, TooBusy, TooLate, Workers
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.errors import BadInput
from tokenwise_core.protocols import Clock, Embedder
from tokenwise_core.scoping import current_scope
from tokenwise_core.settings import load_settings
from tokenwise_core.singleflight import SingleFlight
from tokenwise_core.switch import enabled
from tokenwise_core.usage.pricing import PriceBook

log = logging.getLogger("tokenwise.cache")

T = TypeVar("T")
JOIN_S = 120.0
"""How long a caller waits for an equal call in flight before it makes its own."""
ADMIN_S = 30.0
"""Time budget of what a person asks for (feedback, explain)."""
_DEFAULT: Any = object()


class SemanticCache:
    """Serves a stored answer where the same was asked before: word for word, or rephrased and verified.

    Only the question may differ; model, parameters, system prompt, tools, history (*context*) and *namespace* must be
    equal. A rephrased question is served only while the upper confidence bound of the false-hit rate stays below
    *max_error* (0 = exact hits only), which is learnt from the misses; *shadow* serves nothing and reports what would
    have been served, and how often wrongly.

    *namespace* is a name, or a callable of the scope (None: no cache for this call); `shared=True` shares among all.
    *entries* is a store or its URL (default: `TOKENWISE_CACHE`, else a SQLite file in the user's data directory);
    *embedder* None is exact hits only. *ttl_s* is one life or one a category (None: for ever), cut by up to
    *jitter* at random. *vetoes_off* names vetoes to skip, for all or by category; *protected* terms must stand in both
    questions or in neither. *max_entries* and *max_bytes* bound each namespace.

    Failures are misses: each lookup has *deadline_ms*, errors are counted (`stats()`) and logged, and after five in a
    row the cache is off for half a minute. Only the constructor raises, and what a person asks for (`invalidate`,
    `clear`, `purge`). Thread-safe, for any number of event loops; copies, pickles and forked children open the store
    anew.
    """

    def __init__(
        self,
        *,
        namespace: Namespace | None = None,
        shared: bool = False,
        entries: Entries | str | None = None,
        embedder: Embedder | None = _DEFAULT,
        max_error: float = 0.05,
        context: str = "exact",
        ttl_s: float | Mapping[str | None, float] | None = None,
        jitter: float = 0.1,
        max_entries: int | None = None,
        max_bytes: int | None = None,
        merge: float | None = 0.98,
        tool_calls: bool = False,
        vetoes_off: Collection[str] | Mapping[str | None, Collection[str]] = (),
        protected: Sequence[str] = (),
        deadline_ms: float = 150.0,
        shadow: bool = False,
        explore: float = 0.03,
        memory_bytes: int = 64 << 20,
        prices: PriceBook | None = None,
        clock: Clock = time.time,
    ) -> None:
        self._given = {name: value for name, value in locals().items() if name not in {"self", "embedder", "__class__"}}
        self._embedder = default_embedder() if embedder is _DEFAULT else embedder
        self._namespaces = Namespaces(namespace, shared=shared)
        self._context = ContextMode.parse(context)
        if self._context.kind == "ignore":
            log.warning("context='ignore': answers are shared between conversations that differ before the question")
        _check(max_error=max_error, explore=explore, jitter=jitter, merge=merge, deadline_ms=deadline_ms)
        off = vetoes_off if isinstance(vetoes_off, Mapping) else {None: tuple(vetoes_off)}
        self._policy = Policy(max_error=max_error, explore=explore, vetoes_off=off, protected=tuple(protected))
        self._limits = Limits(max_entries=max_entries, max_bytes=max_bytes, merge=merge)
        self._ttl = ttl_s if isinstance(ttl_s, Mapping) else {None: ttl_s} if ttl_s is not None else {}
        self._jitter, self._tool_calls, self._shadow = jitter, tool_calls, shadow
        self._deadline_s, self._memory_bytes, self._clock = deadline_ms / 1000, memory_bytes, clock
        self._entries = open_entries(entries or load_settings().cache) if not isinstance(entries, Entries) else entries
        self._prices = prices or PriceBook()
        self._begin()

    def _begin(self) -> None:
        """Begin as a new process does: nothing open, nothing in flight, nothing counted."""
        self._pid = os.getpid()
        self._counters = Counters()
        self._exact = ExactCache(max_bytes=self._memory_bytes)
        self._flights: SingleFlight[Kept] = SingleFlight()
        self._workers = Workers(name="tokenwise-cache")
        self._breaker = Breaker(clock=time.monotonic)
        self._parts = Parts(
            entries=self._entries,
            embedder=self._embedder,
            policy=self._policy,
            prices=self._prices,
            clock=self._clock,
        )
        self._keeper = Keeper(
            self._parts.finder,
            counters=self._counters,
            limits=self._limits,
            protected=self._policy.protected,
            clock=self._clock,
        )
        self._behind = Behind(self._keeper.write, self._keeper.idle)
        self._hit_prefix, self._hit_number = secrets.token_hex(6), 0

    # asking

    def lookup(self, request: CacheRequest) -> Ticket:
        """Look for an answer. Without a hit, ask the model and end the ticket."""
        ticket = self._ticket(request)
        return ticket if self._is_settled(ticket) else self._search(ticket)

    async def alookup(self, request: CacheRequest) -> Ticket:
        """Do what `lookup` does without blocking the event loop."""
        ticket = self._ticket(request)
        return ticket if self._is_settled(ticket) else await self._asearch(ticket)

    def begin(self, request: CacheRequest) -> Ticket:
        """Look for an answer, or wait for an equal call in flight; without a hit the caller leads such a call.

        The ticket of a leader must be ended (`complete`, `abandon`): others wait for it.
        """
        ticket = self._ticket(request)
        if self._is_settled(ticket):
            return ticket
        give_up = time.monotonic() + JOIN_S
        while not self._leads(ticket) and time.monotonic() < give_up:
            assert ticket.flight is not None
            flight, ticket.flight = ticket.flight, None
            if self._has_joined(ticket, flight.wait(max(give_up - time.monotonic(), 0.0))):
                return ticket
        return self._search(ticket)

    async def abegin(self, request: CacheRequest) -> Ticket:
        """Do what `begin` does without blocking the event loop."""
        ticket = self._ticket(request)
        if self._is_settled(ticket):
            return ticket
        give_up = time.monotonic() + JOIN_S
        while not self._leads(ticket) and time.monotonic() < give_up:
            assert ticket.flight is not None
            flight, ticket.flight = ticket.flight, None
            if self._has_joined(ticket, await flight.await_(max(give_up - time.monotonic(), 0.0))):
                return ticket
        return await self._asearch(ticket)

    def run(self, request: CacheRequest, call: Callable[[], CachedAnswer]) -> Served:
        """Return a cached answer, or that of *call*, which equal callers share; what *call* raises is raised."""
        with self.begin(request) as ticket:
            if ticket.hit is not None:
                return Served(answer=ticket.hit.answer, hit=ticket.hit)
            answer = call()
            ticket.complete(answer)
            return Served(answer=answer, reason=ticket.reason)

    async def arun(self, request: CacheRequest, call: Callable[[], Awaitable[CachedAnswer]]) -> Served:
        """Do what `run` does for a coroutine function."""
        with await self.abegin(request) as ticket:
            if ticket.hit is not None:
                return Served(answer=ticket.hit.answer, hit=ticket.hit)
            answer = await call()
            ticket.complete(answer)
            return Served(answer=answer, reason=ticket.reason)

    def put(self, request: CacheRequest, answer: CachedAnswer) -> None:
        """Store an answer that was not asked for here."""
        ticket = self._ticket(request, counted=False)
        if ticket.key is not None:
            ticket.complete(answer)

    def warm(
        self,
        pairs: Iterable[tuple[CacheRequest, CachedAnswer]],
        *,
        progress: bool | None = None,
        total: int | None = None,
    ) -> int:
        """Store many answers, with a progress bar in a terminal; return how many were handed to the store.

        Waits for the embedder, and for the store every few hundred: nothing is dropped for want of room.
        """
        self.ready()
        stored = 0
        shown = track(pairs, description="warming the cache", total=total, disable=progress is False, transient=True)
        for request, answer in shown:
            self.put(request, answer)
            stored += 1
            if stored % 500 == 0:
                self.flush(ADMIN_S)
        self.flush(ADMIN_S)
        return stored

    # looking back

    def feedback(self, hit_id: str, *, ok: bool) -> bool:
        """Say whether a served answer was right; a wrong one is not served again. False where the hit is unknown."""
        self.flush(ADMIN_S)
        judged = self._asked_for(
            lambda: judge_hit(self._parts.finder(), self._keeper, hit_id, ok=ok, now=self._clock())
        )
        if judged:
            self._counters.add(f"feedback:{'right' if ok else 'wrong'}")
            if not ok:
                self._exact.clear()
        return bool(judged)

    def explain(self, hit_id: str) -> Explanation | None:
        """Return why an answer was served: both questions, their likeness, score, bound, vetoes, age, what it saved."""
        self.flush(ADMIN_S)
        return self._asked_for(
            lambda: explanation(self._parts.finder(), hit_id, now=self._clock(), policy=self._policy)
        )

    def stats(self) -> CacheStats:
        """Return what this process has counted."""
        self._renew_after_fork()
        return self._counters.stats(trips=self._breaker.trips, is_off=self._breaker.is_tripped)

    def totals(self) -> list[NamespaceTotals]:
        """Return what is stored, a row a namespace."""
        self.flush()
        return self._entries.totals()

    # invalidation

    def invalidate(self, *tags: str) -> None:
        """Kill all answers that depend on any of *tags*, at once and for all processes (within a second)."""
        for tag in tags:
            self._entries.bump(f"tag:{tag}")
        self._parts.finder().refresh()

    def invalidate_namespace(self, namespace: str | None = None) -> None:
        """Kill all answers of a namespace (default: the one in force here), at once."""
        name = self._named(namespace)
        self._entries.bump(f"ns:{name}")
        self._parts.finder().refresh()

    def clear(self, namespace: str | None = None) -> int:
        """Delete all entries, or those of one namespace; return how many."""
        self.flush()
        deleted = self._entries.clear(namespace=None if namespace is None else self._named(namespace))
        self._exact.clear()
        return deleted

    def purge(self, *, user: str | None = None, session: str | None = None, application: str | None = None) -> int:
        """Delete what was stored for a user, a session or an application; return how many entries."""
        self.flush()
        deleted = self._entries.purge(user=user, session=session, application=application)
        self._exact.clear()
        return deleted

    # being

    def ready(self, timeout_s: float = 30.0) -> bool:
        """Wait until store and embedder are open; False past *timeout_s*, or where one cannot be opened."""
        self._renew_after_fork()
        self._parts.retry_at_once()
        try:
            self._workers.run(self._load, timeout_s)
        except (TooLate, TooBusy):
            return False
        except Exception as error:
            self._failed("open", error)
            return False
        return self._parts.ready.wait(timeout_s)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all that was handed over is stored; False past *timeout_s*."""
        return self._behind.flush(timeout_s)

    def close(self) -> None:
        """Write what waits, and let go of all handles. The next use opens them again."""
        self._behind.stop()
        self._behind = Behind(self._keeper.write, self._keeper.idle)
        self._parts.close()

    async def aclose(self) -> None:
        """Do what `close` does without blocking the event loop."""
        await self._workers.arun(self.close, ADMIN_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __getstate__(self) -> dict[str, Any]:
        return {**self._given, "entries": self._entries, "embedder": self._embedder, "prices": self._prices}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a copy is a cache of the same settings

    # the way of a ticket

    def _ticket(self, request: CacheRequest, *, counted: bool = True) -> Ticket:
        """Return the ticket of *request*, with its key where it may have a cache, and a hit where memory has one."""
        self._renew_after_fork()
        ticket = Ticket(request, namespace=None, owner=current_scope(), complete=self._complete)
        try:
            self._prepare(ticket)
            if counted and ticket.key is not None:
                self._look_in_memory(ticket)
        except Exception as error:
            self._failed("key", error)
            ticket.key, ticket.reason = None, "error"
        if counted and ticket.hit is None and ticket.key is None:
            self._counters.add(f"miss:{ticket.reason}")
        return ticket

    def _prepare(self, ticket: Ticket) -> None:
        ticket.namespace = self._namespaces.current() if enabled() else None
        if not enabled():
            ticket.reason = "disabled"
        elif ticket.namespace is None:
            ticket.reason = "no_namespace"
        elif self._breaker.is_open:
            ticket.reason = "off"
        else:
            ticket.reason = refused_request(ticket.request)
        if ticket.reason is not None:
            return
        if self._parts.is_warm_up_due:
            self._workers.submit(self._warm_up)
        finder = self._parts.opened
        if finder is None:
            finder = self._bounded(self._parts.finder)  # the key needs the store's epochs
        if finder is None:
            ticket.reason = "error"
            return
        self._give_key(ticket, finder)

    def _give_key(self, ticket: Ticket, finder: Finder) -> None:
        assert ticket.namespace is not None
        ticket.epochs = finder.epochs  # an answer begun before an invalidation is older than it
        ticket.key = request_key(
            ticket.request,
            namespace=ticket.namespace,
            epoch=finder.epochs.get(f"ns:{ticket.namespace}", 0),
            embedder=self._parts.embedder_id or "",
            context=self._context,
        )
        ticket.semantic_reason = exact_only(ticket.request, ticket.key.query)
        if ticket.semantic_reason is None and self._parts.embedder_id is None:
            ticket.semantic_reason = "no_embedder" if self._parts.is_missing else "warming"

    def _look_in_memory(self, ticket: Ticket) -> None:
        finder = self._parts.opened
        assert ticket.key is not None
        assert finder is not None
        if finder.is_stale:
            self._workers.submit(lambda: self._refresh(finder))
        kept = self._exact.get(ticket.key.exact)
        if kept is None:
            return
        if kept.is_live(self._clock(), finder.epochs) and kept.serves(ticket.request.capability):
            self._serve(ticket, kept, "exact")
        elif not kept.is_live(self._clock(), finder.epochs):
            self._exact.drop(ticket.key.exact)

    @staticmethod
    def _is_settled(ticket: Ticket) -> bool:
        return ticket.hit is not None or ticket.key is None or ticket.would_be is not None

    def _leads(self, ticket: Ticket) -> bool:
        assert ticket.key is not None
        ticket.flight = self._flights.join((ticket.key.exact, ticket.request.capability))
        return ticket.flight.leads

    def _has_joined(self, ticket: Ticket, kept: Kept | None) -> bool:
        if kept is None:
            return False
        self._serve(ticket, kept, "joined")
        return True

    def _search(self, ticket: Ticket) -> Ticket:
        found = self._bounded(lambda: self._find(ticket), ticket)
        return self._settle(ticket, found)

    async def _asearch(self, ticket: Ticket) -> Ticket:
        found: Found | str | None = None
        try:
            found = await self._workers.arun(lambda: self._find(ticket), self._deadline_s)
            self._breaker.succeeded()
        except (TooLate, TooBusy, Exception) as error:
            ticket.reason = self._failed("lookup", error)
        return self._settle(ticket, found)

    def _find(self, ticket: Ticket) -> Found | str:
        finder = self._parts.finder()
        if finder.is_stale:
            self._refresh(finder)
        return finder.exact(ticket) or ticket.semantic_reason or finder.semantic(ticket)

    def _settle(self, ticket: Ticket, found: Found | str | None) -> Ticket:
        """Serve what was found, or say why nothing is served."""
        if isinstance(found, Found) and ticket.key is not None:
            kept = Kept.of(found.entry)
            if found.neighbour is None:
                self._exact.put(ticket.key.exact, kept)
            self._serve(ticket, kept, "exact" if found.neighbour is None else "semantic", found)
            if ticket.flight is not None and ticket.hit is not None:
                ticket.flight.finish(kept)
        elif found is not None:
            ticket.reason = str(found)
        if ticket.hit is None and ticket.would_be is None:
            self._counters.add(f"miss:{ticket.reason or 'cold'}")
        return ticket

    def _serve(self, ticket: Ticket, kept: Kept, kind: str, found: Found | None = None) -> None:
        """Make the hit, and note it behind; in the shadow it is only remembered."""
        judgement = None if found is None else found.judgement
        neighbour = None if found is None else found.neighbour
        self._hit_number += 1
        now = self._clock()
        hit = Hit(
            id=f"{self._hit_prefix}{self._hit_number:06x}",
            kind=kind,
            answer=kept.answer(),
            similarity=None if neighbour is None else neighbour.similarity,
            score=None if judgement is None else judgement.score,
            bound=None if judgement is None else judgement.bound,
            age_s=max(now - kept.created_at, 0.0),
            saved=kept.saved,
        )
        if self._shadow and kind != "joined":
            ticket.would_be, ticket.reason = hit, "shadow"
            self._counters.add("miss:shadow")
            self._counters.add(f"would:{kind}")
            return
        ticket.hit, ticket.reason, ticket.ended = hit, None, True
        self._counters.add_hit(kind, kept.saved)
        record = HitRecord(
            id=hit.id,
            ts=now,
            seq=-1,
            kind=kind,
            namespace=ticket.namespace or "",
            query=None if ticket.key is None else ticket.key.query,
            similarity=hit.similarity,
            score=hit.score,
            bound=hit.bound,
            agreement=None if judgement is None else judgement.agreement,
            features=() if judgement is None else judgement.features,
            age_s=hit.age_s,
            saved_tokens=kept.saved.tokens,
            saved_nano=kept.saved.nano,
            owner=ticket.owner,
        )
        self._behind.put(HitNote(record=record, kept=kept))

    def _complete(self, ticket: Ticket, answer: CachedAnswer) -> None:
        """Take the model's answer: memory, those who wait, and the store behind. Never raises."""
        try:
            refused = refused_answer(answer, tool_calls=self._tool_calls)
            if ticket.key is None or refused is not None:
                if refused is not None:
                    self._counters.add(f"refused:{refused}")
                return
            entry = self._entry(ticket, answer)
            kept = Kept.of(entry)
            self._exact.put(ticket.key.exact, kept)
            if ticket.flight is not None:
                ticket.flight.finish(kept)
            if not self._behind.put(Insert(ticket=ticket, entry=entry, kept=kept)):
                self._counters.add("dropped")
        except Exception as error:
            self._failed("store", error)

    def _entry(self, ticket: Ticket, answer: CachedAnswer) -> Entry:
        assert ticket.key is not None
        assert ticket.namespace is not None
        request, now = ticket.request, self._clock()
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
        lives = [life for life in (self._ttl.get(category, self._ttl.get(None)), asked) if life is not None]
        if is_volatile(None if ticket.key is None else ticket.key.query):
            lives.append(VOLATILE_TTL_S)
        if not lives:
            return None
        return now + min(lives) * (1 - self._jitter * random.random())

    def _cost(self, answer: CachedAnswer) -> int | None:
        """Price what a hit saves, once the price list is loaded: loading it takes longer than a caller should wait."""
        if answer.usage is None or not self._parts.ready.is_set():
            return None
        cost = self._prices.cost(answer.usage, model=answer.model, provider=answer.provider)
        return None if cost is None else cost.nano

    # time budgets and failures

    def _bounded(self, work: Callable[[], T], ticket: Ticket | None = None) -> T | None:
        """Return what *work* returns within the deadline; None, counted and logged, where it fails or is late."""
        try:
            value = self._workers.run(work, self._deadline_s)
        except (TooLate, TooBusy, Exception) as error:
            reason = self._failed("lookup", error)
            if ticket is not None:
                ticket.reason = reason
            return None
        self._breaker.succeeded()
        return value

    def _failed(self, part: str, error: BaseException) -> str:
        """Count and log a failure of ours; return the reason of the miss that it makes."""
        late = isinstance(error, TooLate)
        reason = "timeout" if late else "busy" if isinstance(error, TooBusy) else "error"
        self._counters.add(f"failure:{part if reason == 'error' else reason}")
        if self._breaker.failed():
            log.warning("the cache is off for a while: it failed several times in a row (%s)", type(error).__name__)
        else:
            log.warning("the cache failed (%s, %s): the call goes on without", part, type(error).__name__)
        return reason

    def _load(self) -> None:
        self._parts.warm_up(self._keeper.catch_up)

    def _warm_up(self) -> None:
        try:
            self._load()
        except Exception as error:
            self._failed("open", error)

    def _refresh(self, finder: Finder) -> None:
        """Forget what memory holds where another process has deleted or invalidated something."""
        if finder.refresh():
            self._exact.clear()

    def _asked_for(self, work: Callable[[], T]) -> T | None:
        """Return what a person asked for; None, counted and logged, where that fails."""
        try:
            return self._workers.run(work, ADMIN_S)
        except (TooLate, TooBusy, Exception) as error:
            self._failed("asked", error)
            return None

    def _named(self, namespace: str | None) -> str:
        name = self._namespaces.current() if namespace is None else self._namespaces.name(namespace)
        if name is None:
            raise BadInput("no namespace is in force here: name the one that is meant")
        return name

    def _renew_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._begin()


def _check(*, max_error: float, explore: float, jitter: float, merge: float | None, deadline_ms: float) -> None:
    for name, value in (("max_error", max_error), ("explore", explore), ("jitter", jitter), ("merge", merge)):
        if value is not None and not 0 <= value <= 1:
            raise BadInput(f"{name} {value}: give a fraction from 0 to 1")
    if deadline_ms <= 0:
        raise BadInput(f"deadline_ms {deadline_ms}: give milliseconds, more than 0")
