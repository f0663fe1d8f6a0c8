"""Whether an embedder sees all of a text: what lies beyond its window has no part in the vector."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from tokenwise_core.protocols import Embedder

WINDOW = 256
"""Tokens that all-MiniLM-L6-v2 was trained to read; what is beyond is not seen."""

UNKNOWN_WINDOW_BYTES = 600
"""UTF-8 bytes that are taken to fit a window nobody knows.

The narrowest one in wide use is MiniLM's 256 tokens. Through its tokenizer English prose has some 4.4 bytes a token,
Chinese 3, digits and codes 2.3 and more.
"""

_SPECIAL_TOKENS = 8  # more than any tokenizer puts around a text


@runtime_checkable
class KnowsItsWindow(Protocol):
    """An `Embedder` that can tell whether it sees all of a text."""

    def fits(self, text: str) -> bool:
        """Tell whether all of *text* is within the window."""
        ...


def fits_window(embedder: Embedder, text: str) -> bool:
    """Tell whether *embedder* sees all of *text*: by its own `fits`, else by `UNKNOWN_WINDOW_BYTES`.

    Two texts that differ only beyond the window have one vector: such a text must not be compared by its vector.
    May load the embedder's tokenizer, so raises what `embed` raises.
    """
    if isinstance(embedder, KnowsItsWindow):
        return embedder.fits(text)
    return within_bytes(text, UNKNOWN_WINDOW_BYTES)


def within_bytes(text: str, limit: int) -> bool:
    """Tell whether *text* has at most *limit* UTF-8 bytes, without encoding a long one."""
    return len(text) <= limit and len(text.encode("utf-8", "surrogatepass")) <= limit


def surely_fits(text: str, max_tokens: int) -> bool:
    """Tell of a short text, without counting, that it fits: no tokenizer makes more tokens than ASCII characters."""
    return len(text) + _SPECIAL_TOKENS <= max_tokens and text.isascii()
