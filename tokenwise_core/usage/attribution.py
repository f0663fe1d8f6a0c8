"""Which component each piece of a prompt belongs to.

In this order: tags (our own levers and the frameworks' marks), template variables, retrieved texts found in the
prompt, structure (roles, position, markers that memories write). Pure: texts and positions in, spans out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tokenwise_core.messages import Message, Prompt
from tokenwise_core.usage.call import Known
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.containment import Finder
from tokenwise_core.usage.markers import (
    context_before_question,
    is_instruction,
    marked,
    question_after_cue,
    transcript,
    whole_marker,
    worked_examples,
)

BRIDGE = 160  # characters between two retrieved texts that still belong to the list they stand in


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
    finder = Finder(retrieved)
    spans, whole = [], []
    for number, message in enumerate(prompt.messages):
        base = Component.FEW_SHOT if number in examples else _structure(prompt.messages, number, last_user)
        painted = _Paint(message.text)
        _paint_tags(painted, message)
        asks = number == last_user
        if message.role != "tool":
            _paint_known(painted, message, known, base, asks=asks)
        _paint_retrieved(painted, message.text, finder)
        if asks:
            _paint_question(painted, message.text, known)
        if message.role in ("system", "developer", "user"):
            _paint_marked(painted, message.text, asks=asks, templated=templated)
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

    def covered(self, start: int, end: int, component: Component) -> int:
        """Return how many characters of [start, end) are painted with *component*."""
        return sum(
            max(0, min(end, done_end) - max(start, done_start))
            for done_start, done_end, done in self.done
            if done is component
        )

    def spans(self, message: int, rest: Sequence[tuple[int, int, Component]]) -> Iterator[Span]:
        for start, end, component in rest:
            self.fill(start, end, component)
        for start, end, component in self.done:
            yield Span(message=message, start=start, end=end, component=component)


def _last_user(messages: Sequence[Message]) -> int | None:
    """Return the number of the message that asks: the last user message that is not a summary or an observation."""
    for number in range(len(messages) - 1, -1, -1):
        message = messages[number]
        if message.role == "user" and not whole_marker(message.text) and not _tagged_whole(message):
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
    marker = whole_marker(message.text)
    if marker and not (message.role in ("system", "developer") and number == 0):
        return marker
    if message.name in ("example_user", "example_assistant"):  # OpenAI's names, also on system messages
        return Component.FEW_SHOT
    if message.role in ("system", "developer"):
        return Component.SYSTEM_PROMPT
    if message.role == "tool":
        return Component.TOOL_RESULTS
    if number == last_user:
        return Component.USER_INPUT
    if last_user is not None and number > last_user:
        return Component.AGENT_MESSAGES
    return Component.HISTORY


def _examples(messages: Sequence[Message], known: Sequence[Known], last_user: int | None) -> frozenset[int]:
    """Return the messages of a template that are neither variables nor system prompt: its worked examples."""
    texts = [k.text.strip() for k in known if k.text.strip() and k.component is not Component.FEW_SHOT]
    return frozenset(
        number
        for number, message in enumerate(messages)
        if message.role in ("user", "assistant")
        and number != last_user
        and (last_user is None or number < last_user)
        and not message.tool_calls
        and not any(text == message.text.strip() or (len(text) > 3 and text in message.text) for text in texts)
    )


def _paint_tags(painted: _Paint, message: Message) -> None:
    for tag in message.tags:
        end = len(message.text) if tag.end is None else min(tag.end, len(message.text))
        painted.fill(tag.start, end, Component(tag.component))


def _paint_known(painted: _Paint, message: Message, known: Sequence[Known], base: Component, *, asks: bool) -> None:
    """Paint template variables other than the question, longest first."""
    for entry in sorted(known, key=lambda k: -len(k.text)):
        if entry.component is Component.USER_INPUT:
            continue
        if entry.component is Component.HISTORY and base is not Component.SYSTEM_PROMPT and not asks:
            continue  # a message of its own: structure says so already
        start = message.text.find(entry.text)
        if start >= 0:
            painted.fill(start, start + len(entry.text), entry.component)


def _paint_retrieved(painted: _Paint, text: str, finder: Finder) -> None:
    """Paint retrieved texts, and between two of them the titles and lines that a formatter puts there."""
    for start, end in finder.spans(text):
        painted.fill(start, end, Component.RETRIEVED_CONTEXT)
    spans = painted.done
    for (_, end, left), (start, _, right) in list(pairwise(spans)):
        if left is right is Component.RETRIEVED_CONTEXT and 0 < start - end <= BRIDGE:
            painted.fill(end, start, Component.RETRIEVED_CONTEXT)


def _paint_question(painted: _Paint, text: str, known: Sequence[Known]) -> None:
    """Paint the question where it stands last, outside a context that quotes it.

    A variable of a name that says nothing counts as input, unless most of it was retrieved.
    """
    questions = (entry.text for entry in known if entry.component is Component.USER_INPUT)
    for question in sorted(questions, key=len, reverse=True):
        start = text.rfind(question)
        while start >= 0:
            end = start + len(question)
            retrieved = painted.covered(start, end, Component.RETRIEVED_CONTEXT)
            if retrieved < end - start:
                mostly = 2 * retrieved > end - start
                painted.fill(start, end, Component.RETRIEVED_CONTEXT if mostly else Component.USER_INPUT)
                break
            start = text.rfind(question, 0, end - 1)


def _paint_marked(painted: _Paint, text: str, *, asks: bool, templated: bool) -> None:
    """Paint what stands between telling tags and, where no template's variables are known, under telling headings."""
    for start, end, component in marked(text):
        painted.fill(start, end, component)
    if templated:
        return
    conversation = transcript(text, asks=asks)
    if conversation:
        painted.fill(*conversation, Component.HISTORY)
        if asks and text[conversation[1] :].strip():
            painted.fill(conversation[1], len(text), Component.USER_INPUT)
    context = context_before_question(text) if asks else None
    if context:
        painted.fill(*context, Component.RETRIEVED_CONTEXT)


def _rest(painted: _Paint, message: Message, base: Component, *, templated: bool) -> list[tuple[int, int, Component]]:
    """Return what the unpainted text is: the base, or for a filled-in template its fixed wording and the question."""
    text, length = message.text, len(message.text)
    if base is not Component.USER_INPUT or not painted.done:
        return [(0, length, base)]
    components = {component for _, _, component in painted.done}
    fixed = (0, length, Component.SYSTEM_PROMPT)
    if Component.USER_INPUT in components and templated:
        asked = max(start for start, _, component in painted.done if component is Component.USER_INPUT)
        worked = worked_examples(text, asked)
        return [(*worked, Component.FEW_SHOT), fixed] if worked else [fixed]
    if Component.RETRIEVED_CONTEXT in components and Component.USER_INPUT not in components:
        question = question_after_cue(text)
        return [(*question, Component.USER_INPUT), fixed] if question else [(0, length, base)]
    if Component.HISTORY in components and (Component.USER_INPUT in components or is_instruction(text)):
        return [fixed]
    return [(0, length, base)]
