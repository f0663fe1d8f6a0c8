"""Context that many calls use, kept by level: system prompts, projects, debates, decisions (S4-17)."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.namespace import Namespace, Namespaces
from tokenwise_core.cache.shelf import Shelf, ShelfCounts, place_key
from tokenwise_core.cache.shelf_rows import Body, Item, Place
from tokenwise_core.errors import BadInput
from tokenwise_core.protocols import Clock
from tokenwise_core.scoping import Scope, current_scope

log = logging.getLogger("tokenwise.cache")

DEBATE_LABEL = "debate"
"""The label of the scope that names a debate: `scope(labels={"debate": "d-7"})`."""
_SCHEMA = 1
_HOUR_S = 3_600.0


def everyone(_: Scope) -> tuple[str | None, ...]:
    """Share among all of a namespace."""
    return ()


def session_of(scope: Scope) -> tuple[str | None, ...] | None:
    """Share within one session of one user; None outside of any."""
    return None if scope.session is None else (scope.application, scope.user, scope.session)


def debate_of(scope: Scope) -> tuple[str | None, ...] | None:
    """Share within one debate of one session; None outside of any."""
    debate = scope.labels.get(DEBATE_LABEL)
    return None if debate is None else (scope.application, scope.user, scope.session, debate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level: *within* tells from the scope who shares its texts (None: nobody, nothing is kept).

    A text lives for *ttl_s* seconds (None: until it goes as the least recently used), and never beyond `end` of what
    it is kept within.
    """

    name: str
    within: Callable[[Scope], tuple[str | None, ...] | None]
    ttl_s: float | None = None
    max_entries: int = 1_000
    max_bytes: int = 16 << 20


SYSTEM = Level(name="system", within=everyone)
PROJECT = Level(name="project", within=session_of, ttl_s=24 * _HOUR_S)
DEBATE = Level(name="debate", within=debate_of, ttl_s=6 * _HOUR_S)
DECISION = Level(name="decision", within=session_of, ttl_s=_HOUR_S)
LEVELS = (SYSTEM, PROJECT, DEBATE, DECISION)
"""The levels of S4-17. Their times are ours: the seed names none but "indefinitely" and S4-19's hour. A session or a
debate that nobody ends is forgotten after them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A text of a level. *tokens* is None where nobody counted; *made_at* is seconds since the epoch."""

    text: str
    tokens: int | None = None
    made_at: float = 0.0
    access_count: int = 0


