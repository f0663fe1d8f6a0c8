"""What reported usage teaches: whether a model's prefixes are cached at all, and how far our counts are off."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Hashable
from dataclasses import replace

from cachetools import LRUCache

from tokenwise_core.memory.economics import UNCACHED, UNKNOWN, Rates
from tokenwise_core.protocols import Clock
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.prompt_cache import PromptCacheRules

_WITNESSES = 4
"""Requests in a row that should have read a cached prefix and did not, before a model is taken not to cache."""
_TELLING_TOKENS = 2_048
"""A shared prefix that any provider which caches would have cached, the one with the highest minimum apart."""
_PATIENCE = 0.3
"""How fast the correction of our counts follows the reports."""
_MODELS, _SESSIONS = 256, 4_096
_LEAST, _MOST = 0.5, 2.0

_Model = tuple[str | None, str | None]


class Learned:
    """Rates of models, as listed and as witnessed; corrections of our counts, by conversation. Thread-safe."""

    def __init__(self, prices: PriceBook, *, clock: Clock = time.time) -> None:
        self._prices, self._clock = prices, clock
        self._lock = threading.Lock()
        self._listed: LRUCache[_Model, tuple[Rates, int | None]] = LRUCache(_MODELS)
        self._witnessed: LRUCache[_Model, deque[bool]] = LRUCache(_MODELS)
        self._scales: LRUCache[Hashable, float] = LRUCache(_SESSIONS)

    def rates(self, model: str | None, provider: str | None) -> Rates:
        """Return what tokens of *model* cost; without a cache where it was seen not to have one."""
        listed, _ = self._of(model, provider)
        with self._lock:
            seen = self._witnessed.get((model, provider))
            if seen is None or len(seen) < _WITNESSES or any(seen):
                return listed
        return replace(UNCACHED, output=listed.output)

    def window(self, model: str | None, provider: str | None) -> int | None:
        """Return the context window of *model* in tokens, None where it is not known."""
        return self._of(model, provider)[1]

    def scale(self, conversation: Hashable) -> float:
        """Return what our counts of *conversation* are to be multiplied by."""
        with self._lock:
            return self._scales.get(conversation, 1.0)

    def observe(
        self,
        conversation: Hashable,
        *,
        model: str | None,
        provider: str | None,
        sent: int,
        shared: int,
        usage: Usage,
        is_cold: bool = False,
    ) -> None:
        """Learn from one answer: *sent* tokens by our count, *shared* of them sent before; *is_cold* after a pause."""
        reported = usage.input_tokens
        if not reported or not sent:
            return
        with self._lock:
            off = min(max(reported / sent, _LEAST), _MOST)
            before = self._scales.get(conversation)
            self._scales[conversation] = off if before is None else before + _PATIENCE * (off - before)
            if shared >= _TELLING_TOKENS and not is_cold:
                seen = self._witnessed.setdefault((model, provider), deque(maxlen=_WITNESSES))
                seen.append(bool(usage.cache_read))

    def _of(self, model: str | None, provider: str | None) -> tuple[Rates, int | None]:
        key = (model, provider)
        with self._lock:
            known = self._listed.get(key)
        if known is None:
            known = self._read(model, provider)
            with self._lock:
                self._listed[key] = known
        return known

    def _read(self, model: str | None, provider: str | None) -> tuple[Rates, int | None]:
        if not model:
            return UNKNOWN, None
        price = self._prices.price(model, provider)
        rules = PromptCacheRules.for_model(model, provider, price)
        return Rates.of(rules, price), price.context_window if price else None
