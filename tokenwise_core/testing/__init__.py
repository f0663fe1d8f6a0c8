"""Public test doubles: a recorded model, an embedder and a clock without surprises, a window on recorded usage."""

from __future__ import annotations

from tokenwise_core.testing.fakes import FakeClock, HashEmbedder, capture_usage
from tokenwise_core.testing.prompt_cache import PromptCache
from tokenwise_core.testing.replay import REPLAY_PRICES, SUMMARY_PREFIX, UNKNOWN, Replay, ReplayAnswer, Tier
from tokenwise_core.testing.wire import ProviderFormat, ReplayChunk, ToolCallDelta

__all__ = [
    "REPLAY_PRICES",
    "SUMMARY_PREFIX",
    "UNKNOWN",
    "FakeClock",
    "HashEmbedder",
    "PromptCache",
    "ProviderFormat",
    "Replay",
    "ReplayAnswer",
    "ReplayChunk",
    "Tier",
    "ToolCallDelta",
    "capture_usage",
]
