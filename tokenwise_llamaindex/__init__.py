"""TokenWise for LlamaIndex: a handler that sees where every token goes, and what is built on it.

>>> from tokenwise_llamaindex import TokenBreakdownHandler
>>> with TokenBreakdownHandler() as tracker:
...     index.as_query_engine().query("…")
>>> print(tracker.report())
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenwise_llamaindex.callbacks import TokenBreakdownHandler
    from tokenwise_llamaindex.convert import CoreEmbedding, LlamaIndexEmbedder
    from tokenwise_llamaindex.testing import ReplayLLM

_HOMES = {
    "CoreEmbedding": "convert",
    "LlamaIndexEmbedder": "convert",
    "ReplayLLM": "testing",
    "TokenBreakdownHandler": "callbacks",
}

__all__ = ["CoreEmbedding", "LlamaIndexEmbedder", "ReplayLLM", "TokenBreakdownHandler"]


def __getattr__(name: str) -> object:
    """Import a public name at its first use: LlamaIndex's own modules take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
