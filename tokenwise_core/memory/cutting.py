"""Where a conversation may be cut, and what goes then: between units, never the pinned, never the last question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tokenwise_core.memory.conversation import AROUND_MESSAGE, Conversation
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.units import Unit
from tokenwise_core.memory.view import Block, Range, Summary, View, evicting, without

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
    return max(start, min(best, first_open(conversation, start)))


def first_open(conversation: Conversation, start: int) -> int:
    """Return where the first unit behind *start* begins that still waits for a result, or for the model to read it.

    The end where none does. A call that had no result when the user went on is taken for abandoned; results at the end
    are those that the model asked for, and has not seen.
    """
    since, messages = max(start, conversation.last_user or 0), conversation.messages
    waiting = [at for at in conversation.units.waiting if at >= since]
    if messages and messages[-1].role == "tool":
        waiting.append(len(messages) - 1)
    return conversation.units.border(min(waiting)) if waiting else len(conversation)


def may_go(situation: Situation, start: int, stop: int) -> Iterator[Unit]:
    """Yield the units within [start, stop) that may go: not the pinned, not that of the last user message."""
    conversation, pinned = situation.conversation, situation.is_pinned
    asked = conversation.last_user
    for unit in conversation.units.between(start, stop):
        if unit.is_pinned or (asked is not None and unit.start <= asked < unit.stop):
            continue
        if pinned is None or not any(map(pinned, conversation.slice(unit.start, unit.stop))):
            yield unit


def going(situation: Situation, start: int, stop: int) -> tuple[Range, ...]:
    """Return the ranges within [start, stop) that may go.

    Without pins of the application's own it costs what stays, not what goes: a long history that no cut pays for is
    looked at on each request.
    """
    if situation.is_pinned is not None:
        return evicting([(unit.start, unit.stop) for unit in may_go(situation, start, stop)])
    units, asked = situation.conversation.units, situation.conversation.last_user
    first, last = units.border_from(start), units.border(stop)
    stays = units.pinned(first, last)
    if asked is not None and first <= asked < last:
        stays.append(asked)
    spared = [units[units.unit_at(position)] for position in stays]
    return without(evicting([(first, last)]), evicting([(unit.start, unit.stop) for unit in spared]))


def going_of(situation: Situation, block: Block) -> tuple[Range, ...]:
    """Return what of *block* goes for its summary: what the summary was made of, though the user has gone on since.

    Where it takes in earlier summaries, questions that were the last once, and stand among them, go with them.
    """
    view = situation.view
    ranges = going(situation, block.start, block.stop)
    first = view.summaries[-block.merges].start if 0 < block.merges <= len(view.summaries) else block.start
    if first < block.start:
        between = without([(first, block.start)], view.evicted)
        ranges = evicting([part for start, stop in between for part in going(situation, start, stop)], *ranges)
    if block.spared is None:
        return ranges
    unit = situation.conversation.units[situation.conversation.units.unit_at(block.spared)]
    return without(ranges, [(unit.start, unit.stop)])


def leaving(situation: Situation, *, keep: int) -> list[Unit]:
    """Return the units that are shown and may go, oldest first; none of the last *keep* messages, none that is open."""
    conversation, evicted = situation.conversation, situation.view.evicted
    start = conversation.head
    stop = min(first_open(conversation, start), conversation.units.border(max(len(conversation) - keep, 0)))
    shown = without([(start, stop)], evicted) if start < stop else ()
    return [unit for a, b in shown for unit in may_go(situation, a, b)]


def least_first(situation: Situation, units: Iterable[Unit], room: int) -> list[Unit]:
    """Return the first of *units* whose going leaves the conversation no more than *room* tokens."""
    conversation = situation.conversation
    left = situation.plan(situation.view).tokens
    gone: list[Unit] = []
    for unit in units:
        if left <= room:
            break
        gone.append(unit)
        left -= conversation.tokens(unit.start, unit.stop)
    return gone


def left_out(situation: Situation, units: Iterable[Unit], text: str = "") -> View:
    """Return the view without *units*: a note, or *text*, stands behind the first that is missing.

    What a model has summarised before keeps its summary. Without units nothing changes.
    """
    view, conversation = situation.view, situation.conversation
    gone = [(unit.start, unit.stop) for unit in units]
    if not gone:
        return view
    evicted = evicting(view.evicted, *gone)
    kept = tuple(summary for summary in view.summaries if not summary.hidden)
    since = kept[-1].stop if kept else 0
    behind = [(max(start, since), stop) for start, stop in evicted if stop > since]
    if behind:
        start, stop = behind[0][0], behind[-1][1]
        hidden = sum(b - a for a, b in behind)
        digest = conversation.digest(stop)
        bare = Summary(
            start=start, stop=stop, text=text, tokens=0, digest=digest, hidden=hidden, place=behind[0][1]
        )  # fmt: skip
        kept = (*kept, replace(bare, tokens=situation.count(bare.shown) + AROUND_MESSAGE))
    return whole(replace(view, summaries=kept, evicted=evicted), conversation)


def whole(view: View, conversation: Conversation) -> View:
    """Return *view* with no unit torn: where a late result joined two sides of a cut, the unit is shown whole.

    So is the unit of the last user message, which an earlier one becomes when a history is cut back. A summary that
    would stand within a unit stands before it.
    """
    if not view.evicted:
        return view
    units, evicted = conversation.units, []
    summaries = tuple(
        one if units.border(one.stands) == one.stands else replace(one, place=units.border(one.stands))
        for one in view.summaries
    )
    for start, stop in view.evicted:
        first = units.border(start)
        if first < start:
            first = units[units.unit_at(start)].stop
        evicted.append((max(start, first), units.border(stop)))
    held, asked = evicting(evicted), conversation.last_user
    if asked is not None and asked < view.cut:
        unit = units[units.unit_at(asked)]
        held = without(held, [(unit.start, unit.stop)])
    same = held == view.evicted and summaries == view.summaries
    return view if same else replace(view, evicted=held, summaries=summaries)


def as_it_holds(view: View, conversation: Conversation) -> tuple[View, list[str]]:
    """Return what of *view* holds for the conversation as it is now, and what has changed it."""
    held = view.holding(conversation)
    units = whole(held, conversation)
    reasons = [] if held is view else ["history changed"]
    if units is not held:
        reasons.append("late result")
    if units.slot is not None and not units.evicted:
        units = replace(units, slot=None)  # what it recalls is shown again
    return units, reasons
