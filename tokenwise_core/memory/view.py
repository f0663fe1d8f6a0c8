"""The derived view of a conversation: what has been summarised, left out or cleared, and what it has cost.

Plain, versioned JSON: it stands in a framework's private state or in the session store, and any worker can go on from
it. The messages themselves stay where they are, whole.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.economics import Account
from tokenwise_core.memory.pins import Pins, render
from tokenwise_core.memory.plan import Keep, Part, Plan, Put, Swap, joined
from tokenwise_core.memory.prefix import Mark, before
from tokenwise_core.usage.components import Component

VERSION = 1
Range = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What stands in the place of messages [start, stop): the summary's *text*, and the *pins*, values that it lost.

    *tokens* are those of what is *shown*. *digest* is the conversation's up to *stop*, *merged* how many summaries it
    took in. Where only *hidden* of those messages are gone, it stands behind the first of them, at *place*. One without
    text is a note that they are not shown.
    """

    start: int
    stop: int
    text: str
    tokens: int
    digest: str
    pins: tuple[str, ...] = ()
    merged: int = 1
    hidden: int = 0
    place: int | None = None

    @property
    def stands(self) -> int:
        """Where it stands: before the message at this position."""
        return self.stop if self.place is None else self.place

    @property
    def is_note(self) -> bool:
        """Whether it says only that messages are missing, not what was in them."""
        return not self.text and not self.pins

    @property
    def shown(self) -> str:
        """The message that the model reads; the same each time."""
        hidden = self.hidden or self.stop - self.start
        if self.is_note:
            return f"[{hidden} earlier messages are not shown]" if hidden > 1 else "[An earlier message is not shown]"
        return f"[Summary of {hidden} earlier messages]\n{self.facts}"

    @property
    def facts(self) -> str:
        """Text and pins."""
        return _facts(self.text, self.pins)


@lru_cache(maxsize=1024)
def _facts(text: str, pins: tuple[str, ...]) -> str:
    """Join a summary and its pins; kept, as each plan shows all summaries anew: half the time of a long session."""
    return f"{text}\n{render(Pins(values=pins))}" if pins else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What was recalled for the user's turn at *turn* (digest of the conversation up to it); the same for all steps."""

    turn: int
    digest: str
    text: str
    tokens: int
    positions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Messages [start, stop) that a summary is being made of; it takes in the last *merges* summaries.

    *digest* is the conversation's up to *stop*: who finds the finished summary can tell that it belongs here. *spared*
    is the position of a user message in it that was the last one: it is in no summary. *since* is how many requests had
    been made when it was begun.
    """

    start: int
    stop: int
    digest: str
    merges: int = 0
    spared: int | None = None
    since: int = 0

    def is_of(self, conversation: Conversation) -> bool:
        """Say whether it is a block of *conversation*, whose end may have changed behind it."""
        return self.stop <= len(conversation) and conversation.digest(self.stop) == self.digest

    @property
    def key(self) -> str:
        """Its name in the session store."""
        spared = "" if self.spared is None else f"-{self.spared}"
        return f"{self.start}-{self.stop}-{self.merges}{spared}-{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is derived from a conversation.

    *summaries* in order; *evicted* are the ranges that are not shown (apart, not touching); *swapped* maps positions
    of tools' results to the kind of text shown in their place (`swaps.py`); *pending* is the block whose summary is
    awaited.
    """

    summaries: tuple[Summary, ...] = ()
    evicted: tuple[Range, ...] = ()
    swapped: Mapping[int, str] = field(default_factory=dict)
    pending: Block | None = None
    failures: int = 0
    slot: Slot | None = None
    account: Account = field(default_factory=Account)
    last: tuple[Mark, ...] = ()
    length: int = 0
    digest: str = ""

    @property
    def cut(self) -> int:
        """Where the untouched tail begins."""
        return self.evicted[-1][1] if self.evicted else 0

    def holding(self, conversation: Conversation) -> View:
        """Return what of this view holds for *conversation*, whose history may have been cut back or rewritten."""
        if self.length <= len(conversation) and conversation.digest(self.length) == self.digest:
            return self
        held: list[Summary] = []
        for summary in self.summaries:
            if summary.stop > len(conversation) or conversation.digest(summary.stop) != summary.digest:
                break
            held.append(summary)
        cut = held[-1].stop if held else 0
        awaited, is_whole = self.pending, len(held) == len(self.summaries)
        return View(
            pending=awaited if is_whole and awaited is not None and awaited.is_of(conversation) else None,
            summaries=tuple(held),
            evicted=tuple((start, stop) for start, stop in self.evicted if stop <= cut),
            swapped={at: kind for at, kind in self.swapped.items() if at < cut},
            account=self.account,
            last=before(self.last, cut),
            length=cut,
            digest=conversation.digest(cut),
        )

    def seen(self, conversation: Conversation) -> View:
        """Return this view bound to the conversation as it is now; what is not shown has nothing in its place."""
        starts = [start for start, _ in self.evicted]
        swapped = {at: kind for at, kind in self.swapped.items() if not _is_gone(self.evicted, starts, at)}
        return replace(self, swapped=swapped, length=len(conversation), digest=conversation.digest(len(conversation)))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        data = asdict(self)
        data["swapped"] = {str(at): kind for at, kind in self.swapped.items()}
        return {"v": VERSION, **data}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | None) -> View:
        """Read what `to_dict` wrote; an empty view where there is none, or one of another release."""
        if not data or data.get("v") != VERSION:
            return cls()
        try:
            return _read(cls, data)
        except (KeyError, TypeError, ValueError):
            return cls()


