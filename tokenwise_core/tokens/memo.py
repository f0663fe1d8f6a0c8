"""A bounded memo of counts that keeps no long text and takes no lock on the way."""

from __future__ import annotations

import marshal
from collections.abc import Hashable
from hashlib import blake2b
from typing import Any, Generic, TypeVar

V = TypeVar("V")
LONG_TEXT = 256


def text_key(text: str) -> Hashable:
    """Return the text itself, or for a long one its hash and length.

    Python caches a string's 64-bit hash, so the same object costs nothing the second time; two different texts of one
    length share a key with probability 2⁻⁶⁴. Long user texts are thus never held in memory by us.
    """
    return text if len(text) <= LONG_TEXT else (hash(text), len(text))


def schema_key(schema: Any) -> Hashable:
    """Return a key of a JSON schema's content, order included; three times as fast as its text for plain dicts.

    By content, since applications change schemas in place.
    """
    try:
        return marshal.dumps(schema, 2)
    except ValueError:  # another Mapping, or values that JSON does not know
        return repr(schema)


def content_key(value: Any) -> bytes | None:
    """Return a hash of plain data by its content, order included; None for what holds anything but plain data.

    A class or an object has no content to go by: two of one name may differ, and one may change. So equal keys are
    equal data (a buffer, an array for one, counts as its bytes), and data changed in place has another key. The order
    of names counts: this is no canonical form, and for this process alone.
    """
    try:
        return blake2b(marshal.dumps(value, 2), digest_size=16).digest()
    except ValueError:
        return None


class Memo(Generic[V]):
    """Two generations of a dict: when the young one is full it becomes the old one, and the old one is forgotten.

    Reads and writes are single dict operations, so threads may race only to the point of computing a value twice.
    """

    __slots__ = ("_limit", "_old", "_young")

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = max(1, limit // 2)
        self._young: dict[Hashable, V] = {}
        self._old: dict[Hashable, V] = {}

    def get(self, key: Hashable) -> V | None:
        """Return what was stored under *key*, or None."""
        found = self._young.get(key)
        if found is not None:
            return found
        found = self._old.get(key)
        if found is not None:
            self.put(key, found)
        return found

    def put(self, key: Hashable, value: V) -> None:
        """Store *value*, forgetting the older half when full."""
        young = self._young
        if len(young) >= self._limit:
            self._old, self._young = young, {}
            young = self._young
        young[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old = {}, {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
