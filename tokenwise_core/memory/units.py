"""What may not be torn apart: a call and all its results are one unit, every other message one of its own."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenwise_core.messages import Message

_PINNED_ROLES = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Unit:
    """Messages [start, stop) that stay or go together.

    *is_open* while a call in it waits for its result; *is_pinned* where it holds a system message: it never goes.
    """

    start: int
    stop: int
    role: str
    is_open: bool = False
    is_pinned: bool = False


class Units:
    """The units of a growing list of messages; amortised O(1) a message.

    A result that arrives late joins its call's unit, with all that stands between: parallel and interleaved calls end
    up in one unit. A result whose call is unknown stays with the message before it.
    """

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self._starts: list[int] = []
        self._length = 0
        self._roles: list[str] = []
        self._pinned: list[int] = []
        self._waiting: dict[str, int] = {}
        self._called: dict[str, int] = {}
        self._unnamed: list[int] = []
        for message in messages:
            self.add(message)

    def add(self, message: Message) -> None:
        """Append one message."""
        at = self._length
        self._length += 1
        if message.role in _PINNED_ROLES:
            self._pinned.append(at)
        call = self._call_of(message) if message.role == "tool" else None
        if call is not None:
            self._join(call)
            return
        if message.role == "tool" and self._starts:
            return  # without a call it stays with what stands before it
        self._starts.append(at)
        self._roles.append(message.role)
        for made in message.tool_calls:
            if made.id is None:
                self._unnamed.append(at)
            else:
                self._waiting[made.id] = self._called[made.id] = at

    def _call_of(self, result: Message) -> int | None:
        """Return the position of the call that *result* answers, None where there is none."""
        name = result.tool_call_id
        if name is not None:
            self._waiting.pop(name, None)
            return self._called.get(name)
        return self._unnamed.pop(0) if self._unnamed else None

    def _join(self, call: int) -> None:
        """Make one unit of all from the unit of the message at *call* to the end."""
        first = self.unit_at(call)
        del self._starts[first + 1 :], self._roles[first + 1 :]

    @property
    def waiting(self) -> tuple[int, ...]:
        """Positions of the calls whose results have not come."""
        return (*self._waiting.values(), *self._unnamed)

    def unit_at(self, position: int) -> int:
        """Return the number of the unit that holds the message at *position*."""
        return bisect_right(self._starts, position) - 1

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Unit:
        number = range(len(self._starts))[number]
        start = self._starts[number]
        stop = self._starts[number + 1] if number + 1 < len(self._starts) else self._length
        return Unit(
            start=start,
            stop=stop,
            role=self._roles[number],
            is_open=any(start <= call < stop for call in self.waiting),
            is_pinned=bool(self.pinned(start, stop)),
        )

    def between(self, start: int, stop: int) -> Iterator[Unit]:
        """Yield the units that lie in [start, stop) with all their messages."""
        number = self.unit_at(start)
        if number < 0 or self._starts[number] < start:
            number += 1
        while number < len(self._starts):
            unit = self[number]
            if unit.stop > stop:
                return
            yield unit
            number += 1

    def pinned(self, start: int, stop: int) -> list[int]:
        """Return the positions of the system messages within [start, stop)."""
        return self._pinned[bisect_left(self._pinned, start) : bisect_left(self._pinned, stop)]

    def border_from(self, position: int) -> int:
        """Return the first border of units at or behind *position*."""
        at = bisect_left(self._starts, position)
        return self._starts[at] if at < len(self._starts) else self._length

    def border(self, position: int) -> int:
        """Return the last border of units at or before *position*: a cut there tears nothing."""
        if position >= self._length:
            return self._length
        return self._starts[self.unit_at(position)] if position > 0 else 0
