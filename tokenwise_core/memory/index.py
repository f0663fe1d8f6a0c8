"""A conversation's turns, ready to be searched: words at once, vectors when they come."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tokenwise_core.memory.wording import (
    asked_in,
    concreteness,
    date_terms,
    in_their_words,
    question_share,
    speakers_named,
)
from tokenwise_core.text.lexical import Lexical, window_sums

Floats = NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

WINDOWS = (3, 5)
"""Sizes of the windows of neighbouring turns that are searched beside the turn itself."""

_REACH = max(WINDOWS) // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn as recall sees it: *text* without its speaker; *segment* numbers the sitting, *at* is its date."""

    text: str
    speaker: str
    segment: int = 0
    at: str | None = None

    @property
    def line(self) -> str:
        """The turn as it is shown: "speaker: text"."""
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


class RecallIndex:
    """The append-only index of one conversation, a turn known by its position.

    `add` makes a turn findable by its words; its vector may follow at any time (`missing`, `put_vectors`), as
    embedding happens in the background. Memory: the vectors (1.5 kB a turn at 384 dimensions) and the postings; texts
    are kept only until their vector is there. Not thread-safe: who shares one holds a lock around every call.
    """

    def __init__(self) -> None:
        self.lexical = Lexical()
        self._waiting: dict[int, str] = {}  # position → text to embed
        self._speakers: dict[str, int] = {}
        self._days: dict[frozenset[str], int] = {}
        self._speaker, self._day, self._segment = array("i"), array("i"), array("q")
        self._asked, self._concrete = array("f"), array("f")
        self._vectors = _Rows()

    def __len__(self) -> int:
        return len(self._speaker)

    def add(self, turn: Turn) -> int:
        """Append *turn* and return its position."""
        position = self.lexical.add(turn.line)
        self._waiting[position] = turn.text
        day = date_terms(turn.at or "")
        self._speaker.append(self._speakers.setdefault(turn.speaker, len(self._speakers)))
        self._day.append(self._days.setdefault(day, len(self._days)))
        self._segment.append(turn.segment)
        self._asked.append(question_share(turn.text))
        self._concrete.append(concreteness(turn.text))
        return position

    def truncate(self, length: int) -> None:
        """Forget the turns from position *length* on: the conversation was cut back, to go on otherwise."""
        self.lexical.truncate(length)
        for column in (self._speaker, self._day, self._segment, self._asked, self._concrete):
            del column[length:]
        self._waiting = {position: text for position, text in self._waiting.items() if position < length}
        self._vectors.truncate(length)

    def to_embed(self, query: str) -> tuple[str, ...]:
        """Return the texts whose vectors `rank` wants: what *query* asks; about one speaker, in their words too."""
        named, asked = self.named(query), asked_in(query)
        return tuple(dict.fromkeys((asked, in_their_words(asked, named[0])))) if len(named) == 1 else (asked,)

    def named(self, query: str) -> tuple[str, ...]:
        """Return the speakers whom *query* names."""
        return speakers_named(query, self._speakers)

    def missing(self, limit: int | None = None) -> dict[int, str]:
        """Return the turns without a vector, oldest first, at most *limit*: their positions and the text to embed."""
        return dict(islice(self._waiting.items(), limit))

    def put_vectors(self, embedded: Mapping[int, str], rows: Floats) -> None:
        """Set the unit vectors of what `missing` gave, a row an item.

        Embedding happens outside the lock: a turn that was cut away meanwhile, or replaced by another, keeps none.
        """
        still = [i for i, (at, text) in enumerate(embedded.items()) if self._waiting.get(at) == text]
        if not still:
            return
        positions = [list(embedded)[i] for i in still]
        self._vectors.put(positions, np.asarray(rows, np.float32)[still], len(self))
        for position in positions:
            del self._waiting[position]

    @property
    def segments(self) -> NDArray[np.int64]:
        """The sitting of each turn."""
        return np.array(self._segment, dtype=np.int64)

    @property
    def last_segment(self) -> int:
        """The sitting of the newest turn, 0 before the first."""
        return self._segment[-1] if self._segment else 0

    @property
    def question_shares(self) -> Floats:
        """The share of each turn that is question."""
        return np.array(self._asked, dtype=np.float32)

    @property
    def embedded(self) -> NDArray[np.bool_]:
        """Which turns have a vector."""
        return self._vectors.filled(len(self))

    @property
    def concreteness(self) -> Floats:
        """How many names and times each turn states, 0…1."""
        return np.array(self._concrete, dtype=np.float32)

    def said_by(self, speaker: str) -> NDArray[np.bool_]:
        """Tell which turns are *speaker*'s."""
        said: NDArray[np.bool_] = np.array(self._speaker, dtype=np.intc) == self._speakers.get(speaker, -1)
        return said

    def dated(self, query: str) -> Floats:
        """Return for each turn how much of the date in *query* is its sitting's, 0…1; 0 where *query* has no date."""
        asked = date_terms(query)
        if not asked:
            return np.zeros(len(self), np.float32)
        shares = np.array([len(asked & day) / len(asked) for day in self._days], np.float32)
        return shares[np.array(self._day, dtype=np.intc)]

    def similarities(self, vector: Floats) -> dict[int, Floats]:
        """Return, by window size (1 is the turn alone), each turn's cosine to *vector*; 0 where no vector is there."""
        return self._vectors.similarities(vector, len(self))


