"""What was used least recently under one namespace of a store: the order in which a bounded shelf lets go.

The order is kept in one small state of the store, merged by every process that writes it: exact for this process, for
others as of their last writing. It holds digests and numbers, no name and no text.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One kept thing: when it was used last, how large it is, when it dies, and the group it ends with."""

    used_at: float
    size: int
    expires_at: float | None = None
    group: str = ""


class Recency:
    """Uses by key (hex). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses: dict[str, Use] = {}

    def note(self, key: str, use: Use) -> None:
        """Note what was kept or found: it is the last in the order."""
        with self._lock:
            known = self._uses.get(key)
            self._uses[key] = use if known is None else replace(use, used_at=max(use.used_at, known.used_at))

    def forget(self, keys: Iterable[str]) -> None:
        """Take *keys* out."""
        with self._lock:
            for key in keys:
                self._uses.pop(key, None)

    def merge(self, text: str | None, now: float) -> None:
        """Take in what other processes wrote; the later use of each counts, what has expired goes."""
        with self._lock:
            for key, use in _read(text):
                known = self._uses.get(key)
                if known is None or known.used_at < use.used_at:
                    self._uses[key] = use
            for key in [key for key, use in self._uses.items() if use.expires_at is not None and use.expires_at <= now]:
                del self._uses[key]

    def surplus(self, *, max_entries: int, max_bytes: int, spare: str) -> list[str]:
        """Return the keys that must go, least recently used first; never *spare*, which was just kept."""
        with self._lock:
            entries, size = len(self._uses), sum(use.size for use in self._uses.values())
            gone = []
            for key, use in sorted(self._uses.items(), key=lambda item: item[1].used_at):
                if entries <= max_entries and size <= max_bytes:
                    break
                if key != spare:
                    gone.append(key)
                    entries, size = entries - 1, size - use.size
            return gone

    def of(self, group: str) -> list[str]:
        """Return the keys of one group."""
        with self._lock:
            return [key for key, use in self._uses.items() if use.group == group]

    def to_json(self) -> str:
        """Return what `merge` reads."""
        with self._lock:
            uses = {key: [use.used_at, use.size, use.expires_at, use.group] for key, use in self._uses.items()}
        return json.dumps({"v": VERSION, "uses": uses}, separators=(",", ":"))


def _read(text: str | None) -> Iterator[tuple[str, Use]]:
    """Yield the uses in a state; one that is damaged, or of a newer release, holds none."""
    try:
        data = json.loads(text or "{}")
        if data.get("v") != VERSION:
            return
        for key, (used_at, size, expires_at, group) in data["uses"].items():
            use = Use(
                used_at=float(used_at),
                size=int(size),
                expires_at=None if expires_at is None else float(expires_at),
                group=str(group),
            )
            yield bytes.fromhex(key).hex(), use
    except (ValueError, TypeError, KeyError, AttributeError):
        return