def _read(cls: type[View], data: Mapping[str, Any]) -> View:
    slot, pending = data["slot"], data["pending"]
    return cls(
        summaries=tuple(Summary(**{**one, "pins": tuple(one["pins"])}) for one in data["summaries"]),
        evicted=tuple((int(start), int(stop)) for start, stop in data["evicted"]),
        swapped={int(at): str(kind) for at, kind in data["swapped"].items()},
        pending=Block(**pending) if pending else None,
        failures=int(data["failures"]),
        slot=Slot(**{**slot, "positions": tuple(slot["positions"])}) if slot else None,
        account=Account(**data["account"]),
        last=tuple((str(kind), int(a), int(b)) for kind, a, b in data["last"]),
        length=int(data["length"]),
        digest=str(data["digest"]),
    )


def _is_gone(evicted: Sequence[Range], starts: Sequence[int], at: int) -> bool:
    number = bisect_right(starts, at) - 1
    return number >= 0 and at < evicted[number][1]


def evicting(evicted: Sequence[Range], *more: Range) -> tuple[Range, ...]:
    """Return the ranges that cover all given ones: in order, apart."""
    out: list[Range] = []
    for start, stop in sorted((*evicted, *more)):
        if stop <= start:
            continue
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], stop))
        else:
            out.append((start, stop))
    return tuple(out)


def without(ranges: Sequence[Range], gone: Sequence[Range]) -> tuple[Range, ...]:
    """Return the *ranges* less what is *gone*; both in order, apart."""
    out: list[Range] = []
    for start, stop in ranges:
        at = start
        for a, b in gone:
            if b > at and a < stop:
                out.append((at, a))
                at = b
        out.append((at, stop))
    return tuple((a, b) for a, b in out if a < b)


def planned(view: View, conversation: Conversation, *, swap: Callable[[int, str], Swap]) -> Plan:
    """Return what the model is shown: what is not evicted, each summary behind what it follows, the slot before the
    user's last message. *swap* makes what stands in a result's place.
    """
    parts: list[Part] = []
    at = 0
    for summary in view.summaries:
        stop = max(at, summary.stands)
        parts += _shown(view.evicted, at, stop)
        parts.append(Put(summary.shown, Component.SUMMARY, summary.tokens))
        at = stop
    slot, asked = view.slot, conversation.last_user
    if slot is not None and slot.text and asked == slot.turn and asked >= at:
        parts += _shown(view.evicted, at, asked)
        parts.append(Put(slot.text, Component.MEMORY, slot.tokens))
        at = asked
    parts += _shown(view.evicted, at, len(conversation))
    made = joined(_swapped(joined(parts), view.swapped, swap))
    return Plan(parts=made, tokens=sum(_tokens(part, conversation) for part in made))


def _shown(evicted: Sequence[Range], start: int, stop: int) -> list[Part]:
    """Return what of [start, stop) is not evicted."""
    parts: list[Part] = []
    for a, b in evicted:
        if b <= start:
            continue
        if a >= stop:
            break
        parts.append(Keep(start, min(a, stop)))
        start = max(start, b)
    parts.append(Keep(start, stop))
    return parts


def _swapped(parts: Sequence[Part], swapped: Mapping[int, str], swap: Callable[[int, str], Swap]) -> list[Part]:
    if not swapped:
        return list(parts)
    out: list[Part] = []
    places = sorted(swapped)
    for part in parts:
        if not isinstance(part, Keep):
            out.append(part)
            continue
        at = part.start
        for place in places[bisect_left(places, part.start) : bisect_left(places, part.stop)]:
            out += [Keep(at, place), swap(place, swapped[place])]
            at = place + 1
        out.append(Keep(at, part.stop))
    return out


def _tokens(part: Part, conversation: Conversation) -> int:
    return conversation.tokens(part.start, part.stop) if isinstance(part, Keep) else part.tokens