class _Rows:
    """Unit rows that arrive in any order, and the norms of the sums of neighbours: a window's mean is not stored."""

    def __init__(self) -> None:
        self._rows: Floats = np.zeros((0, 0), np.float32)
        self._filled = np.zeros(0, np.bool_)
        self._norms = {size: np.zeros(0, np.float32) for size in WINDOWS}

    def put(self, positions: Sequence[int], rows: Floats, length: int) -> None:
        self._reserve(max(length, 1), rows.shape[1])
        self._rows[positions] = rows
        self._filled[positions] = True
        self._measure({near for p in positions for near in range(max(0, p - _REACH), min(length, p + _REACH + 1))})

    def truncate(self, length: int) -> None:
        self._rows[length:] = 0
        self._filled[length:] = False
        self._measure(set(range(max(0, min(length, len(self._filled)) - _REACH), min(length, len(self._filled)))))

    def filled(self, length: int) -> NDArray[np.bool_]:
        return _padded(self._filled, length)

    def similarities(self, vector: Floats, length: int) -> dict[int, Floats]:
        used = min(length, len(self._filled))
        dots = np.vecdot(self._rows[:used], np.asarray(vector, np.float32)) if used else np.zeros(0, np.float32)
        found = {1: _padded(dots, length)}
        for size, norms in self._norms.items():
            sums = window_sums(dots.astype(np.float64), size)
            found[size] = _padded((sums / np.maximum(norms[:used], 1e-6)).astype(np.float32), length)
        return found

    def _reserve(self, length: int, dimension: int) -> None:
        """Grow by half at least, so that appending stays linear in all."""
        if self._rows.size and dimension != self._rows.shape[1]:
            raise ValueError(f"one embedder an index: rows have {dimension} dimensions, not {self._rows.shape[1]}")
        if length <= len(self._filled):
            return
        size = max(length, len(self._filled) * 3 // 2, 64)
        rows = np.zeros((size, dimension), np.float32)
        rows[: len(self._rows)] = self._rows.reshape(-1, dimension)
        self._rows = rows
        self._filled = _padded(self._filled, size)
        self._norms = {window: _padded(norms, size) for window, norms in self._norms.items()}

    def _measure(self, positions: set[int]) -> None:
        for position in positions:
            for size, norms in self._norms.items():
                near = self._rows[max(0, position - size // 2) : position + size // 2 + 1]
                norms[position] = np.linalg.norm(near.sum(axis=0))


def _padded(values: NDArray[Scalar], length: int) -> NDArray[Scalar]:
    out = np.zeros(length, values.dtype)
    kept = min(length, len(values))
    out[:kept] = values[:kept]
    return out
