"""A memo around any embedder: the same question is embedded once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cachetools import LRUCache

from tokenwise_core.embeddings.handle import Guard
from tokenwise_core.embeddings.vectors import Vectors
from tokenwise_core.embeddings.window import fits_window
from tokenwise_core.protocols import Embedder


class CachedEmbedder:
    """Another embedder with a memo of the last *max_texts* texts (1.5 kB each at 384 dimensions). Thread-safe."""

    def __init__(self, embedder: Embedder, *, max_texts: int = 4096) -> None:
        self._embedder, self._max_texts = embedder, max_texts
        self._memo: LRUCache[bytes, Vectors] = LRUCache(max_texts)
        self._lock = Guard()

    @property
    def id(self) -> str:
        return self._embedder.id

    def fits(self, text: str) -> bool:
        """Tell whether the embedder behind sees all of *text*."""
        return fits_window(self._embedder, text)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text; only new texts reach the embedder behind."""
        keys = [_digest(text) for text in texts]
        with self._lock:
            known = {key: self._memo[key] for key in set(keys) if key in self._memo}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new or not keys:
            known |= zip(new, self._embedder.embed(list(new.values())), strict=True)
        if not keys:
            return self._embedder.embed([])
        with self._lock:
            self._memo.update((key, known[key].copy()) for key in new)  # a row alone: a view would keep its whole batch
        return np.stack([known[key] for key in keys])

    def __getstate__(self) -> dict[str, Any]:
        return {"embedder": self._embedder, "max_texts": self._max_texts}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["embedder"], max_texts=state["max_texts"])  # type: ignore[misc]  # a fresh memo and lock


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
