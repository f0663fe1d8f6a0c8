"""Which component each piece of a prompt belongs to.

In this order: tags (our own levers and the frameworks' marks), template variables, retrieved texts found in the
prompt, structure (roles, position, markers that memories write). Pure: texts and positions in, spans out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tokenwise_core.messages import Message, Prompt
from tokenwise_core.usage.call import Known
from tokenwise_core.usage.components import Component

SHINGLE = 64  # characters that must agree before a text counts as found (observability.md §9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Characters [start, end) of message number *message* belong to *component*."""

    message: int
    start: int
    end: int
    component: Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """The spans of every message in order, without gaps, and the component of each message as a whole.

    *whole* is what a message's tool calls, name and replayed reasoning are booked under.
    """

    spans: tuple[tuple[Span, ...], ...]
    whole: tuple[Component, ...]


def attribute(
    prompt: Prompt, *, known: Sequence[Known] = (), retrieved: Sequence[str] = (), templated: bool = False
) -> Attribution:
    """Assign every character of every message of *prompt*."""
    last_user = _last_user(prompt.messages)
    examples = _examples(prompt.messages, known, last_user) if templated else frozenset()
    spans, whole = [], []
    for number, message in enumerate(prompt.messages):
        base = Component.FEW_SHOT if number in examples else _structure(prompt.messages, number, last_user)
        painted = _Paint(message.text)
        _paint_tags(painted, message)
        _paint_known(painted, message, known, base, asks=number == last_user)
        for text in sorted(retrieved, key=len, reverse=True):
            for start, end in _found(text, message.text):
                painted.fill(start, end, Component.RETRIEVED_CONTEXT)
        for start, end, component in _marked(message.text):
            painted.fill(start, end, component)
        rest = _rest(painted, message, base, templated=templated)
        spans.append(tuple(painted.spans(number, rest)))
        whole.append(base)
    return Attribution(spans=tuple(spans), whole=tuple(whole))


