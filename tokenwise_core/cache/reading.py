"""What a question says, read once: its words, numbers, names, negations, quotes, identifiers, roles and times."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Self

from tokenwise_core.cache import roles
from tokenwise_core.cache.amounts import NUMBER_WORDS, amounts
from tokenwise_core.cache.letter_case import letter_case
from tokenwise_core.cache.lexicon import NAMES, OPPOSITES, stem
from tokenwise_core.cache.scan import Scan, names, scan
from tokenwise_core.cache.words import (
    AUXILIARIES,
    CALENDAR,
    DATED,
    DEICTICS,
    ENGLISH,
    FILLERS,
    FOREIGN,
    SHARED,
    STOP,
    WH,
)

RULES = 2
"""Version of how questions are read: raised when the same text would be read another way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A question, parsed at insert and stored with its entry.

    *plain* is the text folded to lower-case words, contractions spelt out; *words* are those words in order, amounts
    joined; *stems* the stems of the content words in order; *sequence* all words whose order tells something.
    *english* is False where the word lists do not apply: then only *numbers*, *quotes*, *identifiers*, *protected*,
    *signs* and *marks* are filled. *negations* are the stems that are negated; *asides* those of an example that the
    question itself does not speak of; *asks* whether "who" is the subject or the object; *passive* patient and agent.
    *signs* are the operators; *marks* what `letter_case` finds; *cased* whether any capital tells something. The other
    fields are named after what `roles` finds.
    """

    plain: str
    words: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    numbers: frozenset[str] = frozenset()
    entities: frozenset[str] = frozenset()
    quotes: frozenset[str] = frozenset()
    identifiers: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    question_word: str = ""
    asks: str = ""
    english: bool = True
    negations: tuple[str, ...] = ()
    poles: frozenset[str] = frozenset()
    degrees: frozenset[str] = frozenset()
    times: frozenset[str] = frozenset()
    days: frozenset[str] = frozenset()
    people: tuple[str, ...] = ()
    possessed: frozenset[str] = frozenset()
    coordinated: frozenset[str] = frozenset()
    directed: frozenset[str] = frozenset()
    passive: tuple[str, ...] = ()
    sequence: tuple[str, ...] = ()
    asides: frozenset[str] = frozenset()
    signs: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    cased: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return JSON that `from_json` reads; what is empty, or follows from the words, is left out."""
        data = {name: _plain(value) for name in _NAMES if (value := getattr(self, name)) != _DEFAULTS.get(name)}
        if self.plain == " ".join(self.words):
            del data["plain"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; fields of another version are ignored."""
        known: dict[str, Any] = {
            name: type(_DEFAULTS[name])(value) if name in _DEFAULTS else value
            for name, value in data.items()
            if name in _NAMES
        }
        known.setdefault("plain", " ".join(known.get("words", ())))
        return cls(**known)


def edition(protected: Sequence[str] = ()) -> str:
    """Return what two readings must share to be compared: the rules, and the user's protected terms."""
    terms = "\n".join(sorted({term.casefold() for term in protected}))
    return f"{RULES}/{blake2b(terms.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"


_NAMES = tuple(field.name for field in fields(Reading))
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Reading) if field.name != "plain"}


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else list(value) if isinstance(value, tuple) else value


def read(text: str, *, protected: Sequence[str] = ()) -> Reading:
    """Read *text*; *protected* are the user's terms, looked for as whole words in any case.

    Takes some 40 µs for a question of twelve words and time linear in the length of *text*; never raises.
    """
    found = scan(text)
    words = found.words
    plain = " ".join(words)
    if NUMBER_WORDS.isdisjoint(words) and not _has_figures(found):
        joined, numbers = words, frozenset[str]()
    else:
        joined, numbers = _numbers(words, found)
    verbatim: dict[str, Any] = {
        "plain": plain,
        "numbers": numbers,
        "quotes": frozenset([" ".join(scan(quote).words) for quote in found.quotes]),
        "identifiers": frozenset(found.codes),
        "protected": _protected(text, tuple(protected)) if protected else frozenset[str](),
    }
    is_english, is_shouted = _english(found), len(found.capitals) > 1 and text.isupper()
    if found.signs:
        verbatim["signs"] = tuple(found.signs)
    if found.capitals or found.mixed:
        verbatim["marks"] = letter_case(found, is_english=is_english, is_shouted=is_shouted)
    verbatim["cased"] = bool(found.capitals) and not is_shouted
    if not is_english:
        return Reading(words=tuple(words), english=False, **verbatim)
    return Reading(
        words=tuple(joined),
        entities=frozenset(map(stem, names(found))) | _known_names(words),
        **verbatim,
        **_meaning(joined, found),
    )


