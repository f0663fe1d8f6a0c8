"""What the bundled workload is made of: documents, conversations, turns, and the evidence that an answer needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from tokenwise_core.messages import ToolDefinition

EvidenceKind = Literal["document", "turn", "tool"]
Style = Literal["agent", "rag", "mixed", "faq"]
LONGEST_TALK = 40
"""Turns of a conversation that is held at one go."""
TurnKind = Literal["document", "tool", "recall", "correction", "statement", "small_talk", "unanswerable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One page of the handbook."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Something that must stand in the prompt, outside the asking turn, before the right answer can be given.

    *id* is a handbook id, the id of an earlier turn, or a tool's name. Any one of *wordings* is enough, so a
    summary that says it in other words counts.
    """

    kind: EvidenceKind
    id: str
    wordings: tuple[str, ...]

    def stands_in(self, text: str) -> bool:
        """Tell whether any wording stands in *text*, which must be `normalised` already."""
        return any(says(text, wording) for wording in self.wordings)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A tool call that the recorded model makes."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One question and its recorded answers.

    *steps* are rounds of tool calls, each a set of parallel calls. *documents* are the gold handbook ids. All of
    *evidence* must be satisfied for *right*. *facts* are what a right answer says, each in any of its wordings.
    *cheap* is the cheap model's own wording where it is right but words it differently.

    *same_as* names a turn of the workload with the same right answer (its paraphrase or exact repeat);
    *unlike* names a turn whose question looks alike and whose answer differs. *corrects* names the earlier turn
    whose telling no longer holds from here on. *at_once* is how many people ask it at the same moment.
    """

    id: str
    user: str
    kind: TurnKind
    right: str
    wrong: str
    dont_know: str
    steps: tuple[tuple[RecordedCall, ...], ...] = ()
    documents: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    facts: tuple[tuple[str, ...], ...] = ()
    answerable: bool = True
    cheap_is_right: bool = True
    cheap: str | None = None
    strong_is_right: bool = True
    same_as: str | None = None
    unlike: str | None = None
    corrects: str | None = None
    at_once: int = 1

    def is_said_by(self, answer: str) -> bool:
        """Tell whether *answer* says every expected fact."""
        text = normalised(answer)
        return all(any(says(text, wording) for wording in fact) for fact in self.facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One user's session with the desk; in the style "faq", a day of the help box, where each question stands alone."""

    id: str
    user: str
    title: str
    agent: str
    task: str
    style: Style
    turns: tuple[Turn, ...]

    @property
    def is_long(self) -> bool:
        """Whether it goes over many days."""
        return len(self.turns) > LONGEST_TALK


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The whole of it; *fingerprint* is the sha256 of its canonical JSON.

    *long* are conversations of many days, which are not among *conversations*: the demo plays them without and with
    memory.
    """

    documents: tuple[Document, ...]
    tools: tuple[ToolDefinition, ...]
    conversations: tuple[Conversation, ...]
    system_prompt: str
    few_shot: tuple[tuple[str, str], ...]
    fingerprint: str
    long: tuple[Conversation, ...] = ()

    def styled(self, *styles: Style) -> list[Conversation]:
        """Return the conversations in any of *styles*."""
        return [conversation for conversation in self.conversations if conversation.style in styles]


def normalised(text: str) -> str:
    """Return *text* casefolded with every run of white space as one blank: what wordings are looked up in."""
    return " ".join(text.casefold().split())


def says(text: str, wording: str) -> bool:
    """Tell whether *wording* stands in the normalised *text* as whole tokens: "30" is not in "130" nor in "08:30"."""
    return _pattern(wording).search(text) is not None


@lru_cache(maxsize=8192)
def _pattern(wording: str) -> re.Pattern[str]:
    needle = re.escape(normalised(wording))
    return re.compile(rf"(?<!\w)(?<!\d[.,:]){needle}(?!\w)(?![.,:]\d)")
