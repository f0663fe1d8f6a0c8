"""The settings of the seeds' caches, as far as they are settings of ours: `SemanticCache(**seed_preset("S1-25"), …)`.

| seed | its number | here |
|---|---|---|
| S1-25 | TTL 3,600 s | `ttl_s=3600`, `jitter=0`: exactly so |
| S1-25 | 10,000 entries | `max_entries=10_000`, for each namespace |
| S1-25 | all-MiniLM-L6-v2 | the default embedder (`embedder=` takes any other) |
| S1-25 | cosine ≥ 0.95 | none: `max_error=0.05` stands in its place |
| S1-25 | evicts the lowest 10 % by `created_at + 100 × hit_count` | none: GreedyDual-Size |
| S1-25 | saves $0.00003 a token | none: the saved call's own usage, priced from the price book |
| S2-07 | exact matches only | `embedder=None`, `max_error=0` |
| S2-07 | `ttl_hours=24` | `ttl_s=86_400`, `jitter=0` |
| S2-07 | saves 100 tokens a hit | none: what the saved call was billed |

*No threshold.* No cosine tells "the same answer" from "one word swapped": of question pairs with another meaning 93 %
(negation), 100 % (before/after, roles) and 26 % (a number, a name) lie at .90 or above, and .95 served 1.5 % false
hits in a stream of intents at a hit rate of .13 (`research/semantic_cache.md` §4). `max_error` bounds what the seed
meant by its threshold, the rate of wrong answers served: 0.05 is the share that "0.95" suggests.

*Another eviction.* `created_at + 100 × hit_count` adds seconds and counts: a hit is worth 100 seconds of age, so an
entry with 40 hits goes before one that nobody asked for and that is 70 minutes younger, and hits count the same when
they are a year old; neither size nor cost counts. GreedyDual-Size weighs the saved cost and fading hits by size, and
drops what is over the quota instead of a tenth of everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tokenwise_core.errors import BadInput

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "S1-25": MappingProxyType({"max_error": 0.05, "max_entries": 10_000, "ttl_s": 3_600.0, "jitter": 0.0}),
        "S2-07": MappingProxyType({"max_error": 0.0, "embedder": None, "ttl_s": 86_400.0, "jitter": 0.0}),
    }
)
"""Options of `SemanticCache` by row of `research/seed_inventory.md`."""


def seed_preset(row: str) -> dict[str, Any]:
    """Return the options of a seed's cache ("S1-25", "S2-07"); whose answers may be shared is still to be chosen.

    >>> SemanticCache(**seed_preset("S1-25"), namespace=lambda scope: scope.user)
    """
    if row not in PRESETS:
        raise BadInput(f"no preset {row!r}: there are {', '.join(PRESETS)}")
    return dict(PRESETS[row])
