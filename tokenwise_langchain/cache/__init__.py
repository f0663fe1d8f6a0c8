"""The semantic cache for LangChain: an LLM cache, a middleware for agents, a runnable around chains.

Each projects a call into core's `CacheRequest` (`requests`, `parameters`, `chains`), and builds LangChain's objects of
what core gives back (`messages`, `outputs`, `served`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_langchain.cache.llm import FaissSemanticCache
    from tokenwise_langchain.cache.middleware import SemanticCacheMiddleware
    from tokenwise_langchain.cache.runnable import CachedRunnable

__all__ = ["CachedRunnable", "FaissSemanticCache", "SemanticCacheMiddleware"]

__getattr__ = loader(
    __name__, {"CachedRunnable": "runnable", "FaissSemanticCache": "llm", "SemanticCacheMiddleware": "middleware"}
)  # the middleware's imports take a second that the others need not wait for


def __dir__() -> list[str]:
    return sorted(__all__)
