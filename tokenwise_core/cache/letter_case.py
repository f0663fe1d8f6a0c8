"""Letters whose case means something: units (mW, MW), acronyms (IT), names that are words too (Turkey), codes (aB3)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from tokenwise_core.cache.amounts import SIGNS, figure
from tokenwise_core.cache.scan import Scan
from tokenwise_core.cache.words import ACRONYMS, NAMESAKES, UNITS_BY_CASE

STRICT, AMONG_CAPITALS, INNER, UNKNOWN = "=", "^", "~", "?"
"""What a mark begins with: differs from any other spelling; only from lower case in a text that has capitals; only from
another spelling with capitals inside (GitHub may be Github); from none, where a capital tells nothing (it begins a
sentence, or stands in a title).
"""

_PRONOUNS = frozenset({"IT", "WHO"})
"""Acronyms whose small letters nobody takes for them."""

_LETTERS = frozenset("BCDEFGHJKLMNOPQRSTUVWXYZ")
_COUNTED = frozenset({"Mm", "Ms", "MT", "Cal", "M", "B"})
"""Units of which the same holds after a number only."""

_SURFACES = _PRONOUNS | ACRONYMS | NAMESAKES | _LETTERS | UNITS_BY_CASE | _COUNTED
_SPELT = frozenset(
    [
        "password",
        "passphrase",
        "passcode",
        "variable",
        "class",
        "function",
        "method",
        "token",
        "hash",
        "code",
        "key",
        "id",
    ]
)
_NAMED = frozenset(["user", "username", "login", "name", "named", "called", "channel", "branch", "column", "file"])
_CAMEL = re.compile(r"[a-z]{2,}[A-Z][a-z]")
_QUANTITY = re.compile(r"[\d.,]+([A-Za-z]+)")
_RUNS = re.compile(r"[A-Za-z]+")
_LONG_RUN = 3
"""Letters on end from which a code is a word ("iPhone15"), whose capitals many do without."""


def letter_case(found: Scan, *, is_english: bool, is_shouted: bool) -> tuple[str, ...]:
    """Return the marks of a text: what is written in capitals, or partly so, and means another thing in small letters.

    Of a text *is_shouted*, all in capitals, only the units tell something.
    """
    if not (found.capitals or found.mixed):
        return ()
    if is_shouted:
        return tuple(
            (STRICT if chunk in UNITS_BY_CASE else UNKNOWN) + chunk
            for chunk in found.capitals.values()
            if chunk in UNITS_BY_CASE or chunk in _PRONOUNS
        )
    if len(found.capitals) == 1 and not (found.mixed or found.quotes):
        chunk = found.capitals.get(0, "")
        if chunk.istitle() and chunk not in _SURFACES:
            return ()  # how nearly every question begins
    starts = frozenset(found.starts)
    marked = {at: mark for at, chunk in found.capitals.items() if (mark := _word(at, chunk, found, starts, is_english))}
    marks = [mark + which for mark, which in zip(marked.values(), _which(marked, found.words), strict=True)]
    marks += [mark for at, chunk in found.mixed.items() for mark in _code(at, chunk, found)]
    marks += [AMONG_CAPITALS + quote for quote in found.quotes if quote.isalpha() and quote.lower() != quote]
    return tuple(marks)


def _which(places: Collection[int], words: Sequence[str]) -> Iterator[str]:
    """Yield "@1" for the second of equal words, so that "from MB to Mb" is not "from Mb to MB", "" for a lone word."""
    if not places or len(set(words)) == len(words):
        yield from ("" for _ in places)
        return
    totals, seen = Counter(words), Counter[str]()
    for at, word in enumerate(words):
        if at in places:
            yield f"@{seen[word]}" if totals[word] > 1 else ""
        seen[word] += 1


def _word(at: int, chunk: str, found: Scan, starts: Collection[int], is_english: bool) -> str:
    """Return the mark of a word with a capital, "" for none."""
    if chunk in _SURFACES:
        return _surface(at, chunk, found, starts)
    if at not in starts:
        if named := _named(at, found):
            return named + chunk
        if not is_english and _is_lone(at, found, starts):
            return AMONG_CAPITALS + chunk
    if len(chunk) > 2 and not chunk[1:].islower() and not chunk.isupper():
        return (STRICT + chunk) if _CAMEL.match(chunk) else INNER + chunk[0].lower() + chunk[1:]
    return ""


def _surface(at: int, chunk: str, found: Scan, starts: Collection[int]) -> str:
    """Return the mark of a word that the lists know."""
    before = found.words[at - 1] if at else ""
    if chunk in _PRONOUNS or chunk in UNITS_BY_CASE:
        return STRICT + chunk
    if chunk in _COUNTED and before[-1:].isdecimal() and SIGNS.isdisjoint(found.words[max(0, at - 2) : at]):
        return (STRICT if len(chunk) > 1 else AMONG_CAPITALS) + chunk
    if chunk in ("Mm", "Ms", "MT", "Cal"):
        return ""
    if chunk in ACRONYMS:
        return AMONG_CAPITALS + chunk
    if at in starts:
        return UNKNOWN + chunk
    return (_named(at, found) or (AMONG_CAPITALS if _is_lone(at, found, starts) else UNKNOWN)) + chunk


def _named(at: int, found: Scan) -> str:
    """Return the kind of mark for what "password", "variable", "user" say the name of: "my password is Secret"."""
    words, of = found.words, at - 1
    if of > 0 and words[of] in ("is", "named", "called"):
        of = of - 1 if words[of] == "is" or words[of - 1] in _SPELT else of
    if of < 0 or of in found.capitals:
        return ""
    return STRICT if words[of] in _SPELT else AMONG_CAPITALS if words[of] in _NAMED else ""


def _is_lone(at: int, found: Scan, starts: Collection[int]) -> bool:
    """Say whether no capital stands beside: "Apple Pay" is a name however it is written, and so are titles."""
    before = at - 1
    beside = before in found.capitals and before not in starts and found.capitals[before] != "I"
    return not beside and at + 1 not in found.capitals


def _code(at: int, chunk: str, found: Scan) -> Iterator[str]:
    """Yield the mark of a chunk with figures and capitals."""
    quantity = _QUANTITY.fullmatch(chunk)
    unit = quantity[1] if quantity else ""
    if unit in UNITS_BY_CASE or (unit in _COUNTED and len(unit) > 1):
        yield STRICT + unit
    elif unit in _COUNTED:
        if SIGNS.isdisjoint(found.words):
            yield AMONG_CAPITALS + unit
    elif figure(chunk.lower()) is None and not chunk.isupper():
        if named := _named(at, found):
            yield named + chunk
        elif all(len(run) < _LONG_RUN for run in _RUNS.findall(chunk)):
            yield STRICT + chunk
        elif chunk[1:] != chunk[1:].lower():
            yield INNER + chunk[0].lower() + chunk[1:]


def misspelt(one: Sequence[str], other: Sequence[str], plain: str, *, is_cased: bool) -> bool:
    """Say whether a word of the marks *one* is written in another way in the text with the marks *other*.

    *plain* is that text in small letters, *is_cased* says whether it has capitals that tell something.
    """
    written, elsewhere = _by_word(one), _by_word(other)
    for key, found in written.items():
        mine, theirs = found, elsewhere.get(key, [])
        if not all("@" in mark for mark in (*mine, *theirs)):
            mine, theirs = (sorted({mark.partition("@")[0] for mark in marks}) for marks in (mine, theirs))
        if mine == theirs or any(mark[0] == UNKNOWN for mark in (*mine, *theirs)):
            continue
        if theirs:
            return True
        telling = any(mark[0] == STRICT or (is_cased and mark[0] == AMONG_CAPITALS) for mark in mine)
        if telling and re.search(rf"(?<![^\W\d]){re.escape(key)}(?![^\W\d])", plain):
            return True
    return False


def _by_word(marks: Sequence[str]) -> Mapping[str, list[str]]:
    """Return the marks under the words that they are of, in small letters."""
    found: dict[str, list[str]] = {}
    for mark in marks:
        found.setdefault(mark[1:].partition("@")[0].lower(), []).append(mark)
    return found
