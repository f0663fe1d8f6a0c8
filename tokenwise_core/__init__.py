"""TokenWise: where every token goes, and what was saved. This package knows no framework.

The names below are loaded when they are first used: importing this costs no model, no framework and no database.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

__version__ = "0.1.0"

logging.getLogger("tokenwise").addHandler(logging.NullHandler())  # libraries are silent until the application listens

if TYPE_CHECKING:
    from tokenwise_core.cache import CachedAnswer, CacheRequest, SemanticCache
    from tokenwise_core.errors import BadInput, MissingExtra, StoreError, StoreTooNew, TokenwiseError
    from tokenwise_core.memory import (
        BlockSummary,
        Decay,
        Dedupe,
        Hybrid,
        Importance,
        Memory,
        MemoryStats,
        MemoryUsage,
        NoCut,
        Priority,
        Recall,
        Summary,
        ToolResults,
        Window,
    )
    from tokenwise_core.messages import Answer, Message, OutputSchema, Prompt, ToolCall, ToolDefinition
    from tokenwise_core.scoping import Scope, carry_scope, current_scope, scope
    from tokenwise_core.settings import Settings
    from tokenwise_core.switch import disable, enable, enabled
    from tokenwise_core.tokens import TokenCounter, analyze_tokenization
    from tokenwise_core.usage.components import Breakdown, Component, CountSource
    from tokenwise_core.usage.events import Cost, Status, Usage, UsageEvent
    from tokenwise_core.usage.normalize import normalize_usage
    from tokenwise_core.usage.pricing import PriceBook
    from tokenwise_core.usage.recorder import Recorder
    from tokenwise_core.usage.runtime import Runtime, make_runtime, shared_runtime
    from tokenwise_core.usage.savings import Ledger, Saving, Spend
    from tokenwise_core.usage.store import Query, Store, open_store

_HOMES = {
    "cache": ("CacheRequest", "CachedAnswer", "SemanticCache"),
    "errors": ("BadInput", "MissingExtra", "StoreError", "StoreTooNew", "TokenwiseError"),
    "memory": (
        "BlockSummary", "Decay", "Dedupe", "Hybrid", "Importance", "Memory", "MemoryStats", "MemoryUsage", "NoCut",
        "Priority", "Recall", "Summary", "ToolResults", "Window",
    ),
    "messages": ("Answer", "Message", "OutputSchema", "Prompt", "ToolCall", "ToolDefinition"),
    "scoping": ("Scope", "carry_scope", "current_scope", "scope"),
    "settings": ("Settings",),
    "switch": ("disable", "enable", "enabled"),
    "tokens": ("TokenCounter", "analyze_tokenization"),
    "usage.components": ("Breakdown", "Component", "CountSource"),
    "usage.events": ("Cost", "Status", "Usage", "UsageEvent"),
    "usage.normalize": ("normalize_usage",),
    "usage.pricing": ("PriceBook",),
    "usage.recorder": ("Recorder",),
    "usage.runtime": ("Runtime", "make_runtime", "shared_runtime"),
    "usage.savings": ("Ledger", "Saving", "Spend"),
    "usage.store": ("Query", "Store", "open_store"),
}  # fmt: skip

__all__ = [
    "Answer",
    "BadInput",
    "BlockSummary",
    "Breakdown",
    "CacheRequest",
    "CachedAnswer",
    "Component",
    "Cost",
    "CountSource",
    "Decay",
    "Dedupe",
    "Hybrid",
    "Importance",
    "Ledger",
    "Memory",
    "MemoryStats",
    "MemoryUsage",
    "Message",
    "MissingExtra",
    "NoCut",
    "OutputSchema",
    "PriceBook",
    "Priority",
    "Prompt",
    "Query",
    "Recall",
    "Recorder",
    "Runtime",
    "Saving",
    "Scope",
    "SemanticCache",
    "Settings",
    "Spend",
    "Status",
    "Store",
    "StoreError",
    "StoreTooNew",
    "Summary",
    "TokenCounter",
    "TokenwiseError",
    "ToolCall",
    "ToolDefinition",
    "ToolResults",
    "Usage",
    "UsageEvent",
    "Window",
    "__version__",
    "analyze_tokenization",
    "carry_scope",
    "current_scope",
    "disable",
    "enable",
    "enabled",
    "make_runtime",
    "normalize_usage",
    "open_store",
    "scope",
    "shared_runtime",
]


__getattr__ = loader(__name__, {name: module for module, names in _HOMES.items() for name in names})


def __dir__() -> list[str]:
    return sorted(__all__)
