"""Tools' results: shortened before they are first sent, cleared in batches later, and only where that pays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.economics import block_size, break_even
from tokenwise_core.memory.plan import Keep, Swap
from tokenwise_core.memory.situation import Situation
from tokenwise_core.memory.swaps import CLEAR, SAME, TRIM
from tokenwise_core.memory.tool_results import MIN_REPEAT_TOKENS, RECALL, digest
from tokenwise_core.memory.view import View

KEEP_LAST = 3
"""Results that are never cleared: the newest, as in Anthropic's `clear_tool_uses`."""
CLEARED_TOKENS = 30


def tidied(situation: Situation, view: View) -> View:
    """Return the view with the results that are new since the last request shortened, or referred to.

    What was sent whole stays whole: changing it would break the provider's cached prefix. So does what the model asked
    for by the tool `recall`: shortened again, it would say nothing new.
    """
    if situation.tools is None:
        return view
    conversation = situation.conversation
    new = {}
    for position in range(view.length, len(conversation)):
        if conversation.messages[position].role == "tool" and position not in view.swapped:
            if situation.offers_recall and _called(conversation, position) == RECALL:
                continue
            kind = _kind(situation, view, position)
            if kind:
                new[position] = kind
    return replace(view, swapped={**view.swapped, **new}) if new else view


def _kind(situation: Situation, view: View, position: int) -> str | None:
    conversation = situation.conversation
    text = conversation.messages[position].text
    tokens = conversation.tokens(position, position + 1)
    if tokens >= MIN_REPEAT_TOKENS and _stands_above(situation, view, position):
        return SAME
    trimmed = situation.swap(position, TRIM)
    return TRIM if trimmed.text != text and trimmed.tokens < tokens else None


def _called(conversation: Conversation, position: int) -> str | None:
    return conversation.messages[position].name or conversation.called(position)


def _stands_above(situation: Situation, view: View, position: int) -> bool:
    """Say whether the same result is shown, whole, before *position*."""
    conversation = situation.conversation
    first = conversation.results.get(digest(conversation.messages[position].text))
    if first is None or first >= position or first in view.swapped:
        return False
    return not any(start <= first < stop for start, stop in view.evicted)


def cleared(situation: Situation, view: View) -> View:
    """Return the view with old results cleared, all at once, where the batch earns what breaking the prefix costs."""
    if situation.tools is None:
        return view
    plan = situation.plan(view)
    if situation.total(plan) <= situation.limits.target:
        return view
    old = dict(list(_shown_results(situation, view))[:-KEEP_LAST])
    gain = sum(tokens - CLEARED_TOKENS for tokens in old.values())
    if gain <= 0:
        return view
    conversation, rates = situation.conversation, situation.rates
    kept = max(0, conversation.tokens(min(old), len(conversation)) - gain)
    if gain < block_size(growth=situation.growth, kept=kept, summary=0, rates=rates):
        return view
    calls = break_even(removed=gain, kept=kept, summary=0, rates=rates, summariser_reads=0.0)
    if calls > max(view.account.requests, 1):
        return view
    done = replace(view, swapped={**view.swapped, **dict.fromkeys(old, CLEAR)})
    cost = situation.cost(situation.plan(done))
    return done if view.account.allows(cost, situation.everything) else view


def _shown_results(situation: Situation, view: View) -> Iterator[tuple[int, int]]:
    """Yield the results that are shown and worth clearing, oldest first, with the tokens that they take."""
    conversation = situation.conversation
    for part in situation.plan(view).parts:
        if isinstance(part, Swap):
            if view.swapped[part.position] == TRIM and part.tokens > 2 * CLEARED_TOKENS:
                yield part.position, part.tokens
        elif isinstance(part, Keep):
            for at in range(part.start, part.stop):
                if conversation.messages[at].role == "tool" and conversation.tokens(at, at + 1) > 2 * CLEARED_TOKENS:
                    yield at, conversation.tokens(at, at + 1)


def originals(situation: Situation, before: View, after: View) -> Mapping[str, str]:
    """Return the whole texts of what *after* shortens and *before* did not, by the id that stands in their place."""
    messages = situation.conversation.messages
    new = after.swapped.keys() - before.swapped.keys()
    return {digest(messages[at].text): messages[at].text for at in new}
