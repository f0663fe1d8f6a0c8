"""A bounded shelf of texts and small JSON on the cache's store: what context levels and memoised decisions stand on."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from tokenwise_core.cache.bounded import Bounded
from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.key import DIGEST_BYTES
from tokenwise_core.cache.shelf_rows import Body, Bounds, Item, Place, ShelfRows
from tokenwise_core.errors import BadInput
from tokenwise_core.protocols import Clock
from tokenwise_core.singleflight import Flight, SingleFlight

JOIN_S = 120.0
"""How long a caller waits for one who is making the same, before it makes its own."""
_UNKEPT = Item(body=Body(), made_at=0.0)  # what a leader tells those who wait when the thing cannot be kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelfCounts:
    """What a shelf has done in this process.

    *joined* waited for another who was making the same, *unkept* could not be written as JSON, *failures* is what the
    store did not do, or not in time. *tokens_served* are those of texts whose tokens are known.
    """

    hits: int = 0
    joined: int = 0
    misses: int = 0
    kept: int = 0
    unkept: int = 0
    evicted: int = 0
    failures: int = 0
    tokens_served: int = 0


class Shelf:
    """Keeps bodies by place, at most *max_entries* and *max_bytes* of them: the least recently used goes first.

    Each lives *ttl_s* seconds (None: until it goes). Failures are misses, within *deadline_ms*. Thread-safe; copies,
    pickles and forked children begin with no handles and no counts.
    """

    def __init__(
        self,
        entries: Entries,
        name: str,
        *,
        ttl_s: float | None = None,
        max_entries: int = 1_000,
        max_bytes: int = 16 << 20,
        deadline_ms: float = 150.0,
        clock: Clock = time.time,
    ) -> None:
        if max_entries < 1 or max_bytes < 1 or deadline_ms <= 0 or (ttl_s is not None and ttl_s <= 0):
            raise BadInput(f"{name}: max_entries, max_bytes, deadline_ms and ttl_s must be above zero")
        self._entries, self._name, self._clock, self._deadline_ms = entries, name, clock, deadline_ms
        self._bounds = Bounds(ttl_s=ttl_s, max_entries=max_entries, max_bytes=max_bytes)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._counts = Counter[str]()
        self._rows = ShelfRows(self._entries, self._name, self._bounds, clock=self._clock)
        self._bounded = Bounded(
            f"tokenwise-{self._name}", deadline_s=self._deadline_ms / 1000, failed=lambda: self._add("failures")
        )
        self._flights: SingleFlight[Item] = SingleFlight()

    # one at a time

    def find(self, place: Place) -> Item | None:
        """Return what stands at *place*, and count the access."""
        self._renew_after_fork()
        return self._told(self._bounded.run(lambda: self._rows.read(place)))

    async def afind(self, place: Place) -> Item | None:
        """Do what `find` does without blocking the event loop."""
        self._renew_after_fork()
        return self._told(await self._bounded.arun(lambda: self._rows.read(place)))

    def keep(self, place: Place, body: Body) -> bool:
        """Keep *body*; False where that failed or was late."""
        self._renew_after_fork()
        return self._has_kept(self._bounded.run(lambda: self._rows.write(place, body)))

    async def akeep(self, place: Place, body: Body) -> bool:
        """Do what `keep` does without blocking the event loop."""
        self._renew_after_fork()
        return self._has_kept(await self._bounded.arun(lambda: self._rows.write(place, body)))

    # made once for all who ask at the same time

    def obtain(self, place: Place, make: Callable[[], Body | None]) -> Item | None:
        """Return what stands at *place*, else what *make* makes, which equal callers share.

        None where *make* was called and what it made cannot be kept. What *make* raises is raised.
        """
        found, give_up = self.find(place), time.monotonic() + JOIN_S
        if found is not None:
            return found
        while not (flight := self._flights.join(place.key)).leads:
            joined = flight.wait(max(give_up - time.monotonic(), 0.0))
            if joined is not None and joined is not _UNKEPT:
                return self._shared(joined)
            if joined is _UNKEPT or time.monotonic() >= give_up:
                return self._item(make())
        try:
            item = self._bounded.run(lambda: self._rows.read(place))  # another may have led since
            if item is None and (item := self._item(make())) is not None:
                self.keep(place, item.body)
            return _landed(flight, item)
        finally:
            flight.fail()

    async def aobtain(self, place: Place, make: Callable[[], Awaitable[Body | None]]) -> Item | None:
        """Do what `obtain` does for a coroutine function."""
        found, give_up = await self.afind(place), time.monotonic() + JOIN_S
        if found is not None:
            return found
        while not (flight := self._flights.join(place.key)).leads:
            joined = await flight.await_(max(give_up - time.monotonic(), 0.0))
            if joined is not None and joined is not _UNKEPT:
                return self._shared(joined)
            if joined is _UNKEPT or time.monotonic() >= give_up:
                return self._item(await make())
        try:
            item = await self._bounded.arun(lambda: self._rows.read(place))
            if item is None and (item := self._item(await make())) is not None:
                await self.akeep(place, item.body)
            return _landed(flight, item)
        finally:
            flight.fail()

    # looking after it

    def peek(self, place: Place) -> Item | None:
        """Return what stands at *place* without counting an access."""
        self._renew_after_fork()
        return self._bounded.run(lambda: self._rows.read(place, counted=False))

    def end(self, group: str) -> int:
        """Delete what belongs to *group*; return how many."""
        self._renew_after_fork()
        return self._bounded.run(lambda: self._rows.end(group)) or 0

    async def aend(self, group: str) -> int:
        """Do what `end` does without blocking the event loop."""
        self._renew_after_fork()
        return await self._bounded.arun(lambda: self._rows.end(group)) or 0

    def counts(self) -> ShelfCounts:
        """Return what was counted in this process."""
        self._renew_after_fork()
        with self._lock:
            return ShelfCounts(**self._counts)

    def flush(self) -> None:
        """Write the accesses and the order of use that wait in memory."""
        self._renew_after_fork()
        self._bounded.run(self._rows.write_back)

    def _told(self, item: Item | None) -> Item | None:
        """Count a hit or a miss."""
        self._add("misses" if item is None else "hits")
        if item is not None and item.body.tokens:
            self._add("tokens_served", item.body.tokens)
        if item is not None and self._rows.is_write_back_due:
            self._bounded.behind(self._rows.write_back)
        return item

    def _has_kept(self, evicted: int | None) -> bool:
        if evicted is None:
            return False
        self._add("kept")
        self._add("evicted", evicted)
        return True

    def _shared(self, item: Item) -> Item:
        """Return another caller's item with a body of its own."""
        self._add("joined")
        return replace(item, body=replace(item.body, data=json.loads(json.dumps(item.body.data))))

    def _item(self, body: Body | None) -> Item | None:
        if body is None:
            self._add("unkept")
            return None
        return Item(body=body, made_at=self._clock())

    def _add(self, name: str, n: int = 1) -> None:
        with self._lock:
            self._counts[name] += n

    def _renew_after_fork(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_entries", "_name", "_bounds", "_deadline_ms", "_clock")
        return {name: self.__dict__[name] for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()


def place_key(*parts: Any) -> bytes:
    """Hash JSON *parts*; raise `BadInput` where one is no JSON: its text would not tell it from others."""
    try:
        text = json.dumps(_plain(parts), sort_keys=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"only JSON can tell what a value depends on: {error}") from error
    return blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


def _plain(value: Any) -> Any:
    """Return *value* with tuples as lists; raise TypeError for a name that is no text: JSON would write 1 as "1"."""
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("an object's names must be texts")
        return {name: _plain(content) for name, content in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(content) for content in value]
    return value


def _landed(flight: Flight[Item], item: Item | None) -> Item | None:
    """Give those who wait the item, or word that there is none to share."""
    flight.finish(_UNKEPT if item is None else item)
    return item