class _Paint:
    """Non-overlapping spans over one text; what was painted first stays."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self.done: list[tuple[int, int, Component]] = []

    def fill(self, start: int, end: int, component: Component) -> None:
        """Paint what is still bare of [start, end)."""
        for free_start, free_end in self._bare(start, end):
            self.done.append((free_start, free_end, component))
        self.done.sort(key=lambda span: span[0])

    def _bare(self, start: int, end: int) -> list[tuple[int, int]]:
        bare, at = [], start
        for done_start, done_end, _ in self.done:
            if done_end <= at:
                continue
            if done_start >= end:
                break
            if done_start > at:
                bare.append((at, done_start))
            at = max(at, done_end)
        if at < end:
            bare.append((at, end))
        return bare

    def spans(self, message: int, rest: Sequence[tuple[int, int, Component]]) -> Iterator[Span]:
        for start, end, component in rest:
            self.fill(start, end, component)
        for start, end, component in self.done:
            yield Span(message=message, start=start, end=end, component=component)


def _last_user(messages: Sequence[Message]) -> int | None:
    """Return the number of the message that asks: the last user message that is not a summary or an observation."""
    for number in range(len(messages) - 1, -1, -1):
        message = messages[number]
        if message.role == "user" and not _whole_marker(message.text) and not _tagged_whole(message):
            return number
    return None


def _tagged_whole(message: Message) -> Component | None:
    for tag in message.tags:
        if tag.start == 0 and tag.end is None:
            return Component(tag.component)
    return None


def _structure(messages: Sequence[Message], number: int, last_user: int | None) -> Component:
    """Return what a message is by its role and place."""
    message = messages[number]
    tagged = _tagged_whole(message)
    if tagged:
        return tagged
    marker = _whole_marker(message.text)
    if marker and not (message.role in ("system", "developer") and number == 0):
        return marker
    if message.role in ("system", "developer"):
        return Component.SYSTEM_PROMPT
    if message.role == "tool":
        return Component.TOOL_RESULTS
    if message.name in ("example_user", "example_assistant"):
        return Component.FEW_SHOT
    if number == last_user:
        return Component.USER_INPUT
    if last_user is not None and number > last_user:
        return Component.AGENT_MESSAGES
    return Component.HISTORY


def _examples(messages: Sequence[Message], known: Sequence[Known], last_user: int | None) -> frozenset[int]:
    """Return the messages of a template that are neither variables nor system prompt: its worked examples."""
    texts = [k.text.strip() for k in known if k.text.strip()]
    return frozenset(
        number
        for number, message in enumerate(messages)
        if message.role in ("user", "assistant")
        and number != last_user
        and (last_user is None or number < last_user)
        and not message.tool_calls
        and not any(text in message.text or message.text.strip() == text for text in texts)
    )


_SUMMARY = re.compile(
    r"\s*(?:\[?(?:previous|prior|earlier) conversation summary|here is a summary of the conversation"
    r"|(?:this is )?a?\s*summary of (?:the |our )?(?:previous |earlier |prior )?(?:conversation|messages|chat)"
    r"|summary of \d+ (?:earlier )?messages|extractive summary|the following is a summary"
    r"|current summary of|conversation summary)",
    re.IGNORECASE,
)
_OBSERVATION = re.compile(r"\s*Observation: ")
_MEMORY = re.compile(r"<(memory|memories|facts|user_profile)\b[^>]*>.*?</\1>", re.DOTALL)
_FORMAT = re.compile(  # what the pydantic output parsers of LlamaIndex and LangChain write into a prompt
    r"Here's a JSON schema to follow:\n.*?Output a valid JSON object but do not repeat the schema\."
    r"|The output should be formatted as a JSON instance that conforms to the JSON schema below\..*?```\n.*?\n```",
    re.DOTALL,
)
_ASKED = re.compile(r"(?:^|\n)\s*(?:question|query|user question|user query|input)\s*:\s*", re.IGNORECASE)
_ANSWER_CUE = re.compile(r"\s*(?:\n\s*)?(?:helpful )?answer\s*:\s*$", re.IGNORECASE)


def _whole_marker(text: str) -> Component | None:
    if _SUMMARY.match(text):
        return Component.SUMMARY
    if _OBSERVATION.match(text):
        return Component.TOOL_RESULTS
    return None


def _marked(text: str) -> Iterator[tuple[int, int, Component]]:
    """Yield what stands in a wording of the frameworks' own: memories in tags, instructions on the answer's format."""
    if "<" in text:
        for match in _MEMORY.finditer(text):
            yield match.start(), match.end(), Component.MEMORY
    if "JSON schema" in text:
        for match in _FORMAT.finditer(text):
            yield match.start(), match.end(), Component.OUTPUT_SCHEMA


def _paint_tags(painted: _Paint, message: Message) -> None:
    for tag in message.tags:
        end = len(message.text) if tag.end is None else min(tag.end, len(message.text))
        painted.fill(tag.start, end, Component(tag.component))


def _paint_known(painted: _Paint, message: Message, known: Sequence[Known], base: Component, *, asks: bool) -> None:
    """Paint template variables, longest first; the question last, so that a context that quotes it keeps its own."""
    if message.role == "tool":
        return
    for entry in sorted(known, key=lambda k: (k.component is Component.USER_INPUT, -len(k.text))):
        if entry.component is Component.USER_INPUT and not asks:
            continue
        if entry.component is Component.HISTORY and base is not Component.SYSTEM_PROMPT and not asks:
            continue  # a message of its own: structure says so already
        find = message.text.rfind if entry.component is Component.USER_INPUT else message.text.find
        start = find(entry.text)
        if start >= 0:
            painted.fill(start, start + len(entry.text), entry.component)


def _found(text: str, within: str) -> Iterator[tuple[int, int]]:
    """Yield where *text* stands in *within*: whole, or the run of its pieces of 64 characters (cut or re-wrapped)."""
    text = text.strip()
    if not text or len(within) < min(len(text), SHINGLE):
        return
    at = within.find(text)
    if at >= 0:
        while at >= 0:
            yield at, at + len(text)
            at = within.find(text, at + len(text))
        return
    if len(text) < SHINGLE:
        return
    hits = [
        (at, at + SHINGLE)
        for offset in range(0, len(text) - SHINGLE + 1, SHINGLE // 2)
        if (at := within.find(text[offset : offset + SHINGLE])) >= 0
    ]
    yield from _joined(sorted(set(hits)))


def _joined(hits: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join hits that lie within one shingle of each other."""
    start = end = -1
    for hit_start, hit_end in hits:
        if start >= 0 and hit_start <= end + SHINGLE:
            end = max(end, hit_end)
            continue
        if start >= 0:
            yield start, end
        start, end = hit_start, hit_end
    if start >= 0:
        yield start, end


def _rest(painted: _Paint, message: Message, base: Component, *, templated: bool) -> list[tuple[int, int, Component]]:
    """Return what the unpainted text is: the base, or for a filled-in template its fixed wording and the question."""
    length = len(message.text)
    if base is not Component.USER_INPUT or not painted.done:
        return [(0, length, base)]
    components = {component for _, _, component in painted.done}
    if Component.USER_INPUT in components and templated:
        return [(0, length, Component.SYSTEM_PROMPT)]
    asked = None
    for match in _ASKED.finditer(message.text):
        asked = match
    if Component.RETRIEVED_CONTEXT in components and asked is not None and Component.USER_INPUT not in components:
        cue = _ANSWER_CUE.search(message.text, asked.end())
        end = cue.start() if cue else length
        return [(asked.end(), end, Component.USER_INPUT), (0, length, Component.SYSTEM_PROMPT)]
    return [(0, length, base)]
