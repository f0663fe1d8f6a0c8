"""Memory for LangChain: a middleware for agents; a history, a runnable and a classic memory for what came before them.

Each projects messages into core's conversation (`mirror`, `stored`) and builds LangChain's of the plan that comes back
(`applied`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenwise_core._optional import require
from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_langchain.memory.classic import TokenwiseSummaryMemory
    from tokenwise_langchain.memory.history import SummaryBufferHistory
    from tokenwise_langchain.memory.middleware import SummaryBufferMiddleware
    from tokenwise_langchain.memory.runnable import SummaryBufferRunnable

_HOMES = {
    "SummaryBufferHistory": "history",
    "SummaryBufferMiddleware": "middleware",
    "SummaryBufferRunnable": "runnable",
    "TokenwiseSummaryMemory": "classic",
}

__all__ = ["SummaryBufferHistory", "SummaryBufferMiddleware", "SummaryBufferRunnable", "TokenwiseSummaryMemory"]

_load = loader(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name == "TokenwiseSummaryMemory":
        require("langchain_classic", extra="classic")
    return _load(name)


def __dir__() -> list[str]:
    return sorted(__all__)
