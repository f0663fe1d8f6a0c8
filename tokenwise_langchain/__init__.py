"""TokenWise for LangChain and LangGraph: see where every token goes, a cache to be trusted, a memory that pays.

>>> from tokenwise_langchain import TokenBreakdownHandler
>>> handler = TokenBreakdownHandler()
>>> chain.invoke({"question": "…"}, config={"callbacks": [handler]})
>>> print(handler.report())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_langchain.cache.llm import FaissSemanticCache
    from tokenwise_langchain.cache.middleware import SemanticCacheMiddleware
    from tokenwise_langchain.cache.runnable import CachedRunnable
    from tokenwise_langchain.callbacks import TokenBreakdownHandler, track_tokens
    from tokenwise_langchain.convert import CoreEmbeddings, LangChainEmbedder
    from tokenwise_langchain.memory.classic import TokenwiseSummaryMemory
    from tokenwise_langchain.memory.history import SummaryBufferHistory
    from tokenwise_langchain.memory.middleware import SummaryBufferMiddleware
    from tokenwise_langchain.memory.runnable import SummaryBufferRunnable
    from tokenwise_langchain.ordering import in_order
    from tokenwise_langchain.testing import ReplayChatModel

_HOMES = {
    "CachedRunnable": "cache.runnable",
    "CoreEmbeddings": "convert",
    "FaissSemanticCache": "cache.llm",
    "LangChainEmbedder": "convert",
    "ReplayChatModel": "testing",
    "SemanticCacheMiddleware": "cache.middleware",
    "SummaryBufferHistory": "memory",
    "SummaryBufferMiddleware": "memory",
    "SummaryBufferRunnable": "memory",
    "TokenBreakdownHandler": "callbacks",
    "TokenwiseSummaryMemory": "memory",
    "in_order": "ordering",
    "track_tokens": "callbacks",
}

__all__ = [
    "CachedRunnable",
    "CoreEmbeddings",
    "FaissSemanticCache",
    "LangChainEmbedder",
    "ReplayChatModel",
    "SemanticCacheMiddleware",
    "SummaryBufferHistory",
    "SummaryBufferMiddleware",
    "SummaryBufferRunnable",
    "TokenBreakdownHandler",
    "TokenwiseSummaryMemory",
    "in_order",
    "track_tokens",
]


__getattr__ = loader(__name__, _HOMES, needs="langchain_core", extra="langchain")  # frameworks take seconds to import


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
