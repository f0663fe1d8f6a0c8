"""Memoised decisions: what an agent decided from certain facts is not asked again while they are the same (S4-19)."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, TypeVar, cast

from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.namespace import Namespace, Namespaces
from tokenwise_core.cache.shelf import Shelf, ShelfCounts, place_key
from tokenwise_core.cache.shelf_rows import Body, Place
from tokenwise_core.errors import BadInput
from tokenwise_core.protocols import Clock

log = logging.getLogger("tokenwise.cache")

P = ParamSpec("P")
T = TypeVar("T")

TTL_S = 3_600.0
"""S4-19: `DecisionMemoizer(ttl=3600)`."""
_SCHEMA = 1
_UNREADABLE = object()


class DecisionMemo:
    """Keeps decisions under the agent's name and a hash of what they depend on, key by key, whatever the order.

    Only what is JSON comes back as it went in, so only that is kept; *dump* and *load* turn other values into JSON and
    back. Callers that ask the same at the same time share one decision. *namespace* and *shared* say whose decisions
    may be shared, as for `SemanticCache`; bounds and failures are those of a `Shelf`: failures are misses.

    >>> memo = DecisionMemo(MemoryEntries(), shared=True)
    >>> memo.decide("critic", {"question": "tabs or spaces?"}, lambda: "spaces")
    'spaces'
    """

    def __init__(
        self,
        entries: Entries,
        *,
        namespace: Namespace | None = None,
        shared: bool = False,
        ttl_s: float | None = TTL_S,
        max_entries: int = 10_000,
        max_bytes: int = 64 << 20,
        dump: Callable[[Any], Any] | None = None,
        load: Callable[[Any], Any] | None = None,
        deadline_ms: float = 150.0,
        clock: Clock = time.time,
    ) -> None:
        if (dump is None) != (load is None):
            raise BadInput("dump and load are given together, or neither")
        self._namespaces = Namespaces(namespace, shared=shared)
        self._dump, self._load = dump, load
        self._shelf = Shelf(
            entries,
            "decisions",
            ttl_s=ttl_s,
            max_entries=max_entries,
            max_bytes=max_bytes,
            deadline_ms=deadline_ms,
            clock=clock,
        )

    def decide(self, agent: str, relevant: Mapping[str, Any], make: Callable[[], T], *, kind: str = "") -> T:
        """Return what *agent* decided from the *relevant* facts, else what *make* decides now.

        *kind* tells two decisions from the same facts apart. Facts that are no JSON cannot be compared: *make* is
        called. What *make* raises is raised.
        """
        place = self._place(agent, relevant, kind)
        if place is None:
            return make()
        made: list[T] = []

        def body() -> Body | None:
            made.append(make())
            return self._body(made[0])

        item = self._shelf.obtain(place, body)
        if item is None or made:
            return made[0]
        value = self._value(item.body)
        return make() if value is _UNREADABLE else cast("T", value)

    async def adecide(
        self, agent: str, relevant: Mapping[str, Any], make: Callable[[], Awaitable[T]], *, kind: str = ""
    ) -> T:
        """Do what `decide` does for a coroutine function."""
        place = self._place(agent, relevant, kind)
        if place is None:
            return await make()
        made: list[T] = []

        async def body() -> Body | None:
            made.append(await make())
            return self._body(made[0])

        item = await self._shelf.aobtain(place, body)
        if item is None or made:
            return made[0]
        value = self._value(item.body)
        return await make() if value is _UNREADABLE else cast("T", value)

    def remember(
        self, agent: str, *, relevant: Callable[..., Mapping[str, Any]] | None = None
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Decorate a function, or a coroutine function, whose result is a decision of *agent*.

        *relevant* is called with the same arguments and tells which facts count; without it all arguments do.
        """

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            facts = relevant or functools.partial(_arguments, inspect.signature(function))
            kind = f"{function.__module__}.{function.__qualname__}"
            if inspect.iscoroutinefunction(function):

                @functools.wraps(function)
                async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                    told = _told(facts, *args, **kwargs)
                    if told is None:
                        return await function(*args, **kwargs)
                    return await self.adecide(agent, told, lambda: function(*args, **kwargs), kind=kind)

                return cast("Callable[P, T]", awaited)

            @functools.wraps(function)
            def called(*args: P.args, **kwargs: P.kwargs) -> T:
                told = _told(facts, *args, **kwargs)
                if told is None:
                    return function(*args, **kwargs)
                return self.decide(agent, told, lambda: function(*args, **kwargs), kind=kind)

            return called

        return decorate

    def hit_count(self, agent: str, relevant: Mapping[str, Any], *, kind: str = "") -> int | None:
        """Return how often a decision was used again; None where there is none (any more)."""
        place = self._place(agent, relevant, kind)
        item = None if place is None else self._shelf.peek(place)
        return None if item is None else item.access_count

    def counts(self) -> ShelfCounts:
        """Return what was counted in this process."""
        return self._shelf.counts()

    def flush(self) -> None:
        """Write the counts that wait in memory."""
        self._shelf.flush()

    def _place(self, agent: str, relevant: Mapping[str, Any], kind: str) -> Place | None:
        """Return where the decision stands; None where nobody can tell."""
        namespace = self._namespaces.current()
        if namespace is None:
            return None
        try:
            return Place(key=place_key(_SCHEMA, "decision", namespace, agent, kind, relevant))
        except BadInput:
            return None

    def _body(self, value: Any) -> Body | None:
        """Return *value* as it is kept, None where it would not come back as it is."""
        try:
            plain = value if self._dump is None else self._dump(value)
            text = json.dumps(plain, allow_nan=False)
            if _same(json.loads(text), plain):
                return Body(data={"value": json.loads(text)})
        except Exception:  # a dump of the user's, or a value that JSON has no form for
            return None
        return None

    def _value(self, body: Body) -> Any:
        """Return the value that was kept; `_UNREADABLE` where *load* does not take it (written by another release)."""
        plain = body.data.get("value")
        try:
            return plain if self._load is None else self._load(plain)
        except Exception as error:  # a load of the user's: the decision is made anew
            log.warning("a memoised decision could not be read (%s): it is made anew", type(error).__name__)
            return _UNREADABLE


def _same(read: Any, written: Any) -> bool:
    """Say whether JSON gave back equal values of equal types (a tuple comes back as a list, 1 as a name as "1")."""
    if type(read) is not type(written):
        return False
    if isinstance(written, dict):
        return read.keys() == written.keys() and all(_same(read[name], written[name]) for name in written)
    if isinstance(written, list):
        return len(read) == len(written) and all(map(_same, read, written))
    return bool(read == written)


def _arguments(signature: inspect.Signature, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _told(facts: Callable[..., Mapping[str, Any]], *args: Any, **kwargs: Any) -> Mapping[str, Any] | None:
    """Return what counts among the arguments; None where *facts* fails: then nothing is memoised."""
    try:
        return facts(*args, **kwargs)
    except Exception as error:  # a function of the user's, or arguments that the decorated one does not take
        log.warning("the facts of a decision could not be told (%s): it is not memoised", type(error).__name__)
        return None
