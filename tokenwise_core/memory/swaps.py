"""Texts that stand in the place of a tool's result: shortened, a reference to the same one above, cleared.

A view remembers only the kind, a word; the text is made from the message, the same each time.
"""

from __future__ import annotations

from tokenwise_core.memory.conversation import AROUND_MESSAGE, MEDIUM_TOKENS, Conversation
from tokenwise_core.memory.plan import Swap
from tokenwise_core.memory.tool_results import ToolResults, cleared, digest, kept_at, reference
from tokenwise_core.protocols import CountText

TRIM, SAME, CLEAR, FIT = "trim", "same", "clear", "fit"
_FITTED = "\n[… {left:,} of {tokens:,} tokens left out to fit the context; {kept} …]\n"


def fitting(tokens: int) -> str:
    """Return the kind of a result that is cut to *tokens* to fit a hard limit."""
    return f"{FIT}-{tokens}"


def swap(
    conversation: Conversation,
    position: int,
    kind: str,
    *,
    count: CountText,
    tools: ToolResults,
    offers_recall: bool = False,
) -> Swap:
    """Return the message at *position* as *kind* shows it; its images and files stay."""
    key = position, kind, offers_recall
    found = conversation.rendered.get(key)
    if found is None:
        text = _text(conversation, position, kind, count=count, tools=tools, offers_recall=offers_recall)
        media = MEDIUM_TOKENS * len(conversation.messages[position].media)
        found = conversation.rendered[key] = Swap(position, text, count(text) + media + AROUND_MESSAGE)
    return found


def _text(
    conversation: Conversation, position: int, kind: str, *, count: CountText, tools: ToolResults, offers_recall: bool
) -> str:
    message = conversation.messages[position]
    name, tokens = digest(message.text), conversation.tokens(position, position + 1)
    if kind == TRIM:
        asked = conversation.user_before(position)
        query = None if asked is None else conversation.messages[asked].text
        return tools.trim(message.text, count=count, query=query, offers_recall=offers_recall).result
    if kind == SAME:
        return reference(name, tokens=tokens)
    if kind == CLEAR:
        called = message.name or conversation.called(position)
        return cleared(called, name, tokens=tokens, offers_recall=offers_recall)
    return _cut(message.text, int(kind.partition("-")[2]), tokens, kept_at(name, offers_recall))


def _cut(text: str, keep: int, tokens: int, kept: str) -> str:
    """Return about *keep* of the *tokens* of *text*: two thirds from its head, the rest from its tail."""
    characters = max(1, len(text) * keep // max(tokens, 1))
    head = characters * 2 // 3
    gap = _FITTED.format(left=tokens - keep, tokens=tokens, kept=kept)
    return f"{text[:head]}{gap}{text[len(text) + head - characters :]}"
