"""What is asked of a cache, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.messages import Prompt
from tokenwise_core.usage.savings import Spend

LEVER = "semantic_cache"
"""The name under which the savings of this lever are booked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRequest:
    """One request as the user made it, before any lever edited it.

    *parameters* are those that change the answer (temperature, stop, seed, `tool_choice`, …) and *extra* whatever else
    must be equal (an index's name, a prompt's version); both JSON. Never put secrets here.

    *query* is what is asked, known from provenance: a template's variable, a tag, an argument. None means that the last
    user message is the question as it stands; where that message is a rendered template, say the query. *semantic*
    False allows exact hits only. *policy* is the id of a router's policy that stands in front of the model,
    *capability* that of the model planned now: a hit is served only if the model that answered was at least as capable.

    *tags* are what the answer depends on (`doc:17`): `SemanticCache.invalidate` kills all answers under a tag.
    *max_error* and *ttl_s* may only be stricter than the cache's own.
    """

    prompt: Prompt
    model: str
    provider: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    query: str | None = None
    semantic: bool = True
    policy: str | None = None
    capability: float | None = None
    tags: tuple[str, ...] = ()
    category: str | None = None
    max_error: float | None = None
    ttl_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An answer out of the cache. *kind* is "exact", "semantic", or "joined": an equal call was in flight.

    *similarity* is the cosine of the two questions, *score* the estimated probability that the answer is right, *bound*
    the upper confidence bound of the false-hit rate at which it was accepted; None for exact hits.
    """

    id: str
    kind: str
    answer: CachedAnswer
    similarity: float | None = None
    score: float | None = None
    bound: float | None = None
    age_s: float = 0.0
    saved: Spend = field(default_factory=Spend)

    def metadata(self) -> dict[str, Any]:
        """Return what a served message carries under `response_metadata["tokenwise"]`; JSON."""
        facts = {
            "cache": self.kind,
            "hit_id": self.id,
            "similarity": None if self.similarity is None else round(self.similarity, 4),
            "score": None if self.score is None else round(self.score, 4),
            "age_s": round(self.age_s, 1),
            "saved_tokens": self.saved.tokens,
        }
        return {name: value for name, value in facts.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What `SemanticCache.run` returns: the answer, and the hit that it came from (None: the model was called)."""

    answer: CachedAnswer
    hit: Hit | None = None
    reason: str | None = None