class ContextHierarchy:
    """Texts that are costly to make (a project's digest, a debate so far) and used by many calls, kept by level.

    *made_of* is JSON that a text depends on (a version, a file's hash): where it differs the text is made anew.
    Each level lets go of the least recently used above its bounds. *namespace* and *shared* say who may share at all,
    as for `SemanticCache`; *count* counts tokens. Callers that ask for the same at the same time make it once.
    Failures of the store are misses.

    >>> contexts = ContextHierarchy(MemoryEntries(), shared=True)
    >>> contexts.get_or_make("system", "critic", lambda: "You are a critic.").text
    'You are a critic.'
    """

    def __init__(
        self,
        entries: Entries,
        *,
        namespace: Namespace | None = None,
        shared: bool = False,
        levels: Sequence[Level] = LEVELS,
        count: Callable[[str], int] | None = None,
        deadline_ms: float = 150.0,
        clock: Clock = time.time,
    ) -> None:
        self._namespaces, self._count = Namespaces(namespace, shared=shared), count
        self._levels = {level.name: level for level in levels}
        if len(self._levels) < len(levels):
            raise BadInput("two levels have the same name")
        self._shelves = {
            level.name: Shelf(
                entries,
                f"level/{level.name}",
                ttl_s=level.ttl_s,
                max_entries=level.max_entries,
                max_bytes=level.max_bytes,
                deadline_ms=deadline_ms,
                clock=clock,
            )
            for level in levels
        }

    def get(self, level: str, name: str, *, made_of: Any = None) -> Context | None:
        """Return the text *name* of *level*, where there is one."""
        place = self._place(level, name, made_of)
        item = None if place is None else self._shelves[level].find(place)
        return None if item is None else _context(item)

    async def aget(self, level: str, name: str, *, made_of: Any = None) -> Context | None:
        """Do what `get` does without blocking the event loop."""
        place = self._place(level, name, made_of)
        item = None if place is None else await self._shelves[level].afind(place)
        return None if item is None else _context(item)

    def put(self, level: str, name: str, text: str, *, made_of: Any = None) -> bool:
        """Keep *text*; False where nobody could share it, or the store failed."""
        place = self._place(level, name, made_of)
        return place is not None and self._shelves[level].keep(place, self._body(text))

    async def aput(self, level: str, name: str, text: str, *, made_of: Any = None) -> bool:
        """Do what `put` does without blocking the event loop."""
        place = self._place(level, name, made_of)
        return place is not None and await self._shelves[level].akeep(place, self._body(text))

    def get_or_make(self, level: str, name: str, make: Callable[[], str], *, made_of: Any = None) -> Context:
        """Return the text *name* of *level*, else what *make* makes; what *make* raises is raised."""
        place = self._place(level, name, made_of)
        if place is None:
            return self._loose(make())
        item = self._shelves[level].obtain(place, lambda: self._body(make()))
        assert item is not None  # a text can always be kept
        return _context(item)

    async def aget_or_make(
        self, level: str, name: str, make: Callable[[], Awaitable[str]], *, made_of: Any = None
    ) -> Context:
        """Do what `get_or_make` does for a coroutine function."""
        place = self._place(level, name, made_of)
        if place is None:
            return self._loose(await make())

        async def body() -> Body:
            return self._body(await make())

        item = await self._shelves[level].aobtain(place, body)
        assert item is not None
        return _context(item)

    def end(self, level: str) -> int:
        """Forget all texts of *level* within the session, or the debate, in force here; return how many."""
        place = self._place(level, "", None)
        return 0 if place is None else self._shelves[level].end(place.group)

    async def aend(self, level: str) -> int:
        """Do what `end` does without blocking the event loop."""
        place = self._place(level, "", None)
        return 0 if place is None else await self._shelves[level].aend(place.group)

    def counts(self) -> Mapping[str, ShelfCounts]:
        """Return what was counted in this process, by level."""
        return {name: shelf.counts() for name, shelf in self._shelves.items()}

    def flush(self) -> None:
        """Write the access counts and the order of use that wait in memory."""
        for shelf in self._shelves.values():
            shelf.flush()

    def _place(self, level: str, name: str, made_of: Any) -> Place | None:
        """Return where a text stands; None where the scope does not say who may share it."""
        if level not in self._levels:
            raise BadInput(f"no level {level!r}: there are {', '.join(self._levels)}")
        namespace, scope = self._namespaces.current(), current_scope()
        within = None if namespace is None else self._levels[level].within(scope)
        if within is None:
            return None
        group = place_key(_SCHEMA, level, namespace, within).hex()
        try:
            return Place(key=place_key(group, name, made_of), group=group, owner=scope)
        except BadInput as error:
            log.warning("a text of level %s is not kept: %s", level, error)
            return None

    def _body(self, text: str) -> Body:
        return Body(text=text, tokens=self._tokens(text))

    def _tokens(self, text: str) -> int | None:
        try:
            return None if self._count is None else self._count(text)
        except Exception as error:  # a counter of the user's
            log.warning("a text's tokens could not be counted (%s)", type(error).__name__)
            return None

    def _loose(self, text: str) -> Context:
        """Return a text that is not kept."""
        return Context(text=text, tokens=self._tokens(text))


def _context(item: Item) -> Context:
    return Context(text=item.body.text, tokens=item.body.tokens, made_at=item.made_at, access_count=item.access_count)
