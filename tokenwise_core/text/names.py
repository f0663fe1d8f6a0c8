"""Names in English text: capitalised words that do not merely begin a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LINK = "of the|of|the|de|van|von|del|la|&"
_CAPITALISED = r"[A-Z\u00c0-\u00de](?:[^\W\d_]|[\u2019'-](?=[^\W\d_]))*"
_NAME = re.compile(rf"(?<![\w/\\@.#$-]){_CAPITALISED}(?:(?: (?:{_LINK}))? {_CAPITALISED})*(?![\w/\\@]|[.-]\w)")
_LABEL = re.compile(r"\**:")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\u2026\n•*#>\"\u201c(-])[\s\"'\u201c\u2018(*_#>-]*$")
_NOT_A_NAME_WORDS = (
    "i i'm i'd i'll i've im a an the this that these those it it's he she they we you my your his her our their "
    "its and but or so if when while what who where why how which is are was were am be do does did have has had "
    "can could will would shall should may might must not no nope yes yeah yep yup ok okay oh ah wow hey hi hello "
    "thanks thank please sorry sure great good nice cool awesome amazing congrats congratulations absolutely "
    "definitely totally exactly well also just then there here now today tomorrow yesterday let let's lets to for "
    "from in on at by with of as about after before since until because although though however maybe perhaps "
    "glad happy love loved looks sounds seems got gotta gonna keep take took make made go going been being both "
    "all any some every each many much more most other another such once hope hopefully any anything something "
    "everything nothing one two three first second third next last finally actually really very too again still "
    "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun "
    "user assistant system result omg lol btw fyi asap aka am pm"
)
_NOT_A_NAME = frozenset(_NOT_A_NAME_WORDS.split())


def names(text: str) -> Iterator[tuple[int, int]]:
    """Yield where names stand; several capitalised words in a row are one name."""
    for match in _NAME.finditer(text):
        start, end = match.span()
        words = match[0].split(" ")
        while words and _bare(words[0]) in _NOT_A_NAME:
            start += len(words.pop(0)) + 1
        while words and (_bare(words[-1]) in _NOT_A_NAME or words[-1][:1].islower()):
            end -= len(words.pop()) + 1
        if _LABEL.match(text, match.end()) or not words or words[0][:1].islower() or len(text[start:end]) < 2:
            continue
        single = len(words) == 1 and start == match.start() and not words[0].isupper()
        if single and _SENTENCE_START.search(text, max(0, start - 8), start):
            continue
        if text[start:end].endswith(("'s", "\u2019s")):
            end -= 2
        yield start, end


def _bare(word: str) -> str:
    return word.casefold().replace("\u2019", "'").removesuffix("'s")
