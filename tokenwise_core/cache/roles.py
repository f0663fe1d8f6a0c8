"""What one question says of roles: who does it to whom, what is negated, when, whose, more or less of what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from tokenwise_core.cache.lexicon import participle, stem
from tokenwise_core.cache.words import (
    ADVERBS,
    ARTICLES,
    AUXILIARIES,
    BE,
    CORRELATIVES,
    DEICTICS,
    FEMININE,
    FILLERS,
    MASCULINE,
    NEGATORS,
    PERIODS,
    RELATIVE_DAYS,
    STOP,
    UNKNOWING,
    WH,
)

_AHEAD = 5
"""Words looked at beyond one that points at what follows it."""
_BACK = 12
"""Words looked back for the verb of a clause: reading stays linear in the length of a text."""


def content(word: str) -> bool:
    """Say whether *word* carries topic."""
    return word not in STOP and word not in FILLERS


def next_content(words: Sequence[str], start: int, limit: int = _AHEAD) -> str:
    """Return the stem of the first content word from *start* on, "" where there is none near."""
    return next((stem(word) for word in words[start : start + limit] if content(word)), "")


def last_content(words: Sequence[str], stop: int, limit: int = _AHEAD) -> str:
    """Return the stem of the last content word before *stop*."""
    return next((stem(word) for word in reversed(words[max(0, stop - limit) : stop]) if content(word)), "")


def negations(words: Sequence[str]) -> tuple[str, ...]:
    """Return what each negation negates, "" where that is unclear; two that cancel out are left out.

    "I do not know how to …" and "whether or not" negate nothing that is asked.
    """
    found: list[tuple[int, str]] = []
    for at, word in enumerate(words):
        if word not in NEGATORS or _idle(words, at):
            continue
        if found and at - found[-1][0] <= 2:
            found.pop()
        else:
            found.append((at, _scope(words, at)))
    return tuple(scope for _, scope in found)


def _scope(words: Sequence[str], at: int) -> str:
    """Return the stem that the negation at *at* denies.

    In "why did not the transfer work" it stands after the subject.
    """
    start = at + 1
    turned = words[at] == "not" and at and words[at - 1] in AUXILIARIES and (at == 1 or words[at - 2] in WH)
    if (
        turned
        and start < len(words)
        and (words[start] in ARTICLES or words[start] in OWNERS or words[start] in DEICTICS)
    ):
        start += 1
        while start < len(words) and not content(words[start]):
            start += 1
        return next_content(words, start + 1) or next_content(words, at + 1)
    return next_content(words, start)


def _idle(words: Sequence[str], at: int) -> bool:
    """Say whether the negation at *at* denies nothing that is asked about."""
    word, after = words[at], words[at + 1] if at + 1 < len(words) else ""
    if word == "nor" or after == "only":
        return True
    if word == "not" and at and words[at - 1] == "or":
        return True
    ahead = at + (2 if after == "be" else 1)
    doubt, beyond = (*words[ahead : ahead + 2], "", "")[:2]
    return word == "not" and doubt in UNKNOWING and (beyond in WH or beyond in ("if", "whether", "but"))


def people(words: Sequence[str]) -> tuple[str, ...]:
    """Return the third persons that pronouns speak of, in order."""
    return tuple("m" if word in MASCULINE else "f" for word in words if word in MASCULINE or word in FEMININE)


OWNERS = {
    **dict.fromkeys(("my", "our"), "1"), "your": "2", "their": "3", "his": "m", "her": "f", "its": "n"
}  # fmt: skip


def possessed(words: Sequence[str]) -> frozenset[str]:
    """Return whose things are spoken of: "1:order" for "my order"."""
    return frozenset(
        f"{OWNERS[word]}:{thing}"
        for at, word in enumerate(words)
        if word in OWNERS and (thing := next_content(words, at + 1, 3))
    )


def times(words: Sequence[str]) -> frozenset[str]:
    """Return what is said of time: before, after, until, used to, becoming, and "is" or "was" of a plain state."""
    found = set()
    for at, word in enumerate(words):
        if word in ("before", "after", "until", "till"):
            found.add(word)
        elif word in ("use", "used") and list(words[at + 1 : at + 2]) == ["to"] and _formerly(words, at):
            found.add("used to")
        elif word == "becoming" and any(before in BE for before in words[max(0, at - _BACK) : at]):
            found.add("becoming")
    return frozenset(found | _tense(words))


def _tense(words: Sequence[str]) -> set[str]:
    """Return {"is"} or {"was"} of a question about what something is or was, and not about what was done."""
    at = 1 if words and words[0] in WH else 0
    if len(words) <= at or words[at] not in _TENSES:
        return set()
    told = any(participle(word) or word.endswith("ing") for word in words[at + 1 : at + _BACK])
    return set() if told else {_TENSES[words[at]]}


_TENSES = {"is": "is", "are": "is", "am": "is", "was": "was", "were": "was"}


def days(words: Sequence[str]) -> frozenset[str]:
    """Return the times told from today: "yesterday", "next week"."""
    found = {word for word in words if word in RELATIVE_DAYS}
    for at, word in enumerate(words[:-1]):
        if word in ("last", "this", "next", "previous", "past") and words[at + 1] in PERIODS:
            found.add(f"{'last' if word in ('previous', 'past') else word} {words[at + 1]}")
    return frozenset(found)


def _formerly(words: Sequence[str], at: int) -> bool:
    """Say whether "used to" at *at* means formerly: not "I am used to", "the card I used to pay", "what I use to"."""
    if not at or words[at - 1] in BE or words[at - 1] in ("get", "got", "getting"):
        return False
    before = words[max(0, at - _BACK) : at]
    return words[at] == "used" or ("did" in before and WH.keys().isdisjoint(before))


def degrees(words: Sequence[str]) -> frozenset[str]:
    """Return the comparisons of degree: "+activ" for "more active", "-activ" for "less active"."""
    return frozenset(
        f"{'+' if word in ('more', 'most') else '-'}{next_content(words, at + 1, 2)}"
        for at, word in enumerate(words)
        if word in ("more", "most", "less", "least", "fewer", "fewest")
    )


def coordinated(words: Sequence[str]) -> frozenset[str]:
    """Return what "and" and "or" join, the two sides in alphabetical order: "or:actor|analyst"."""
    found = set()
    for at, word in enumerate(words):
        if word in ("and", "or") and (left := last_content(words, at, 2)) and (right := next_content(words, at + 1, 3)):
            found.add(f"{word}:{'|'.join(sorted((left, right)))}")
    return frozenset(found)


def passive(words: Sequence[str]) -> tuple[str, ...]:
    """Return the heads of patient and agent of "was the farm kept by Rebecca", () where there is no such clause."""
    for at in range(2, len(words) - 1):
        if words[at] != "by" or not participle(words[at - 1]):
            continue
        be = next(
            (i for i in range(at - 2, max(-1, at - 2 - _BACK), -1) if words[i] in BE or words[i] in ("get", "got")),
            None,
        )
        if be is None:
            continue
        patient = last_content(words[be + 1 : at - 1], at) or last_content(words, be)
        agent = next_content(words, at + 1, 3)
        if patient and agent:
            return (patient, agent)
    return ()


def asks(words: Sequence[str]) -> str:
    """Return "object" for "who did Hamlet kill", "subject" for "who killed Hamlet", "" for no such question."""
    for word, after in pairwise(words):
        if word in ("who", "whom"):
            return "object" if after in ("do", "does", "did") else "" if after in AUXILIARIES else "subject"
    return ""


def suffers(words: Sequence[str], patient: str) -> bool:
    """Say whether *patient* is what something is done to in a passive, with "by" or without."""
    be = next((at for at, word in enumerate(words) if word in BE), len(words))
    done = next((at for at in range(be + 1, len(words)) if participle(words[at])), None)
    return done is not None and (
        patient == last_content(words[be + 1 : done], done) or patient == last_content(words, be)
    )


_UNORDERED = ARTICLES | CORRELATIVES | (ADVERBS - STOP) | {"very", "well"}


def sequence(words: Sequence[str]) -> tuple[str, ...]:
    """Return the words in order without articles and fillers, content as stems: what `order` compares."""
    return tuple(stem(word) if word not in STOP else word for word in words if word not in _UNORDERED)


def directed(words: Sequence[str]) -> Iterator[str]:
    """Yield what stands after a preposition of direction: "from:eur", "to:usd"."""
    for at, word in enumerate(words):
        if word in _TURNABLE and (head := next_content(words, at + 1, 3)):
            yield f"{word}:{head}"


_TURNABLE = frozenset({"from", "to", "into"})
