"""Memory for LlamaIndex: a drop-in memory, a block for `Memory`, and a lever of `TokenwiseLLM`.

All three project messages for core's `Memory` and carry out its plan (`messages`, `log`); who makes summaries is asked
in one place (`asking`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenwise_core.lazy import loader

if TYPE_CHECKING:
    from tokenwise_llamaindex.memory.block import SummaryMemoryBlock
    from tokenwise_llamaindex.memory.buffer import SummaryBufferMemory
    from tokenwise_llamaindex.memory.lever import MemoryLever
    from tokenwise_llamaindex.memory.recalling import recall_tool

__all__ = ["MemoryLever", "SummaryBufferMemory", "SummaryMemoryBlock", "recall_tool"]

__getattr__ = loader(
    __name__,
    {
        "MemoryLever": "lever",
        "SummaryBufferMemory": "buffer",
        "SummaryMemoryBlock": "block",
        "recall_tool": "recalling",
    },
)  # each needs the others no more than its user does


def __dir__() -> list[str]:
    return sorted(__all__)
