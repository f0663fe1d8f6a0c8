"""What a prompt asks for: an answer, a summary, or a question rewritten to stand alone."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Literal

from tokenwise_core.messages import Message, Prompt

_HEAD, _TAIL = 500, 300
_SUMMARISE = re.compile(
    r"(?:^|[.:!?>\"\n]\s*|\b(?:please|to|and|then|progressively|briefly|you|is to)\s+)(?:summari[sz]e|condense|recap)\b"
    r"|\b(?:write|create|produce|give|generate|provide|update|extend)\b[^.\n]{0,60}\bsummary\b"
    r"|\bextract\b[^.\n]{0,60}\bcontext\b"
    r"|\blist the facts of\b|\bmerge these lists of facts\b"  # our own memory's wording (memory/prompts.py)
    r"|\bsummari[sz]ing\b[^.\n]{0,60}\b(?:conversation|chat|text|messages)\b",
    re.IGNORECASE,
)
_REWRITE = re.compile(r"\bstand-?\s?alone (?:question|query|message)\b", re.IGNORECASE)
_FOLLOW_UP = re.compile(
    r"follow[- ]?up (?:input|message|question)\s*[>:]\s*(?P<question>.+?)\s*(?:<?\s*stand-?\s?alone\b.*)?\Z",
    re.IGNORECASE | re.DOTALL,
)
_TRANSCRIPT = re.compile(
    r"^\W*(?:<message\b|(?:human|user|ai|assistant|tool|system)\s*:|(?:(?:current|existing|previous|prior) summary)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_END_OF_EXAMPLE = re.compile(r"\bEND OF EXAMPLE\b", re.IGNORECASE)
_MARKUP = re.compile(r"</?[a-zA-Z_]+(?:\s[^<>]*)?>")
_LIMIT = re.compile(r"\b(\d{2,5})\s+(words|tokens)\b", re.IGNORECASE)
_SPEAKERS = 2  # lines that name a speaker make a transcript; a single one may be prose
_WORDS_TO_TOKENS = 4 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked, and the text that it is asked about (what to summarise, the question to rewrite).

    *max_tokens* is the length that a summary's instruction names, if it names one.
    """

    kind: Literal["answer", "summary", "rewrite"]
    text: str = ""
    max_tokens: int | None = None


def last_user(prompt: Prompt) -> int | None:
    """Return the position of the last user message."""
    return next((i for i in reversed(range(len(prompt.messages))) if prompt.messages[i].role == "user"), None)


def read_request(prompt: Prompt) -> Request:
    """Tell what *prompt* asks for, by its last user message and the head of its system messages."""
    at = last_user(prompt)
    asking = prompt.messages[at].text if at is not None else ""
    told = [m for m in prompt.messages if m.role in {"system", "developer"}]
    if any(_REWRITE.search(text) for text in (asking, *(m.text[:_HEAD] for m in told))):
        return Request(kind="rewrite", text=_follow_up(asking))
    if _instructs(asking):
        instruction, rest = asking, [m for m in prompt.messages[:at] if m.role not in {"system", "developer"}]
    elif instruction := next((m.text for m in told if _instructs(m.text[:_HEAD])), ""):
        rest = [m for m in prompt.messages if m.role not in {"system", "developer"}]
    else:
        return Request(kind="answer", text=asking)
    limit = _LIMIT.search(instruction[:_HEAD]) or _LIMIT.search(instruction[-_TAIL:])
    return Request(kind="summary", text=_material(instruction, rest), max_tokens=_tokens(limit))


def _instructs(text: str) -> bool:
    """Tell whether an instruction to summarise opens or closes *text*; in the middle it would be somebody's prose."""
    return bool(_SUMMARISE.search(text[:_HEAD]) or _SUMMARISE.search(text[-_TAIL:]))


def _follow_up(text: str) -> str:
    found = _FOLLOW_UP.search(text)
    return found["question"].strip() if found else text.strip()


def _tokens(limit: re.Match[str] | None) -> int | None:
    if limit is None:
        return None
    return int(int(limit[1]) * (_WORDS_TO_TOKENS if limit[2].casefold() == "words" else 1))


def _material(instruction: str, rest: list[Message]) -> str:
    """Return what is to be summarised: what the instruction's own message carries, else the messages beside it."""
    example = _END_OF_EXAMPLE.search(instruction)
    carried = instruction[example.end() :] if example else instruction
    speakers = list(_TRANSCRIPT.finditer(carried))
    if len(speakers) >= _SPEAKERS:
        return _plain(carried[speakers[0].start() :])
    if rest:
        return _plain("\n".join(f"{m.role}: {m.text}" for m in rest if m.text))
    paragraphs = "\n\n".join(part for part in re.split(r"\n\s*\n", carried) if not _SUMMARISE.search(part))
    return _plain(paragraphs) or _plain(_after_instruction(carried))


def _after_instruction(text: str) -> str:
    """Return what follows the instruction in its own paragraph: after its colon, or else its sentence."""
    found = _SUMMARISE.search(text)
    rest = text[found.end() :] if found else text
    end = re.search(r":\s|[.!?]\s|\n", rest)
    return rest[end.end() :] if end else ""


def _plain(text: str) -> str:
    """Return *text* without markup, and without labels that introduce nothing ("New summary:")."""
    lines = html.unescape(_MARKUP.sub("\n", text)).splitlines()
    return "\n".join(line for line in lines if not re.fullmatch(r"\W*[\w ]{0,30}\b(?i:summary)\b\W*", line)).strip()
