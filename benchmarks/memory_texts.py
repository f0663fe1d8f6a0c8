"""Tokens and vectors of the memory benchmarks' texts, each made once a run."""

from __future__ import annotations

import json
from functools import cache

import numpy as np

from benchmarks.memory_data import Message
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.tokens import TokenCounter

MISSING = "the conversations are not in the data folder: locomo/ and agent_traces/"
_BATCH = 32


@cache
def _counter() -> TokenCounter:
    return TokenCounter.for_model("gpt-4o")


def text_tokens(text: str) -> int:
    """Return o200k tokens."""
    return _counter().text(text)


@cache
def message_tokens(message: Message) -> int:
    """Return o200k tokens of a message's text and calls, and four around it; names do not count."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return 4 + text_tokens(message.text + (json.dumps(calls) if calls else ""))


class Embedded:
    """The embedded default, each text embedded once a run: several figures embed the same turns."""

    id = "benchmark"

    def __init__(self) -> None:
        self._embedder = default_embedder()
        self._rows: dict[str, np.ndarray] = {}

    def embed(self, texts: list[str]) -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        for at in range(0, len(new), _BATCH):
            batch = new[at : at + _BATCH]
            self._rows.update(zip(batch, self._embedder.embed(batch), strict=True))
        return np.stack([self._rows[text] for text in texts])


@cache
def embedder() -> Embedded:
    """Return this run's embedder."""
    return Embedded()
