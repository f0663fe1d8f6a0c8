"""The semantic cache: repeated and rephrased questions cost nothing, and nobody gets an answer to another question."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.progress import track

from tokenwise_core import process
from tokenwise_core.cache.engine import ADMIN_S, Engine, Options
from tokenwise_core.cache.entries import Entries, open_entries
from tokenwise_core.cache.entry import CachedAnswer, NamespaceTotals
from tokenwise_core.cache.explain import Explanation, explanation, judge_hit
from tokenwise_core.cache.finder import Policy
from tokenwise_core.cache.keeper import Limits
from tokenwise_core.cache.key import ContextMode
from tokenwise_core.cache.namespace import Namespace, Namespaces
from tokenwise_core.cache.request import CacheRequest, Served
from tokenwise_core.cache.shadow import ShadowReport, shadow_report
from tokenwise_core.cache.stats import CacheStats
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.cache.vetoes import VETOES
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.protocols import Clock, Embedder
from tokenwise_core.settings import load_settings
from tokenwise_core.usage.pricing import PriceBook

log = logging.getLogger("tokenwise.cache")

JOIN_S = 120.0
"""How long a caller waits for an equal call in flight before it makes its own."""
DEFAULT_MAX_ERROR = 0.05
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
        max_error: float = DEFAULT_MAX_ERROR,
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
        given = {name: value for name, value in locals().items() if name not in {"self", "__class__"}}
        off: Mapping[str | None, Collection[str]]
        off = vetoes_off if isinstance(vetoes_off, Mapping) else {None: vetoes_off}
        off = {category: (names,) if isinstance(names, str) else tuple(names) for category, names in off.items()}
        lives: Mapping[str | None, float]
        lives = ttl_s if isinstance(ttl_s, Mapping) else {} if ttl_s is None else {None: ttl_s}
        options = Options(
            namespaces=Namespaces(namespace, shared=shared),
            entries=entries if isinstance(entries, Entries) else open_entries(entries or load_settings().cache),
            embedder=default_embedder() if embedder is _DEFAULT else embedder,
            context=ContextMode.parse(context),
            policy=Policy(max_error=max_error, explore=explore, vetoes_off=off, protected=tuple(protected)),
            limits=Limits(max_entries=max_entries, max_bytes=max_bytes, merge=merge),
            ttl=lives,
            jitter=jitter,
            tool_calls=tool_calls,
            shadow=shadow,
            deadline_s=deadline_ms / 1000,
            memory_bytes=memory_bytes,
            prices=prices or PriceBook(),
            clock=clock,
        )
        self._options = _check(options)
        opened = {"entries": self._options.entries, "embedder": self._options.embedder, "prices": self._options.prices}
        self._given = {**given, **opened}
        if self._options.context.kind == "ignore":
            log.warning("context='ignore': answers are shared between conversations that differ before the question")
        self._made = Engine(self._options)

    @property
    def _engine(self) -> Engine:
        """This process's working parts: a forked child makes its own."""
        if self._made.pid != process.pid:
            self._made = Engine(self._options)
        return self._made

    @property
    def entries(self) -> Entries:
        """The store of entries."""
        return self._options.entries

    # asking

    def lookup(self, request: CacheRequest) -> Ticket:
        """Look for an answer. Without a hit, ask the model and end the ticket."""
        engine = self._engine
        ticket = engine.ticket(request)
        return ticket if engine.is_settled(ticket) else engine.search(ticket)

    async def alookup(self, request: CacheRequest) -> Ticket:
        """Do what `lookup` does without blocking the event loop."""
        engine = self._engine
        ticket = await engine.aticket(request)
        return ticket if engine.is_settled(ticket) else await engine.asearch(ticket)

    def begin(self, request: CacheRequest) -> Ticket:
        """Look for an answer, or wait for an equal call in flight; without a hit the caller leads such a call.

        The ticket of a leader must be ended (`complete`, `abandon`): others wait for it. On the thread of a running
        event loop nobody is waited for: the call in flight may need that loop to end.
        """
        engine = self._engine
        ticket = engine.ticket(request)
        if engine.is_settled(ticket) or _on_a_loop():
            return ticket if engine.is_settled(ticket) else engine.search(ticket)
        flight = engine.followed(ticket)
        if flight is not None and engine.has_joined(ticket, flight.wait(JOIN_S)):
            return ticket
        return engine.search(ticket)  # without a flight where the other call brought nothing: nobody queues up

    async def abegin(self, request: CacheRequest) -> Ticket:
        """Do what `begin` does without blocking the event loop."""
        engine = self._engine
        ticket = await engine.aticket(request)
        if engine.is_settled(ticket):
            return ticket
        flight = engine.followed(ticket)
        if flight is not None and engine.has_joined(ticket, await flight.await_(JOIN_S)):
            return ticket
        try:
            return await engine.asearch(ticket)
        except BaseException:
            ticket.abandon()  # cancelled: who waits for this call must not
            raise

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
        ticket = self._engine.ticket(request, counted=False)
        if ticket.key is not None:
            ticket.complete(answer)

    async def aput(self, request: CacheRequest, answer: CachedAnswer) -> None:
        """Do what `put` does without blocking the event loop."""
        ticket = await self._engine.aticket(request, counted=False)
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
        for number, (request, answer) in enumerate(shown, 1):
            ticket = self._engine.ticket(request, counted=False)
            stored += self._engine.takes(ticket, answer)
            ticket.complete(answer)
            if number % 500 == 0:
                self.flush(ADMIN_S)
        self.flush(ADMIN_S)
        return stored

    # looking back

    def feedback(self, hit_id: str, *, ok: bool) -> bool:
        """Say whether a served answer was right; a wrong one is not served again. False where the hit is unknown."""
        self.flush(ADMIN_S)
        engine, now = self._engine, self._options.clock()
        judged = engine.asked_for(lambda: judge_hit(engine.parts.finder(), engine.keeper, hit_id, ok=ok, now=now))
        if not judged:
            return False
        engine.counters.add(f"feedback:{'right' if ok else 'wrong'}")
        if not ok:
            engine.exact.clear()
        return True

    def explain(self, hit_id: str) -> Explanation | None:
        """Return why an answer was served: both questions, their likeness, score, bound, vetoes, age, what it saved."""
        self.flush(ADMIN_S)
        engine, now, policy = self._engine, self._options.clock(), self._options.policy
        return engine.asked_for(lambda: explanation(engine.parts.finder(), hit_id, now=now, policy=policy))

    def stats(self) -> CacheStats:
        """Return what this process has counted."""
        engine = self._engine
        return engine.counters.stats(trips=engine.breaker.trips, is_off=engine.breaker.is_tripped)

    def shadow_report(self) -> ShadowReport:
        """Return what a cache in the shadow would have served, over all processes, and how often wrongly."""
        self.flush(ADMIN_S)
        return shadow_report(self.entries, max_error=self._options.policy.max_error or DEFAULT_MAX_ERROR)

    def totals(self) -> list[NamespaceTotals]:
        """Return what is stored, a row a namespace."""
        self.flush()
        return self.entries.totals()

    # invalidation

    def invalidate(self, *tags: str) -> None:
        """Kill all answers that depend on any of *tags*, at once and for all processes (within a second)."""
        for tag in tags:
            self.entries.bump(f"tag:{tag}")
        self._engine.refresh()

    def invalidate_namespace(self, namespace: str | None = None) -> None:
        """Kill all answers of a namespace (default: the one in force here), at once."""
        name = self._named(namespace)
        self.entries.bump(f"ns:{name}")
        self._engine.refresh()

    def clear(self, namespace: str | None = None) -> int:
        """Delete all entries, or those of one namespace; return how many."""
        self._write_first()
        deleted = self.entries.clear(namespace=None if namespace is None else self._named(namespace))
        self._engine.forget()
        return deleted

    def purge(self, *, user: str | None = None, session: str | None = None, application: str | None = None) -> int:
        """Delete what was stored for a user, a session or an application; return how many entries."""
        self._write_first()
        deleted = self.entries.purge(user=user, session=session, application=application)
        self._engine.forget()
        return deleted

    # being

    def ready(self, timeout_s: float = 30.0) -> bool:
        """Wait until store and embedder are open; False past *timeout_s*, or where one cannot be opened.

        True without an embedder, and where its extra is not installed: then the cache serves exact hits.
        """
        return self._engine.ready(timeout_s)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all that was handed over is stored; False past *timeout_s*."""
        return self._engine.behind.flush(timeout_s)

    def close(self) -> None:
        """Write what waits, and let go of all handles. The next use opens them again."""
        made, self._made = self._engine, Engine(self._options)
        made.close()

    async def aclose(self) -> None:
        """Do what `close` does without blocking the event loop."""
        await asyncio.to_thread(self.close)

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
        return self._given

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a copy is a cache of the same settings

    def _write_first(self) -> None:
        """Write what waits, so that what is deleted next does not come back; `StoreError` where that takes too long."""
        if not self.flush(ADMIN_S):
            raise StoreError("what waits could not be written: nothing was deleted, try again", url=self.entries.url)

    def _named(self, namespace: str | None) -> str:
        namespaces = self._options.namespaces
        name = namespaces.current() if namespace is None else namespaces.name(namespace)
        if name is None:
            raise BadInput("no namespace is in force here: name the one that is meant")
        return name


def _on_a_loop() -> bool:
    """Say whether this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _check(options: Options) -> Options:
    """Return *options*, or refuse what could not be meant, naming it and what to give instead."""
    policy, limits = options.policy, options.limits
    shares = {"max_error": policy.max_error, "explore": policy.explore, "jitter": options.jitter, "merge": limits.merge}
    for name, share in shares.items():
        if share is not None and not 0 <= share <= 1:
            raise BadInput(f"{name} {share}: give a fraction from 0 to 1")
    sizes = {
        "deadline_ms": options.deadline_s * 1000,
        "max_entries": limits.max_entries,
        "max_bytes": limits.max_bytes,
        "memory_bytes": options.memory_bytes,
        **{f"ttl_s of {category or 'all'}": life for category, life in options.ttl.items()},
    }
    for name, size in sizes.items():
        if size is not None and size <= 0:
            raise BadInput(f"{name} {size:g}: give a number above 0")
    unknown = {name for names in policy.vetoes_off.values() for name in names} - set(VETOES)
    if unknown:
        raise BadInput(f"vetoes_off {', '.join(sorted(unknown))}: there are {', '.join(VETOES)}")
    if options.embedder is not None and not hasattr(options.embedder, "embed"):
        raise BadInput(
            f"embedder {options.embedder!r}: give an object with `embed` and `id`, such as "
            "SentenceTransformerEmbedder(name), or None for exact hits only"
        )
    return options
