"""Where known texts stand inside a longer one: whole, cut or re-wrapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

SHINGLE = 64  # characters that must agree before a text counts as found (observability.md §9)


class Finder:
    """Finds *texts* in messages. A message that shares no piece of 64 characters with any of them is left at once."""

    def __init__(self, texts: Sequence[str]) -> None:
        stripped = {text.strip() for text in texts} - {""}
        self._texts = sorted(stripped, key=lambda text: (-len(text), text))
        self._pieces = frozenset[str]().union(*map(_pieces, self._texts))
        self._short = [text for text in self._texts if len(text) < SHINGLE]

    def spans(self, within: str) -> Iterator[tuple[int, int]]:
        """Yield where the texts stand in *within*, the longest first."""
        if not self._texts:
            return
        shared = _windows(within) & self._pieces if len(within) >= SHINGLE else set()
        for text in self._texts if shared else self._short:
            if len(text) < SHINGLE or not _pieces(text).isdisjoint(shared):
                yield from found(text, within)


def found(text: str, within: str) -> Iterator[tuple[int, int]]:
    """Yield where *text* stands in *within*: whole, or the run of its pieces (it was cut or re-wrapped)."""
    at = within.find(text)
    if at >= 0:
        while at >= 0:
            yield at, at + len(text)
            at = within.find(text, at + len(text))
        return
    hits = {(at, at + SHINGLE) for piece in _pieces(text) if (at := within.find(piece)) >= 0}
    yield from _joined(sorted(hits))


@lru_cache(maxsize=1024)
def _pieces(text: str) -> frozenset[str]:
    """Return the overlapping pieces of a text by which it is recognised when it was cut."""
    return frozenset(text[at : at + SHINGLE] for at in range(0, len(text) - SHINGLE + 1, SHINGLE // 2))


def _windows(text: str) -> set[str]:
    """Return every run of 64 characters of a message (0.1 ms for 1,000 characters: not worth a memo's memory)."""
    return {text[at : at + SHINGLE] for at in range(len(text) - SHINGLE + 1)}


def _joined(hits: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join hits that lie within one shingle of each other."""
    start = end = -1
    for hit_start, hit_end in hits:
        if start >= 0 and hit_start <= end + SHINGLE:
            end = max(end, hit_end)
            continue
        if start >= 0:
            yield start, end
        start, end = hit_start, hit_end
    if start >= 0:
        yield start, end