def _meaning(words: Sequence[str], found: Scan) -> dict[str, Any]:
    """Return the fields that the English lists give."""
    stems = tuple(stem(word) for word in words if word not in STOP and word not in FILLERS)
    return {
        "stems": stems,
        "negations": roles.negations(words),
        "question_word": _question_word(words),
        "asks": roles.asks(words),
        "poles": _poles(words),
        "degrees": roles.degrees(words),
        "times": roles.times(words),
        "days": roles.days(words),
        "people": roles.people(words),
        "possessed": roles.possessed(words),
        "coordinated": roles.coordinated(words) if "and" in words or "or" in words else frozenset(),
        "directed": frozenset(roles.directed(words)),
        "passive": roles.passive(words) if "by" in words else (),
        "sequence": roles.sequence(words),
        "asides": _asides(found.words, found.starts) if len(found.starts) > 1 else frozenset(),
    }


def _has_figures(found: Scan) -> bool:
    if found.is_plain and not found.codes:
        return False
    return any(word[0].isdecimal() or word[0] == "-" for word in found.words)


def _numbers(words: list[str], found: Scan) -> tuple[list[str], frozenset[str]]:
    """Return the words with their amounts joined, and the amounts."""
    joined = amounts(words)
    codes = set(found.codes)
    return joined, frozenset(
        word for word in joined if (word[0].isdecimal() or (word[0] == "-" and len(word) > 1)) and word not in codes
    )


def _english(found: Scan) -> bool:
    """Say whether the word lists apply: letters are Latin, and English small words outnumber those of others."""
    letters = [word for word in found.words if word.isalpha()]
    if not letters:
        return True
    if sum(map(str.isascii, letters)) * 10 < len(letters) * 7:
        return False
    told = sum(word in _TELLING for word in letters)
    foreign = sum(word in FOREIGN for word in letters)
    if not all(map(str.isascii, letters)):  # "Björn" is a name anywhere, "für" is not English
        names_at = found.capitals.keys() - found.starts
        foreign += sum(not word.isascii() for at, word in enumerate(found.words) if at not in names_at)
    if told or foreign:
        return told >= foreign
    return len(letters) < _LONG or not ENGLISH.isdisjoint(letters)


_LONG = 8
"""Words without one small English word among them from which a text is taken for another language."""


_TELLING = ENGLISH - SHARED


def _known_names(words: Sequence[str]) -> frozenset[str]:
    """Return the stems of names that need no capital: places, nations, weekdays, months."""
    found = {stem(word) for word in words if word in NAMES or word in CALENDAR}
    for at, word in enumerate(words):
        if word == "march" and (
            (at and words[at - 1] in DATED) or (words[at + 1 : at + 2] and words[at + 1][0].isdecimal())
        ):
            found.add(word)
    return frozenset(found)


def _question_word(words: Sequence[str]) -> str:
    """Return "who", "when", "where", "why", "how", "how much" …; "" for "what", whose answer may be any of them."""
    for at, word in enumerate(words):
        if word not in WH:
            continue
        after = words[at + 1] if at + 1 < len(words) else ""
        if word == "how":
            return "why" if after == "come" else f"how {after}" if after in _MEASURES else "how"
        if word in ("who", "whom", "whose"):
            return "who"
        if after in AUXILIARIES:  # "when I paid" asks nothing
            return "" if WH[word] == "what" else word
    return ""


_MEASURES = frozenset({"much", "many", "long", "old", "far", "often", "big", "tall", "fast"})
_PARTICLES = frozenset({"in", "out"})
_PARTICLE_VERBS = frozenset(["log", "sign", "opt", "check", "clock", "phase", "logged", "signed", "checked"])


def _poles(words: Sequence[str]) -> frozenset[str]:
    """Return the words that have an opposite."""
    found = set()
    for at, word in enumerate(words):
        if word in _PARTICLES:
            if at and words[at - 1] in _PARTICLE_VERBS:
                found.add(word)
        elif (root := stem(word)) in OPPOSITES:
            found.add(root)
    return frozenset(found)


def _asides(words: Sequence[str], starts: Sequence[int]) -> frozenset[str]:
    """Return what a remark before the question says and the question leaves out.

    Only of a remark that the question takes up in general terms, without "this" or "that": "My dog eats carrots. Is it
    normal for animals to eat carrots?" Anything else said before a question may be what it is about.
    """
    cut = max((start for start in starts if start < len(words)), default=0)
    remark, question = words[:cut], words[cut:]
    if not remark or not DEICTICS.isdisjoint(question):
        return frozenset()
    asked = {stem(word) for word in question}
    said = {stem(word) for word in remark if roles.content(word)}
    return frozenset(said - asked) if len(said & asked) >= 2 and len(said - asked) <= 2 else frozenset()


def _protected(text: str, terms: tuple[str, ...]) -> frozenset[str]:
    pattern = _terms_pattern(terms)
    return frozenset(" ".join(found.lower().split()) for found in pattern.findall(text)) if pattern else frozenset()


@lru_cache(maxsize=64)
def _terms_pattern(terms: Collection[str]) -> re.Pattern[str] | None:
    """Return a pattern of whole terms, the longest first; blanks in a term stand for any run of blanks."""
    parts = sorted({r"\s+".join(map(re.escape, term.split())) for term in terms if term.strip()}, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE) if parts else None
