"""What a text's wording tells a search: whether it asks, about whom, of which day, how much it says at all."""

from __future__ import annotations

import re
from collections.abc import Collection

from tokenwise_core.text.sentences import sentences
from tokenwise_core.text.terms import stems

_PURE = 0.9
ASKED_CHARACTERS = 200
"""What of a long message is embedded to search for what it needs: some 45 tokens; questions are seldom longer."""
_CLOSING = "\"'\u2018\u2019\u201c\u201d)]*_ "
_MARKS = ("?", "\uff1f", "\u061f", "\u037e", "?!")

_ROLES = frozenset(
    {"user", "human", "assistant", "ai", "bot", "model", "system", "developer", "tool", "function", "result"}
)
_ENGLISH = re.compile(
    r"\b(?:what|which|who|whose|whom|when|where|why|how|did|does|do|is|are|were|has|have|had|would|could|should|can)\b",
    re.IGNORECASE,
)
_FIRST_PERSON = (
    (re.compile(r"\b(?:her|his|their)\b", re.IGNORECASE), "my"),
    (re.compile(r"\b(?:she|he)\b", re.IGNORECASE), "I"),
)

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    r"Nov(?:ember)?|Dec(?:ember)?)"
)
_ISO = re.compile(r"\b((?:19|20)\d\d)-(\d\d)-(\d\d)(?!\d)")
_YEAR = re.compile(r"(?<![\d-])(?:19|20)\d\d(?![\d-])")
_MONTH_NAME = re.compile(rf"\b{_MONTH}\b")
_DAY = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}\b|\b{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?\b")

_TIME = re.compile(
    r"\b(?:yesterday|today|tonight|tomorrow|last|next|ago|since|week|weekend|month|year|morning|(?:mon|tues|wednes|"
    r"thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september|october|november|december|"
    r"(?:19|20)\d\d)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+")  # a capital inside a sentence


def question_share(text: str) -> float:
    """Return the share of *text*'s characters that stand in sentences ending in a question mark; 0 for none."""
    parts = sentences(text)
    total = sum(map(len, parts))
    asked = sum(len(part) for part in parts if _asks(part))
    return asked / total if total else 0.0


def is_question(text: str) -> bool:
    """Tell whether *text* is a question and little else (nine tenths of it): one that asks to be looked up.

    On LoCoMo this finds 99 % of the questions and flags 1–4 % of other turns; any question mark flags 27–29 %.
    """
    return question_share(text) >= _PURE


def asked_in(text: str, *, most: int = ASKED_CHARACTERS) -> str:
    """Return what *text* asks within *most* characters: all of a short one, else its last questions, else its end.

    The request waits while it is embedded, which takes a processor 10 ms for a question, 50 for 250 tokens.
    """
    if len(text) <= most:
        return text
    parts = sentences(text)
    kept: list[str] = []
    left = most
    for part in reversed([part for part in parts if _asks(part)] or parts):
        if len(part) > left:
            break
        kept.append(part)
        left -= len(part) + 1
    return " ".join(reversed(kept)) or text[-most:]


def concreteness(text: str) -> float:
    """Return 0…1: how many times and names *text* states. Small talk has none; what is asked for later has some.

    Times are English words; a name is a capital inside a sentence.
    """
    times, names = len(_TIME.findall(text)), len(_NAME.findall(text))
    return min(times, 2) / 4 + min(names, 4) / 8


def date_terms(text: str) -> frozenset[str]:
    """Return the years, months and days of the month that *text* names: "8 May, 2023" is {"2023", "may", "d8"}.

    Reads ISO dates and English months; numbers that may be something else are left alone.
    """
    found = {part for year, month, day in _ISO.findall(text) for part in _parts(year, int(month), int(day))}
    found.update(_YEAR.findall(text))
    found.update(name[:3].casefold() for name in _MONTH_NAME.findall(text))
    found.update(f"d{int(before or after)}" for before, after in _DAY.findall(text))
    return frozenset(found)


def speakers_named(text: str, speakers: Collection[str]) -> tuple[str, ...]:
    """Return which of *speakers* are named in *text*, by any word of their name; a role ("user") is no name."""
    return tuple(speaker for speaker in speakers if _naming(speaker, text) is not None)


def in_their_words(question: str, speaker: str) -> str:
    """Turn a question about *speaker* into one that they might ask: "What did Ann paint?" → "What did I paint?".

    What they said stands in the first person, and its vector is nearer to a question that does too: searching by both
    finds .8 points more of LoCoMo's evidence at 5 % of the tokens, 3 more for questions that need several turns.
    Other languages are left as they are.
    """
    name = _naming(speaker, question)
    if name is None or not _ENGLISH.search(question):
        return question
    said = re.sub(rf"\b(?:{name})['\u2019]s?(?!\w)", "my", question)
    said = re.sub(rf"\b(?:{name})(?: (?:{name}))*\b", "I", said)
    for pattern, word in _FIRST_PERSON:
        said = pattern.sub(word, said)
    return said


def _asks(sentence: str) -> bool:
    return sentence.rstrip(_CLOSING).endswith(_MARKS)


def _naming(speaker: str, text: str) -> str | None:
    """Return a pattern of the words of *speaker*'s name if *text* has one: as written, or all in lower case."""
    parts = [part for part in re.findall(r"[^\W\d_]{2,}", speaker) if part.casefold() not in _ROLES]
    if text.islower():
        parts = [part.casefold() for part in parts if stems(part.casefold())]  # not "will" for Will
    name = "|".join(parts)
    return name if name and re.search(rf"\b(?:{name})\b", text) else None


def _parts(year: str, month: int, day: int) -> tuple[str, ...]:
    return (year, _MONTHS[month - 1], f"d{day}") if 1 <= month <= 12 else (year,)
