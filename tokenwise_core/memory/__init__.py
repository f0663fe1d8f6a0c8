"""Memory: long conversations that cost a fraction, keep what matters, and are never cut where it does not pay."""

from __future__ import annotations

from tokenwise_core.memory.buffer import BlockSummary
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.economics import Rates
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.plan import Keep, Plan, Put, Swap
from tokenwise_core.memory.recall import Recall
from tokenwise_core.memory.request import Prepared, Request
from tokenwise_core.memory.session import Session
from tokenwise_core.memory.stats import MemoryStats
from tokenwise_core.memory.tool_results import ToolResults
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_core.memory.view import View

__all__ = [
    "BlockSummary", "Conversation", "Keep", "Memory", "MemoryStats", "MemoryUsage", "Plan", "Prepared", "Put", "Rates",
    "Recall", "Request", "Session", "Swap", "ToolResults", "View",
]  # fmt: skip
