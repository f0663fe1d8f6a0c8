"""What providers charge and require for cached prefixes, and the ledger of the prefixes last sent.

Prices come from the price list; the rest are the providers' documents, read in November 2026 (each rule names its
own). Only a prefix that is identical byte for byte is ever read from a cache.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from tokenwise_core.protocols import Clock
from tokenwise_core.usage.model_price import ModelPrice
from tokenwise_core.usage.price_names import provider_id

_FREE = Fraction(1)
_CLAUDE = "https://platform.claude.com/docs/en/build-with-claude/prompt-caching"
_OPENAI = "https://developers.openai.com/api/docs/guides/prompt-caching"
_GOOGLE = "https://ai.google.dev/gemini-api/docs/caching"
_BEDROCK = "https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptCacheRules:
    """How one model's provider caches prefixes.

    *read_factor* and the write factors multiply the price of plain input; 1 for a write means that it is not charged
    apart. *ttl_seconds* is how long a prefix lives after its last use, None where no time is promised. A prefix
    shorter than *min_tokens* is not cached; a longer one in steps of *granularity* tokens. *automatic* caches need no
    request for it; *breakpoints* is how many marks a request may set, *lookback_blocks* how far before a mark an
    older one is found (None = no limit).
    """

    provider: str
    read_factor: Fraction
    write_factor: Fraction = _FREE
    long_write_factor: Fraction | None = None
    ttl_seconds: int | None = None
    long_ttl_seconds: int | None = None
    min_tokens: int = 1024
    granularity: int = 1
    automatic: bool = True
    breakpoints: int = 0
    lookback_blocks: int | None = None
    source: str = ""

    @classmethod
    def for_model(
        cls, model: str, provider: str | None = None, price: ModelPrice | None = None
    ) -> PromptCacheRules | None:
        """Return the rules for *model*, with the factors of its *price* where that has them.

        None when the model is not known to cache, or not known.
        """
        name = model.strip().lower()
        host = provider_id(provider)
        rules = None if host == "local" else next((r for fits, r in _RULES if fits.matches(name, host)), None)
        return rules.priced(price) if rules is not None and price is not None else rules

    def priced(self, price: ModelPrice) -> PromptCacheRules:
        """Return these rules with the factors that *price* states."""
        plain = price.rate("input_uncached")
        rates = {bucket: price.rate(bucket) for bucket in ("cache_read", "cache_write_5m", "cache_write_1h")}
        if not plain or any(rate is None for rate in rates.values()):
            return self
        read, write, long = (Fraction(rate or 0) / plain for rate in rates.values())
        return replace(
            self,
            read_factor=read,
            write_factor=write,
            long_write_factor=long if self.long_ttl_seconds is not None else None,
        )

    def cacheable(self, tokens: int) -> int:
        """Return how many of the first *tokens* of a prompt can be cached."""
        return 0 if tokens < self.min_tokens else tokens - tokens % self.granularity

    def is_warm(self, idle_seconds: float) -> bool | None:
        """Tell whether a prefix last used *idle_seconds* ago is still there; None where no life is promised."""
        return None if self.ttl_seconds is None else idle_seconds <= self.ttl_seconds


@dataclass(frozen=True, slots=True)
class _Fits:
    """Which names a rule is for: a pattern of the model, and the hosts (any, when empty).

    Where nobody names the host, a rule of the maker's holds, but not one of a host of other makers' models.
    """

    model: re.Pattern[str]
    hosts: tuple[str, ...] = ()
    makers: bool = True

    def matches(self, name: str, host: str | None) -> bool:
        fits_host = not self.hosts or host in self.hosts or (host is None and self.makers)
        return fits_host and bool(self.model.search(name))


def _claude(pattern: str, min_tokens: int) -> tuple[_Fits, PromptCacheRules]:
    rules = PromptCacheRules(
        provider="anthropic",
        read_factor=Fraction(1, 10),
        write_factor=Fraction(5, 4),
        long_write_factor=Fraction(2),
        ttl_seconds=300,
        long_ttl_seconds=3600,
        min_tokens=min_tokens,
        automatic=False,
        breakpoints=4,
        lookback_blocks=20,
        source=_CLAUDE,
    )
    return _Fits(re.compile(pattern)), rules


def _listed(
    pattern: str, hosts: tuple[str, ...], read: Fraction, source: str, **rules: Any
) -> tuple[_Fits, PromptCacheRules]:
    made = PromptCacheRules(provider=hosts[0], read_factor=read, source=source, **rules)
    return _Fits(re.compile(pattern), hosts, makers=hosts[0] != "groq"), made


_OPENAI_HOSTS = ("openai", "azure", "openrouter", "github-copilot")
_GOOGLE_HOSTS = ("google", "openrouter", "openai")
_HALF, _QUARTER, _TENTH = Fraction(1, 2), Fraction(1, 4), Fraction(1, 10)
# The first that fits. Claude's rules are the same on every platform. Its newest models are said to cache from 512
# tokens on; as the sources disagree, they stay at 1,024, so that nothing is promised which may not be cached.
_RULES: tuple[tuple[_Fits, PromptCacheRules], ...] = (
    _claude(r"claude-opus-4[-.][56]|claude-haiku", 4096),
    _claude(r"claude-opus-4[-.]7|claude-3(?:[-.]5)?-haiku", 2048),
    _claude(r"claude", 1024),
    _listed(
        r"gpt-(?:5[-.][6-9]|[6-9])", _OPENAI_HOSTS, _TENTH, _OPENAI,
        write_factor=Fraction(5, 4), ttl_seconds=1800, breakpoints=4,
    ),
    _listed(r"gpt-5", _OPENAI_HOSTS, _TENTH, _OPENAI, ttl_seconds=300, granularity=128),
    _listed(r"gpt-4\.1|\bo[34](?:-|$)", _OPENAI_HOSTS, _QUARTER, _OPENAI, ttl_seconds=300, granularity=128),
    _listed(
        r"gpt-4o(?!-2024-05-13)|chatgpt-4o|\bo1(?:-|$)", _OPENAI_HOSTS, _HALF, _OPENAI, ttl_seconds=300, granularity=128
    ),
    _listed(r"gemini-2\.5", _GOOGLE_HOSTS, _TENTH, _GOOGLE, min_tokens=2048),
    _listed(r"gemini-(?:[3-9]|\d\d)", _GOOGLE_HOSTS, _TENTH, _GOOGLE, min_tokens=4096),
    _listed(
        r"nova-(?:micro|lite|pro|premier)", ("aws",), _QUARTER, _BEDROCK, ttl_seconds=300, min_tokens=1000,
        breakpoints=4,
    ),
    _listed(
        r"^deepseek", ("deepseek",), _TENTH, "https://api-docs.deepseek.com/guides/kv_cache",
        ttl_seconds=3600, min_tokens=64, granularity=64,
    ),
    _listed(
        r"gpt-oss|kimi", ("groq",), _HALF, "https://console.groq.com/docs/prompt-caching", ttl_seconds=7200
    ),
    _listed(
        r"grok", ("x-ai", "openrouter"), _QUARTER, "https://docs.x.ai/developers/advanced-api-usage/prompt-caching",
        min_tokens=0,
    ),
    _listed(
        r"mistral|codestral|devstral|magistral|ministral", ("mistral",), _TENTH,
        "the public recordings: cached tokens of Mistral's answers come in steps of 16", min_tokens=16, granularity=16,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixPart:
    """A piece of the prompt in wire order: a digest of its bytes, its tokens, and the component that it is."""

    digest: bytes
    tokens: int
    component: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixReport:
    """How much of a prompt is the same as the last one of its session.

    *broken_by* names the component of the first piece that differs from the last prompt's, *broken_at* its position;
    both are None when the prompt only grew (or was cut at its end), and on a first call. *warm* says whether the
    provider still holds the prefix; None when that is not known, or this is the first call.
    *cacheable_tokens* is the part of the stable tokens that the provider would cache, None without its rules.
    """

    stable_tokens: int
    total_tokens: int
    broken_by: str | None = None
    broken_at: int | None = None
    warm: bool | None = None
    cacheable_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Sent:
    digests: tuple[bytes, ...]
    at: float


class PrefixLedger:
    """Remembers the prompt last sent for each key, (session, model) by custom; thread-safe, bounded, O(parts).

    Holds digests only. Of more than *max_sessions* keys the one used longest ago is forgotten, which reads as a
    first call.
    """

    def __init__(self, clock: Clock = time.time, *, max_sessions: int = 4096) -> None:
        self._clock, self._max = clock, max_sessions
        self._sent: OrderedDict[Hashable, _Sent] = OrderedDict()
        self._lock = threading.Lock()

    def observe(
        self, key: Hashable, parts: Sequence[PrefixPart], *, rules: PromptCacheRules | None = None
    ) -> PrefixReport:
        """Record that *parts* were sent under *key*, and return how they compare with the time before."""
        now = self._clock()
        digests = tuple(part.digest for part in parts)
        with self._lock:
            last = self._sent.pop(key, None)
            self._sent[key] = _Sent(digests, now)
            if len(self._sent) > self._max:
                self._sent.popitem(last=False)
        return _compared(last, parts, now, rules)

    def predict(
        self, key: Hashable, parts: Sequence[PrefixPart], *, rules: PromptCacheRules | None = None
    ) -> PrefixReport:
        """Return what `observe` would, and record nothing: a lever asks before it edits a prompt."""
        with self._lock:
            last = self._sent.get(key)
        return _compared(last, parts, self._clock(), rules)

    def forget(self, key: Hashable) -> None:
        """Drop what is known of *key*."""
        with self._lock:
            self._sent.pop(key, None)

    def __len__(self) -> int:
        return len(self._sent)

    def __bool__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {"_clock": self._clock, "_max": self._max, "_sent": OrderedDict(self._sent)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


def _compared(
    last: _Sent | None, parts: Sequence[PrefixPart], now: float, rules: PromptCacheRules | None
) -> PrefixReport:
    total = sum(part.tokens for part in parts)
    if last is None:
        return PrefixReport(stable_tokens=0, total_tokens=total, cacheable_tokens=0 if rules else None)
    same = 0
    for part, digest in zip(parts, last.digests, strict=False):
        if part.digest != digest:
            break
        same += 1
    broken = same < min(len(parts), len(last.digests))
    stable = sum(part.tokens for part in parts[:same])
    return PrefixReport(
        stable_tokens=stable,
        total_tokens=total,
        broken_by=parts[same].component if broken else None,
        broken_at=same if broken else None,
        warm=rules.is_warm(now - last.at) if rules else None,
        cacheable_tokens=rules.cacheable(stable) if rules else None,
    )
