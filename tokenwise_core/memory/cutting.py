"""Where a conversation may be cut, and what goes then: between units, never the pinned, never the last question."""

from __future__ import annotations

from dataclasses import replace

from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.view import Range, View, evicting

_LOOK_AHEAD = 8
"""Units that a cut may move on so that the tail begins with a question."""


def cut_after(situation: Situation, *, tail: int, start: int) -> int:
    """Return where the tail of about *tail* tokens begins: between units, before a question where one is near.

    No unit that waits for a result goes, nor what stands behind it. Returns *start* where nothing can go.
    """
    conversation = situation.conversation
    stop = len(conversation)
    position = conversation.first_at(tail, start=start, stop=stop)
    units = conversation.units
    number = units.unit_at(position) if position < stop else len(units) - 1
    if number < 0:
        return start
    if units[number].start < position and number + 1 < len(units):
        number += 1
    best = units[number].start
    for ahead in range(number, min(number + _LOOK_AHEAD, len(units))):
        if units[ahead].role == "user":
            best = units[ahead].start
            break
    return max(start, min(best, _first_open(conversation, start)))


def _first_open(conversation: Conversation, start: int) -> int:
    """Return where the first unit behind *start* begins that still waits for a result; the end where none does.

    A call that had no result when the user went on is taken for abandoned.
    """
    since = max(start, conversation.last_user or 0)
    waiting = [at for at in conversation.units.waiting if at >= since]
    return conversation.units.border(min(waiting)) if waiting else len(conversation)


def going(situation: Situation, start: int, stop: int) -> tuple[Range, ...]:
    """Return the ranges within [start, stop) that may go: not the pinned, not the last user message."""
    conversation = situation.conversation
    stays = [(u.start, u.stop) for u in conversation.units.between(start, stop) if u.is_pinned]
    pinned = situation.is_pinned
    if pinned is not None:
        units = conversation.units.between(start, stop)
        stays += [(u.start, u.stop) for u in units if any(map(pinned, conversation.slice(u.start, u.stop)))]
    asked = conversation.last_user
    if asked is not None and start <= asked < stop:
        unit = conversation.units[conversation.units.unit_at(asked)]
        stays.append((unit.start, unit.stop))
    ranges: list[Range] = []
    at = start
    for first, last in sorted(stays):
        ranges.append((at, first))
        at = max(at, last)
    ranges.append((at, stop))
    return evicting(ranges)


def whole(view: View, conversation: Conversation) -> View:
    """Return *view* with no unit torn: where a late result joined two sides of a cut, the unit is shown whole."""
    units, evicted = conversation.units, []
    for start, stop in view.evicted:
        first = units.border(start)
        if first < start:
            first = units[units.unit_at(start)].stop
        evicted.append((max(start, first), units.border(stop)))
    held = evicting(evicted)
    return view if held == view.evicted else replace(view, evicted=held)
