"""What an optimiser returns: the result, and what it did to get there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Something that is not in the result: its *position* in what was given, its *tokens*, and why."""

    position: int
    tokens: int
    reason: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """A result with its bill: tokens *before* and *after*, what was *kept* and *dropped* (positions in what was given).

    *reason* says in a few words why it came out so; *notes* name what the user should know (a limit that could not be
    held, facts that left the context and can be recalled). *scores* belong to *kept*, where the optimiser ranks.
    """

    result: T
    before: int
    after: int
    kept: tuple[int, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    scores: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""
    notes: tuple[str, ...] = ()

    @property
    def saved(self) -> int:
        """Tokens fewer than before; negative where the result is longer."""
        return self.before - self.after
