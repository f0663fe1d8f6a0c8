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
from tokenwise_core.memory.strategies import Decay, Dedupe, Hybrid, Importance, NoCut, Priority, Summary, Window
from tokenwise_core.memory.tool_results import ToolResults
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_core.memory.view import View

__all__ = [
    "BlockSummary", "Conversation", "Decay", "Dedupe", "Hybrid", "Importance", "Keep", "Memory", "MemoryStats",
    "MemoryUsage", "NoCut", "Plan", "Prepared", "Priority", "Put", "Rates", "Recall", "Request", "Session", "Summary",
    "Swap", "ToolResults", "View", "Window",
]  # fmt: skip
