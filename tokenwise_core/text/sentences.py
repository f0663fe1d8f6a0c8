"""Split text into sentences without a model: abbreviations, numbers, lists, URLs and code fences stay whole."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^\s*(?:```|~~~)")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•+]|\d{1,3}[.)]|[a-zA-Z][.)])\s+")
_STRUCTURED = re.compile(r"^\s*(?:#{1,6}\s|\||>|[{}\[\]]|\"[^\"]*\":)")
_SPEAKER = re.compile(r"^\s*[A-Za-z][\w ]{0,24}:\s")
_CLOSING = "\"'\u2018\u2019\u201c\u201d)\\]"  # quotes and brackets that may follow the mark
_END = re.compile(rf"(?<=[.!?\u2026])[{_CLOSING}]*\s+|(?<=[\u3002\uff01\uff1f])")
_FULL_STOP = re.compile(rf"\.[{_CLOSING}]*\Z")
_LAST_WORD = re.compile(rf"([^\W\d_][\w.]*)\.[{_CLOSING}]*\Z")
_NUMBERING = re.compile(r"^\s*\d{1,3}\.\Z")
_INITIAL = re.compile(r"[A-HJ-Z]")
# Written with a full stop and followed by more of the same sentence, whatever the next word's case.
_NEVER_FINAL_WORDS = (
    "mr mrs ms dr prof rev hon st sr gen col capt lt sgt vs e.g i.e eg ie cf fig figs eq sec ch vol approx ca nos "
    "resp viz"
)
_NEVER_FINAL = frozenset(_NEVER_FINAL_WORDS.split())
# These end a sentence only where a capital follows.
_SOMETIMES_FINAL_WORDS = (
    "etc inc ltd co corp no dept est min max avg jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri "
    "sat sun a.m p.m am pm u.s u.k u.n jr al"
)
_SOMETIMES_FINAL = frozenset(_SOMETIMES_FINAL_WORDS.split())


def sentences(text: str) -> list[str]:
    """Return the sentences of *text* in order, stripped, none empty.

    A line break ends a sentence only before a list item, a heading, a table row, a speaker ("User: ") or an empty
    line; a fenced block of code is one sentence.
    """
    return [part for block in _blocks(text) for part in _split(block)]


def _blocks(text: str) -> list[str]:
    """Group lines that read on into one block."""
    blocks: list[list[str]] = []
    fenced = reads_on = False
    for line in text.splitlines():
        fence = bool(_FENCE.match(line))
        if fenced:
            blocks[-1].append(line)
            fenced = not fence
            reads_on = False
        elif fence:
            blocks.append([line])
            fenced = True
        elif not line.strip():
            reads_on = False
        elif reads_on and not _starts_block(line):
            blocks[-1].append(line)
        else:
            blocks.append([line])
            reads_on = not _STRUCTURED.match(line)
    return ["\n".join(block) for block in blocks]


def _starts_block(line: str) -> bool:
    return any(pattern.match(line) for pattern in (_LIST_ITEM, _STRUCTURED, _SPEAKER))


def _split(block: str) -> list[str]:
    if _FENCE.match(block) or _STRUCTURED.match(block):
        return [block.strip()]
    parts: list[str] = []
    start = 0
    for end in _END.finditer(block):
        if _ends_sentence(block[start : end.start()], block[end.end() :]):
            parts.append(block[start : end.end()])
            start = end.end()
    parts.append(block[start:])
    return [" ".join(part.split()) for part in parts if part.strip()]


def _ends_sentence(before: str, after: str) -> bool:
    """Tell whether the mark at the end of *before* closes a sentence."""
    if not _FULL_STOP.search(before):
        return not after[:1].islower()  # "Really?" she asked.
    if _NUMBERING.search(before):  # "1. Open the lid"
        return False
    word = _LAST_WORD.search(before)
    if word is None:
        return True
    last = word[1].casefold()
    if last in _NEVER_FINAL or _INITIAL.fullmatch(word[1]):  # "J. Smith"
        return False
    if last in _SOMETIMES_FINAL:
        return not after[:1].islower() and not after[:1].isdigit()
    return not after[:1].islower()
