"""Memory for LangChain: a middleware for agents; a history, a runnable and a classic memory for what came before them.

Each projects messages into core's conversation (`mirror`, `stored`) and builds LangChain's of the plan that comes back
(`applied`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_langchain.memory.middleware import SummaryBufferMiddleware

__all__ = ["SummaryBufferMiddleware"]

__getattr__ = loader(__name__, {"SummaryBufferMiddleware": "middleware"})


def __dir__() -> list[str]:
    return sorted(__all__)
