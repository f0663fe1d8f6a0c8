"""The semantic cache for LlamaIndex: a lever of `TokenwiseLLM`, and an engine around query engines.

Each makes core's `CacheRequest` of a call (`lever` with `parameters`, `engine` with `identity`), and LlamaIndex's
objects of what core gives back (`answers`, `responses`); a hit is told as an event (`hits`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_llamaindex.cache.engine import CachedQueryEngine
    from tokenwise_llamaindex.cache.hits import TokenwiseCacheHitEvent
    from tokenwise_llamaindex.cache.lever import CacheLever

__all__ = ["CacheLever", "CachedQueryEngine", "TokenwiseCacheHitEvent"]

__getattr__ = loader(
    __name__, {"CacheLever": "lever", "CachedQueryEngine": "engine", "TokenwiseCacheHitEvent": "hits"}
)  # a handler needs the event alone


def __dir__() -> list[str]:
    return sorted(__all__)
