"""The memory of the demo: its limits, what the replayed models' tokens cost, and which conversations are long."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenwise_core.demo.workload import Workload
from tokenwise_core.memory import Memory, Rates, Recall
from tokenwise_core.protocols import Embedder
from tokenwise_core.testing.prompt_cache import MINIMUM_TOKENS, STEP_TOKENS
from tokenwise_core.usage.pricing import PriceBook

AGENT_TOKENS = 5_000
"""Soft limit of agents: their system prompt and tools alone are 3,450 tokens."""
CHAT_TOKENS = 2_500
"""Soft limit of chains and chat engines, whose system prompt has 719 tokens."""
DEADLINE_MS = 5_000
"""Longer than the default, so that the demo shows the same on a busy machine."""
CACHED = Rates(read=0.1, write=1.0, output=8.0, min_tokens=MINIMUM_TOKENS, granularity=STEP_TOKENS)
"""What the replayed models' tokens cost (`REPLAY_PRICES`), with their prompt cache."""
UNCACHED = Rates(read=1.0, write=1.0, output=8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memories:
    """The memories of one run: what a path's prompts cost differs.

    LlamaIndex's context chat engines write the retrieved pages into the system message, so no provider finds what
    follows in its cache: there each token costs its full price, and memory must be told so.
    """

    agent: Memory
    chain: Memory
    chat_engine: Memory

    def drain(self) -> None:
        """Wait until all have read and written what they are about to."""
        for memory in (self.agent, self.chain, self.chat_engine):
            memory.drain()

    def close(self) -> None:
        """Wait, and close all."""
        for memory in (self.agent, self.chain, self.chat_engine):
            memory.close()


def demo_memories(
    *, embedder: Embedder, prices: PriceBook, prompt_cache: bool = True, replayed: bool = True
) -> Memories:
    """Return the memories of one run, for models with a *prompt_cache* or without; what a live model costs is listed.

    Summaries are waited for after the answer, so that two runs show the same; an application leaves them in the
    background.
    """

    def memory(target_tokens: int, rates: Rates | None) -> Memory:
        return Memory(
            target_tokens=target_tokens,
            recall=Recall(embedder=embedder),
            summaries="after_answer",
            prices=prices,
            rates=rates,
            deadline_ms=DEADLINE_MS,
        )

    rates = None if not replayed else CACHED if prompt_cache else UNCACHED
    return Memories(
        agent=memory(AGENT_TOKENS, rates), chain=memory(CHAT_TOKENS, rates), chat_engine=memory(CHAT_TOKENS, UNCACHED)
    )


def long_workload(workload: Workload) -> Workload:
    """Return the workload with its long conversations only."""
    return replace(workload, conversations=workload.long, long=())
