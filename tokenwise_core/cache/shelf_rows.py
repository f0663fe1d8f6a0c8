"""A shelf's rows in the store of entries: read, written, and let go of in the order of their last use.

Everything here may block and may raise: `Shelf` calls it under its deadline.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenwise_core.cache.entries.protocol import Entries
from tokenwise_core.cache.entry import CachedAnswer, Entry
from tokenwise_core.cache.recency import Recency, Use
from tokenwise_core.protocols import Clock
from tokenwise_core.scoping import Scope, current_scope

NAMESPACE = "context/"
"""What the namespaces of shelves begin with; those of users' caches begin otherwise (`namespace.Namespaces`)."""
WRITE_BACK_S = 5.0
"""How often uses are written: a process that is killed loses so much of its counts and of the order."""
_OVERHEAD_BYTES = 400
_SLACK = 2  # above so many times its bounds, the store lets go of what no process has in its order any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands on a shelf: its key, the group that it ends with, and whose it is."""

    key: bytes
    group: str = ""
    owner: Scope = field(default_factory=current_scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What is kept: a text, JSON, or both; *tokens* of the text where somebody counted."""

    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something found: its *body* belongs to the caller. *access_count* includes the access that found it."""

    body: Body
    made_at: float
    access_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long each thing lives (None: until it goes), and how much there may be of them."""

    ttl_s: float | None
    max_entries: int
    max_bytes: int


class ShelfRows:
    """The rows of one shelf; accesses are counted in memory and written every `WRITE_BACK_S` seconds."""

    def __init__(self, entries: Entries, name: str, bounds: Bounds, *, clock: Clock) -> None:
        self.namespace, self._state = f"{NAMESPACE}{name}", f"recency:{NAMESPACE}{name}"
        self._entries, self._bounds, self._clock = entries, bounds, clock
        self._lock = threading.Lock()  # never held while the store is asked
        self._touched = Counter[int]()
        self._recency = Recency()
        self._written = time.monotonic()

    @property
    def is_write_back_due(self) -> bool:
        """Say, once, whether the uses are to be written."""
        if time.monotonic() - self._written < WRITE_BACK_S:
            return False
        self._written = time.monotonic()
        return True

    def read(self, place: Place, *, counted: bool = True) -> Item | None:
        """Return what stands at *place*."""
        now = self._clock()
        entry = self._entries.get(place.key, now=now)
        if entry is None or entry.seq is None:
            return None
        with self._lock:
            self._touched[entry.seq] += counted
            accesses = entry.hits + self._touched[entry.seq]
        if counted:
            self._recency.note(place.key.hex(), _use(place, entry, now))
        data = dict(entry.answer.payload)
        tokens = data.pop("tokens", None)
        body = Body(text=entry.answer.text, data=data, tokens=tokens)
        return Item(body=body, made_at=entry.created_at, access_count=accesses)

    def write(self, place: Place, body: Body) -> int:
        """Keep *body*; return how many others had to go."""
        now, ttl_s = self._clock(), self._bounds.ttl_s
        entry = Entry(
            key=place.key,
            namespace=self.namespace,
            answer=CachedAnswer(
                text=body.text,
                payload=dict(body.data) if body.tokens is None else {**body.data, "tokens": body.tokens},
            ),
            created_at=now,
            expires_at=None if ttl_s is None else now + ttl_s,
            owner=place.owner,
        )
        self._entries.put([entry])
        self._recency.note(place.key.hex(), _use(place, entry, now))
        return self._make_room(place.key.hex())

    def end(self, group: str) -> int:
        """Delete what belongs to *group*; return how many."""
        self._merge()
        deleted = self._delete(self._recency.of(group))
        self._entries.set_state(self._state, self._recency.to_json())
        return deleted

    def write_back(self) -> None:
        """Add the accesses to the store's, and write the order."""
        with self._lock:
            touched, self._touched = self._touched, Counter()
            self._written = time.monotonic()
        if touched:
            self._entries.touch(touched, now=self._clock())
        self._merge()
        self._entries.set_state(self._state, self._recency.to_json())

    def _make_room(self, spare: str) -> int:
        bounds = self._bounds
        self._merge()
        gone = self._recency.surplus(max_entries=bounds.max_entries, max_bytes=bounds.max_bytes, spare=spare)
        deleted = self._delete(gone) if gone else 0
        self._entries.set_state(self._state, self._recency.to_json())
        return deleted + self._entries.evict(
            self.namespace, max_entries=_SLACK * bounds.max_entries, max_bytes=_SLACK * bounds.max_bytes
        )

    def _merge(self) -> None:
        self._recency.merge(self._entries.get_state(self._state), self._clock())

    def _delete(self, keys: Sequence[str]) -> int:
        found = [self._entries.get(bytes.fromhex(key), now=self._clock()) for key in keys]
        self._recency.forget(keys)
        return self._entries.delete([entry.seq for entry in found if entry is not None and entry.seq is not None])


def _use(place: Place, entry: Entry, now: float) -> Use:
    size = _OVERHEAD_BYTES + len(entry.answer.text) + len(json.dumps(entry.answer.payload))
    return Use(used_at=now, size=size, expires_at=entry.expires_at, group=place.group)
