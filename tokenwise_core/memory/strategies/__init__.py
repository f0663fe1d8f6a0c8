"""Other ways to keep a conversation short than `BlockSummary`: on the same units, within the same two limits.

Each cuts between units, never drops a system, pinned or last user message, never spends more than the regret guard
allows below the hard limit, and says in its docstring how it measured.
"""

from __future__ import annotations

from tokenwise_core.memory.strategies.decay import Decay
from tokenwise_core.memory.strategies.dedupe import Dedupe
from tokenwise_core.memory.strategies.importance import Importance, Priority
from tokenwise_core.memory.strategies.summary import Hybrid, Summary
from tokenwise_core.memory.strategies.window import NoCut, Window

__all__ = ["Decay", "Dedupe", "Hybrid", "Importance", "NoCut", "Priority", "Summary", "Window"]
