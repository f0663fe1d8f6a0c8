"""A provider's prompt cache, simulated: what share of a prompt's head was seen within the last five minutes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from threading import Lock
from typing import Any

from tokenwise_core.messages import Message, Prompt
from tokenwise_core.protocols import Clock

MINIMUM_TOKENS = 1024
"""Shorter prefixes are never cached (OpenAI's prompt-caching guide; Anthropic's minimum for most models)."""
STEP_TOKENS = 128
"""Hits come in steps of this size beyond the minimum (OpenAI's prompt-caching guide)."""
LIFE_SECONDS = 300.0
"""How long a prefix lives after its last use (Anthropic's default; the lower bound of OpenAI's 5 to 10 minutes)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrefix:
    """What a prompt has in common with an earlier one: whole leading parts, then a share (0 to 1) of the next one."""

    parts: int = 0
    share_of_next: float = 0.0


@dataclass(slots=True)
class _Node:
    """A part that was seen after the parts above it; *text* is kept to find where a differing part departs."""

    text: str
    seen_at: float
    after: dict[bytes, _Node] = field(default_factory=dict)


class PromptCache:
    """Prefixes of the prompts seen, by model, as a tree of parts; forgotten when their life is over.

    Thread-safe. Share one between replays to let them warm each other's cache, as one account's calls do; a copy
    starts cold.
    """

    def __init__(self, *, clock: Clock = time.time) -> None:
        self._clock = clock
        self._roots: dict[str, _Node] = {}
        self._swept_at = clock()
        self._lock = Lock()

    def see(self, model: str, prompt: Prompt) -> SharedPrefix:
        """Return what *prompt* shares with the live prompts of *model*, and remember it."""
        parts = [_wire_text(part) for part in wire_parts(prompt)]
        now = self._clock()
        with self._lock:
            self._sweep(now)
            return _walk(self._roots.setdefault(model, _Node("", now)), parts, now)

    def _sweep(self, now: float) -> None:
        """Drop what has died, once a life: the tree then holds at most two lives of traffic."""
        if now - self._swept_at >= LIFE_SECONDS:
            for root in self._roots.values():
                _prune(root, now)
            self._swept_at = now

    def __getstate__(self) -> dict[str, Any]:
        return {"clock": self._clock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a fresh tree and lock, as on construction


def cacheable(tokens: int) -> int:
    """Return how many of a prefix's *tokens* a provider would serve from its cache."""
    return tokens - tokens % STEP_TOKENS if tokens >= MINIMUM_TOKENS else 0


def wire_parts(prompt: Prompt) -> Iterator[Message | Prompt]:
    """Yield the prompt's parts as providers lay them out: leading system messages, tools and schema, the rest.

    Tools and schema come as one part, a `Prompt` without messages.
    """
    messages = list(prompt.messages)
    while messages and messages[0].role in {"system", "developer"}:
        yield messages.pop(0)
    if prompt.tools or prompt.output_schema:
        yield Prompt(tools=prompt.tools, output_schema=prompt.output_schema, api=prompt.api)
    yield from messages


def _wire_text(part: Message | Prompt) -> str:
    """Write a part down so that equal parts, and only those, are equal; its text comes last, open-ended."""
    if isinstance(part, Message):
        head = [part.role, part.name, part.tool_call_id, [[c.id, c.name, c.arguments] for c in part.tool_calls]]
        media = [[m.kind, m.detail, m.width, m.height, m.size_bytes] for m in part.media]
        return json.dumps([*head, media, part.reasoning], default=str) + part.text
    tools = [[t.kind, t.name, t.description, t.parameters, t.strict] for t in part.tools]
    schema = part.output_schema
    return json.dumps([tools, schema and [schema.name, schema.description, schema.schema]], default=str)


def _walk(node: _Node, parts: list[str], now: float) -> SharedPrefix:
    shared, share, following = 0, 0.0, True
    for part in parts:
        key = blake2b(part.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        known = node.after.get(key)
        if following and known is not None and _lives(known, now):
            shared += 1
        elif following:
            following, share = False, _longest_common(part, node, now) / len(part)
        node = known or node.after.setdefault(key, _Node(part, now))
        node.seen_at = now
    return SharedPrefix(parts=shared, share_of_next=share)


def _longest_common(part: str, node: _Node, now: float) -> int:
    """Return how many leading characters *part* shares with a live part seen at the same place."""
    live = (other.text for other in node.after.values() if _lives(other, now))
    return max((_common_length(part, text) for text in live), default=0)


def _common_length(one: str, other: str) -> int:
    """Return the length of the common head, by bisection: slices compare at memory speed."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle - 1)
    return low


def _lives(node: _Node, now: float) -> bool:
    return now - node.seen_at < LIFE_SECONDS


def _prune(root: _Node, now: float) -> None:
    """Forget the dead; a part dies no earlier than what follows it, since both were seen together."""
    stack = [root]
    while stack:
        node = stack.pop()
        node.after = {key: child for key, child in node.after.items() if _lives(child, now)}
        stack.extend(node.after.values())
