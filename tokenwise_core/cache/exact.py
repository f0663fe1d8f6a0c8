"""The exact layer in memory: the answers last stored or served, under their exact keys."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cachetools import LRUCache

from tokenwise_core.cache.entry import CachedAnswer, Entry, StoredAnswer
from tokenwise_core.cache.verify import Judgement
from tokenwise_core.quick import quick
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.savings import Spend, spend_of

_RECENT = 1000
_answer = quick(CachedAnswer)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # `json.dumps` makes one a call
OVERHEAD_BYTES = 600
"""What an answer costs in memory beside its text and payload (measured: objects, key, list node)."""


@dataclass(slots=True, kw_only=True)
class Kept:
    """An answer in memory. The payload is kept as JSON, so that each hit gets a copy of its own.

    *whole* says that the JSON is all that the store holds, the payload in it: read from there, it is not written anew.
    *seq* is None until the writer has stored the entry. *similarity* and *judgement* are those of a rephrased question
    that was served this answer, *judged_as* the category of its request, whose vetoes it passed; None where it is the
    answer to the very words.
    """

    text: str
    payload: str
    model: str | None
    provider: str | None
    usage: Usage | None
    finish_reason: str | None
    tool_calls: bool
    saved: Spend
    created_at: float
    expires_at: float | None = None
    epochs: Mapping[str, int] = field(default_factory=dict)
    capability: float | None = None
    seq: int | None = None
    similarity: float | None = None
    judgement: Judgement | None = None
    judged_as: str | None = None
    whole: bool = False

    def rephrased(self, similarity: float, judgement: Judgement, *, category: str | None, until: float) -> Kept:
        """Return it as the answer to a rephrased question that was judged like this, for the same words again."""
        expires = until if self.expires_at is None else min(until, self.expires_at)
        return replace(self, similarity=similarity, judgement=judgement, judged_as=category, expires_at=expires)

    @classmethod
    def of(cls, entry: Entry | StoredAnswer) -> Kept:
        """Return *entry* as it is kept."""
        answer, usage = entry.answer, entry.answer.usage
        return cls(
            text=answer.text,
            payload=entry.text if isinstance(entry, StoredAnswer) else _encode(answer.payload),
            whole=isinstance(entry, StoredAnswer),
            model=answer.model,
            provider=answer.provider,
            usage=usage,
            finish_reason=answer.finish_reason,
            tool_calls=answer.tool_calls,
            saved=Spend(nano=entry.cost_nano) if usage is None else spend_of(usage, nano=entry.cost_nano),
            created_at=entry.created_at,
            expires_at=entry.expires_at,
            epochs=entry.epochs,
            capability=entry.capability,
            seq=entry.seq,
        )

    def answer(self) -> CachedAnswer:
        """Return the answer; its payload belongs to the caller."""
        payload: dict[str, Any] = json.loads(self.payload) if self.payload != "{}" else {}
        if self.whole:
            payload = payload["answer"].get("payload", {})
        return _answer(
            text=self.text,
            payload=payload,
            model=self.model,
            provider=self.provider,
            usage=self.usage,
            finish_reason=self.finish_reason,
            tool_calls=self.tool_calls,
        )

    def is_live(self, now: float, epochs: Mapping[str, int]) -> bool:
        """Say whether it may still be served: not expired, and no tag of it invalidated since."""
        if self.expires_at is not None and now >= self.expires_at:
            return False
        return are_current(self.epochs, epochs)

    def serves(self, capability: float | None) -> bool:
        """Say whether the model that answered is at least as capable as the one planned now."""
        return is_capable(self.capability, capability)


def are_current(made: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Say whether no tag's epoch has moved on since an entry was made."""
    return not made or all(now.get(f"tag:{tag}", 0) <= epoch for tag, epoch in made.items())


def is_capable(answered: float | None, planned: float | None) -> bool:
    """Say whether a model of capability *answered* may stand in for one of *planned*; unknown never does."""
    return planned is None or (answered is not None and answered >= planned)


class ExactCache:
    """Answers by exact key, the least recently used going first. Bounded by bytes. Thread-safe.

    *edition* moves with each `clear`: what was read from the store before it is not kept after it.
    """

    def __init__(self, *, max_bytes: int = 64 << 20) -> None:
        self._max_bytes = max_bytes
        self._kept: LRUCache[bytes, Kept] = LRUCache(max_bytes, getsizeof=_size)
        self._recent: deque[bytes] = deque(maxlen=_RECENT)
        self._lock = threading.Lock()
        self.edition = 0

    def get(self, key: bytes) -> Kept | None:
        """Return what is kept under *key*."""
        with self._lock:
            return self._kept.get(key)

    def put(self, key: bytes, kept: Kept, *, edition: int | None = None) -> None:
        """Keep an answer, unless it is larger than everything that may be kept, or read at an older *edition*."""
        with self._lock:
            if _size(kept) <= self._max_bytes and edition in (None, self.edition):
                self._kept[key] = kept
                if kept.seq is None:
                    self._recent.append(key)

    def drop(self, key: bytes) -> None:
        """Forget *key*."""
        with self._lock:
            self._kept.pop(key, None)

    def clear(self, *, unwritten: bool = True) -> None:
        """Forget everything, or all but what is *unwritten* yet, which nobody can have deleted from the store."""
        with self._lock:
            recent = [] if unwritten else [(key, kept) for key in self._recent if (kept := self._kept.get(key))]
            self._kept.clear()
            self._recent.clear()
            self.edition += 1
            for key, kept in recent:
                if kept.seq is None:
                    self._kept[key] = kept
                    self._recent.append(key)

    def __len__(self) -> int:
        return len(self._kept)

    def __bool__(self) -> bool:
        """Be true even when empty."""
        return True


def _size(kept: Kept) -> int:
    return len(kept.text) + len(kept.payload) + OVERHEAD_BYTES
