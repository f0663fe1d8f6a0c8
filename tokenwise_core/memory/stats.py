"""What a memory has done in this process, counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    """Counts since the memory was made (or forked).

    *full_tokens* is what sending everything would have been, *sent_tokens* what was sent. *reasons* counts why views
    changed, *summaries* how summaries went ("made", "failed", "taken" by another worker), *recalled* the turns of users
    for which something was recalled (*lexical_only* of them by words alone), *failures* what went wrong by part: none
    of it reached a caller.
    """

    requests: int = 0
    full_tokens: int = 0
    sent_tokens: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    summaries: Mapping[str, int] = field(default_factory=dict)
    recalled: int = 0
    lexical_only: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)

    @property
    def saved_tokens(self) -> int:
        """Input tokens not sent; what that saved in money depends on the provider's cache: the ledger says."""
        return self.full_tokens - self.sent_tokens


class Counters:
    """The counts behind `MemoryStats`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()

    def prepared(self, reason: str, *, full: int, sent: int, recalled: bool) -> None:
        """Count one request."""
        with self._lock:
            self._counts.update(requests=1, full=full, sent=sent, recalled=int(recalled))
            if reason:
                self._reasons[reason] += 1

    def failed(self, part: str) -> int:
        """Count a failure of *part*; return how many there were."""
        with self._lock:
            self._failures[part] += 1
            return self._failures[part]

    def stats(self, *, summaries: Mapping[str, int], lexical_only: int) -> MemoryStats:
        """Return all that was counted."""
        with self._lock:
            return MemoryStats(
                requests=self._counts["requests"],
                full_tokens=self._counts["full"],
                sent_tokens=self._counts["sent"],
                reasons=dict(self._reasons),
                summaries=dict(summaries),
                recalled=self._counts["recalled"],
                lexical_only=lexical_only,
                failures=dict(self._failures),
            )
