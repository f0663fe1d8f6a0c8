"""How much of a plan is the same as the last one that was sent, and what would break it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

from tokenwise_core.memory.plan import Keep, Part, Put
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.prompt_cache import PrefixReport

Mark = tuple[str, int, int]
"""A part as it is remembered: ("keep", start, stop), or (a hash of its text, position or -1, tokens)."""
TokensOf = Callable[[int, int], int]
_KEEP = "keep"


def marks(parts: Sequence[Part]) -> tuple[Mark, ...]:
    """Return what tells this plan from the next one, without its texts."""
    return tuple(map(_mark, parts))


def before(last: Sequence[Mark], stop: int) -> tuple[Mark, ...]:
    """Return the marks of a plan up to the message at *stop*: what is left of it when what follows has changed."""
    kept: list[Mark] = []
    for mark in last:
        kind, start, end = mark
        if (end if kind == _KEEP else start + 1) <= stop:
            kept.append(mark)
        else:
            return (*kept, (_KEEP, start, stop)) if kind == _KEEP and start < stop else tuple(kept)
    return tuple(kept)


def compare(last: Sequence[Mark], now: Sequence[Part], tokens: TokensOf, *, total: int, fixed: int) -> PrefixReport:
    """Return how a plan compares with the one last sent; O(parts), however long the conversation.

    *tokens* counts the conversation's messages [start, stop), *total* the whole prompt, *fixed* what stands before the
    conversation (system prompt, tools) and is the same each time. Without a last plan nothing is stable.
    """
    if not last:
        return PrefixReport(stable_tokens=0, total_tokens=total)
    stable = fixed
    for at, part in enumerate(now):
        if at == len(last):
            break
        sent, mark = last[at], _mark(part)
        if sent == mark:
            stable += _tokens(part, tokens)
            continue
        if sent[0] == _KEEP == mark[0] and sent[1] == mark[1]:  # one of them goes on longer
            stable += tokens(mark[1], min(sent[2], mark[2]))
            if sent[2] < mark[2] and at == len(last) - 1:
                return PrefixReport(stable_tokens=stable, total_tokens=total)
            if mark[2] < sent[2] and at == len(now) - 1:  # cut at its end
                return PrefixReport(stable_tokens=stable, total_tokens=total)
            if mark[2] < sent[2]:
                broken = _component(now, at + 1)
                return PrefixReport(stable_tokens=stable, total_tokens=total, broken_by=broken, broken_at=at + 1)
        return PrefixReport(stable_tokens=stable, total_tokens=total, broken_by=_component(now, at), broken_at=at)
    return PrefixReport(stable_tokens=stable, total_tokens=total)


def _mark(part: Part) -> Mark:
    if isinstance(part, Keep):
        return _KEEP, part.start, part.stop
    digest = blake2b(part.text.encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()
    return digest, -1 if isinstance(part, Put) else part.position, part.tokens


def _tokens(part: Part, tokens: TokensOf) -> int:
    return tokens(part.start, part.stop) if isinstance(part, Keep) else part.tokens


def _component(parts: Sequence[Part], at: int) -> str:
    part = parts[at] if at < len(parts) else None
    return str(part.component if isinstance(part, Put) else Component.HISTORY)
