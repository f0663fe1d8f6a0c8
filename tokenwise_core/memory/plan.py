"""What the model is shown of a conversation: positions of its messages, and what stands between them instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tokenwise_core.usage.components import Component

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keep:
    """The conversation's own messages [start, stop), untouched."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Put:
    """A message of ours, in the user's role: a summary, or what was recalled; *tokens* with what stands around it."""

    text: str
    component: Component
    tokens: int


@dataclass(frozen=True, slots=True)
class Swap:
    """The message at *position* with *text* in the place of its own: a tool's result that was cleared or trimmed."""

    position: int
    text: str
    tokens: int


Part = Keep | Put | Swap


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The parts in the order in which the model reads them; *tokens* of them all."""

    parts: tuple[Part, ...] = ()
    tokens: int = 0

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions of the conversation's messages that are shown, in order."""
        return tuple(at for part in self.parts for at in _positions(part))

    @property
    def changes_nothing(self) -> bool:
        """Whether all messages are shown as they are."""
        return len(self.parts) <= 1 and all(isinstance(part, Keep) and part.start == 0 for part in self.parts)

    def shown(self, messages: Sequence[T]) -> Iterator[tuple[Part, T | None]]:
        """Yield each message to be sent: a part of ours with the message whose text it replaces, or the message's own.

        What an adapter walks over: `Keep` comes once a message.
        """
        for part in self.parts:
            if isinstance(part, Keep):
                yield from ((part, messages[at]) for at in range(part.start, part.stop))
            else:
                yield part, messages[part.position] if isinstance(part, Swap) else None


def joined(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Return *parts* with neighbouring ranges made one, and empty ones left out."""
    out: list[Part] = []
    for part in parts:
        if isinstance(part, Keep):
            if part.stop <= part.start:
                continue
            last = out[-1] if out else None
            if isinstance(last, Keep) and last.stop == part.start:
                out[-1] = Keep(last.start, part.stop)
                continue
        out.append(part)
    return tuple(out)


def _positions(part: Part) -> range | tuple[int, ...]:
    if isinstance(part, Keep):
        return range(part.start, part.stop)
    return (part.position,) if isinstance(part, Swap) else ()
