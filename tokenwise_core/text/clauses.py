"""Stretches of English text that bind (decisions, constraints, errors), and what is quoted or code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_QUOTE = re.compile(r"\"[^\"\n]{2,300}\"|\u201c[^\u201d\n]{2,300}\u201d|«[^»\n]{2,300}»|(?<!\w)'[^'\n]{8,300}'(?!\w)")
_FENCE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[ \t]*$|\Z)|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_OPENING = re.compile(r"(?m)^[ \t]*(?=[{\[])|(?<=[\s:(])(?=\{\")")
_BORDER = re.compile(r"[.!?;\u2026]+(?=\s|$)|\n|[\u3002\uff01\uff1f]")
_ACTS = (
    "use|call|send|share|delete|remove|change|touch|push|commit|deploy|run|write|edit|contact|book|charge|eat|ask|store"
    "|log|email|mention"
)
_DECIDED = (
    r"decided|agreed (?:to|on|that)|we(?:'ll| will) (?:use|go with|take|not)|going (?:to go )?with"
    r"|let's (?:go with|use)|chose|settled on|from now on|(?:i'd|i would) (?:like to|rather)|confirmed|approved"
    r"|rejected|instead of|has been \w+ed|cancell?ed"
)
_BOUND = (
    rf"must(?:n't)?(?! (?:have|be|feel)\b|'ve)|never (?:ever )?(?:{_ACTS})|do(?:n't| not) (?:ever )?(?:{_ACTS}|want)"
    r"|should(?:n't| not)|at (?:most|least)|no more than|required?s?|prefers?|preferred|allergic|deadline"
    r"|due (?:by|on)|budget|(?:not|only|cannot be) (?:allowed|permitted|modified|changed|available)|forbidden"
)
_FAILED = (
    r"\w*error|\w*exception|traceback|fail(?:ed|s|ure|ing)?|crash(?:ed|es)|denied|time(?:d )?out|not found"
    r"|(?:doesn't|didn't|does not|did not) work|broken|bug|fix(?:ed|es)?|solved|resolved|workaround"
    r"|the (?:cause|problem) (?:is|was)|not enough|unable to"
)
_Search = tuple[re.Pattern[str], tuple[str, ...]]


def _search(words: str, *stems: str) -> _Search:
    """Return a pattern of whole words, and the letters one of which a text must hold: looking for those is cheap."""
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE), stems


_DECISIONS = _search(
    _DECIDED, "decid", "agree", "we'll", "we will", "going", "let's", "chose", "settled", "from now", "i'd", "i would",
    "confirm", "approv", "reject", "instead", "has been", "cancel",
)  # fmt: skip
_CONSTRAINTS = _search(
    _BOUND, "must", "never", "don't", "do not", "should", "at most", "at least", "no more", "requir", "prefer",
    "allerg", "deadline", "due ", "budget", "allowed", "permitted", "modified", "changed", "available", "forbidden",
)  # fmt: skip
_ERRORS = _search(
    _FAILED, "error", "exception", "traceback", "fail", "crash", "denied", "timeout", "timed out", "not found", "work",
    "broken", "bug", "fix", "solved", "the cause", "the problem", "not enough", "unable",
)  # fmt: skip
_JSON = json.JSONDecoder()


def decisions(text: str) -> Iterator[tuple[int, int]]:
    """Yield clauses that settle something."""
    return _clauses(text, *_DECISIONS)


def constraints(text: str) -> Iterator[tuple[int, int]]:
    """Yield clauses that forbid, demand, limit or prefer."""
    return _clauses(text, *_CONSTRAINTS)


def errors(text: str) -> Iterator[tuple[int, int]]:
    """Yield clauses that tell of a failure, its cause or its fix."""
    return _clauses(text, *_ERRORS)


def quotations(text: str) -> Iterator[tuple[int, int]]:
    """Yield what stands in quotation marks, with the marks."""
    return (match.span() for match in _QUOTE.finditer(text))


def code(text: str) -> Iterator[tuple[int, int]]:
    """Yield fenced blocks, code in a line, and JSON objects and arrays that begin a line or follow a colon."""
    last = 0
    for fence in _FENCE.finditer(text) if "`" in text or "~~~" in text else ():
        yield from _json(text, last, fence.start())
        yield fence.span()
        last = fence.end()
    yield from _json(text, last, len(text))


def _json(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    if text.find("{", start, stop) < 0 and text.find("[", start, stop) < 0:
        return
    at = _OPENING.search(text, start, stop)
    while at:
        end = _end_of_json(text, at.end())
        if at.end() < end <= stop:
            yield at.end(), end
        at = _OPENING.search(text, max(end, at.end() + 1), stop)


def _end_of_json(text: str, start: int) -> int:
    """Return where the JSON value at *start* ends; *start* where there is none."""
    try:
        value, end = _JSON.raw_decode(text, start)
    except (ValueError, RecursionError):
        return start
    return end if value else start


def _clauses(text: str, pattern: re.Pattern[str], stems: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    lowered = text.lower()
    if not any(stem in lowered for stem in stems):
        return
    text = text.replace("\u2019", "'")
    last = 0
    for hit in pattern.finditer(text):
        if hit.start() < last:
            continue
        start = max((end.end() for end in _BORDER.finditer(text, last, hit.start())), default=last)
        border = _BORDER.search(text, hit.end())
        last = border.end() if border else len(text)
        while text[start].isspace():
            start += 1
        yield start, start + len(text[start:last].rstrip())
