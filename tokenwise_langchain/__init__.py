"""TokenWise for LangChain and LangGraph: a handler that sees where every token goes, and what is built on it.

>>> from tokenwise_langchain import TokenBreakdownHandler
>>> handler = TokenBreakdownHandler()
>>> chain.invoke({"question": "…"}, config={"callbacks": [handler]})
>>> print(handler.report())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenwise_langchain.callbacks import TokenBreakdownHandler, track_tokens
    from tokenwise_langchain.convert import CoreEmbeddings, LangChainEmbedder
    from tokenwise_langchain.testing import ReplayChatModel

_HOMES = {
    "CoreEmbeddings": "convert",
    "LangChainEmbedder": "convert",
    "ReplayChatModel": "testing",
    "TokenBreakdownHandler": "callbacks",
    "track_tokens": "callbacks",
}

__all__ = ["CoreEmbeddings", "LangChainEmbedder", "ReplayChatModel", "TokenBreakdownHandler", "track_tokens"]


def __getattr__(name: str) -> object:
    """Import a public name at its first use: LangChain's own modules take up to a second."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
