"""Parts of a count brought to a corrected total, in whole tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tokenwise_core.tokens.counts import MessageCount, PromptCount
from tokenwise_core.usage.components import CountSource


def apportioned(parts: Sequence[int], total: int) -> list[int]:
    """Return *parts* scaled to sum to *total*, each within one token of its exact share.

    Shares are cut where the running sum rounds, so no remainder is left over.
    """
    whole = sum(parts)
    if not whole:
        return list(parts)
    out, before, running = [], 0, 0
    for part in parts:
        running += part
        upto = round(running * total / whole)
        out.append(upto - before)
        before = upto
    return out


def scaled(counted: PromptCount, total: int, source: CountSource) -> PromptCount:
    """Return *counted* with all its parts scaled to *total*."""
    flat = [value for message in counted.messages for value in _values(message)]
    flat += [*counted.tools, counted.tools_overhead, counted.schema, counted.overhead]
    if not sum(flat):
        return replace(counted, overhead=total, source=source)
    shares = apportioned(flat, total)
    at = len(counted.messages) * 6
    return replace(
        counted,
        messages=tuple(_message(shares[i : i + 6]) for i in range(0, at, 6)),
        tools=tuple(shares[at : at + len(counted.tools)]),
        tools_overhead=shares[-3],
        schema=shares[-2],
        overhead=shares[-1],
        source=source,
    )


def _values(message: MessageCount) -> tuple[int, ...]:
    return message.text, message.tool_calls, message.name, message.reasoning, message.media, message.overhead


def _message(values: Sequence[int]) -> MessageCount:
    text, tool_calls, name, reasoning, media, overhead = values
    return MessageCount(
        text=text, tool_calls=tool_calls, name=name, reasoning=reasoning, media=media, overhead=overhead
    )
