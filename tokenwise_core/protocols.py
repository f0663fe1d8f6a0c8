"""What to implement against: each is one method or a plain callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Clock = Callable[[], float]
"""Seconds since the epoch; `time.time` unless a test injects another."""

CountText = Callable[[str], int]
"""Tokens of a text."""


@runtime_checkable
class Embedder(Protocol):
    """Texts in, unit vectors out."""

    @property
    def id(self) -> str:
        """Model name and weight hash: part of every stored vector's partition."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 of shape (len(texts), dimension), each row of length 1."""
        ...
