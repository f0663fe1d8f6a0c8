"""TokenWise for LlamaIndex: a handler that sees where every token goes, and a model wrapper that spends fewer.

>>> from tokenwise_llamaindex import TokenBreakdownHandler
>>> with TokenBreakdownHandler() as tracker:
...     index.as_query_engine().query("…")
>>> print(tracker.report())
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_llamaindex.cache.engine import CachedQueryEngine
    from tokenwise_llamaindex.cache.hits import TokenwiseCacheHitEvent
    from tokenwise_llamaindex.callbacks import TokenBreakdownHandler
    from tokenwise_llamaindex.convert import CoreEmbedding, LlamaIndexEmbedder
    from tokenwise_llamaindex.llm import TokenwiseLLM
    from tokenwise_llamaindex.memory.block import SummaryMemoryBlock
    from tokenwise_llamaindex.memory.buffer import SummaryBufferMemory
    from tokenwise_llamaindex.testing import ReplayLLM

_HOMES = {
    "CachedQueryEngine": "cache.engine",
    "CoreEmbedding": "convert",
    "LlamaIndexEmbedder": "convert",
    "ReplayLLM": "testing",
    "SummaryBufferMemory": "memory.buffer",
    "SummaryMemoryBlock": "memory.block",
    "TokenBreakdownHandler": "callbacks",
    "TokenwiseCacheHitEvent": "cache.hits",
    "TokenwiseLLM": "llm",
}

__all__ = [
    "CachedQueryEngine",
    "CoreEmbedding",
    "LlamaIndexEmbedder",
    "ReplayLLM",
    "SummaryBufferMemory",
    "SummaryMemoryBlock",
    "TokenBreakdownHandler",
    "TokenwiseCacheHitEvent",
    "TokenwiseLLM",
]


__getattr__ = loader(__name__, _HOMES, needs="llama_index", extra="llamaindex")  # frameworks take seconds to import


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
