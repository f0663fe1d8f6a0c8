"""Probes: facts that must survive a compression, asked of the context that was built.

>>> probes = [Probe("When does the order arrive?", ["May 27"]), Probe("Which order?", ["ORD-1234"])]
>>> report = check("Order ORD-1234 is on its way.", probes)
>>> report.score, [probe.question for probe in report.failing]
(0.5, ['When does the order arrive?'])
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenwise_core.flow import Ask, Flow

Extract = Callable[[str, str], str]
"""Context and question to an answer; any function of the user's."""

_NUMBER_COMMA = re.compile(r"(?<=\d)[,\u2019'](?=\d{3}(?:\D|$))")
_WORD_MARK = re.compile(r"[^\w.%$€£¥+/:@-]|[.:/-](?!\w)|(?<!\w)[:/]")
_ENDING_ZEROS = re.compile(r"(\d+\.\d*?)0+(?=\D|$)")
_SYMBOL_GAP = re.compile(r"(?<=[$€£¥]) (?=\d)|(?<=\d) (?=%)")
_YES = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_JUDGE_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """A question, and the facts without which its answer is wrong; each fact is a short text or several wordings."""

    question: str
    expected: Sequence[str | Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One probe with the facts that were not found; *error* where it could not be checked, which is no failure."""

    probe: Probe
    missing: tuple[str, ...] = ()
    error: str | None = None

    @property
    def passed(self) -> bool:
        return not self.missing and self.error is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport:
    """How many probes a context passes: a failing one says that the compression was too aggressive."""

    checked: tuple[Checked, ...] = ()

    @property
    def score(self) -> float | None:
        """Share of the checked probes that passed; None where none could be checked."""
        known = [one for one in self.checked if one.error is None]
        return sum(one.passed for one in known) / len(known) if known else None

    @property
    def failing(self) -> tuple[Probe, ...]:
        return tuple(one.probe for one in self.checked if one.missing)

    @property
    def unknown(self) -> tuple[Probe, ...]:
        """Probes that could not be checked: the extractor or the judge failed."""
        return tuple(one.probe for one in self.checked if one.error is not None)


def check(context: str, probes: Sequence[Probe], *, extract: Extract | None = None) -> ProbeReport:
    """Look for each expected fact in *context*, or in what *extract* answers from it.

    Facts are compared without case, punctuation and thousands' commas, and as whole words: 20 is not found in 2022.
    """
    if extract is None:
        known = _normal(context)
        return ProbeReport(checked=tuple(Checked(probe=probe, missing=_missing(known, probe)) for probe in probes))
    return ProbeReport(checked=tuple(_extracted(context, probe, extract) for probe in probes))


def judged(context: str, probes: Sequence[Probe]) -> Flow[ProbeReport]:
    """Ask a model of each probe whether *context* holds its facts, all at once; drive it with `run` or `arun`.

    An answer that is neither yes nor no leaves its probe unknown. A judge that fails leaves all of them so.
    """
    if not probes:
        return ProbeReport()
    asks = [Ask(_judge_prompt(context, probe), purpose="probe", max_tokens=_JUDGE_TOKENS) for probe in probes]
    try:
        answers: list[str] = yield asks
    except Exception as error:
        return ProbeReport(checked=tuple(Checked(probe=probe, error=_named(error)) for probe in probes))
    return ProbeReport(checked=tuple(map(_verdict, probes, answers)))


def contains(text: str, fact: str) -> bool:
    """Tell whether *fact* stands in *text*, compared as `check` does."""
    return _stands(_normal(text), fact)


def _extracted(context: str, probe: Probe, extract: Extract) -> Checked:
    try:
        answer = extract(context, probe.question)
    except Exception as error:
        return Checked(probe=probe, error=_named(error))
    return Checked(probe=probe, missing=_missing(_normal(answer), probe))


def _missing(known: str, probe: Probe) -> tuple[str, ...]:
    wordings = [(fact,) if isinstance(fact, str) else tuple(fact) for fact in probe.expected]
    return tuple(ways[0] for ways in wordings if ways and not any(_stands(known, way) for way in ways))


def _stands(known: str, fact: str) -> bool:
    wanted = _normal(fact).strip()
    return f" {wanted} " in known or (not wanted)


def _normal(text: str) -> str:
    """Return words and numbers between single blanks, in one form."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'").replace("\u2212", "-")
    plain = _NUMBER_COMMA.sub("", plain)
    plain = _SYMBOL_GAP.sub("", plain)
    plain = _ENDING_ZEROS.sub(lambda match: match[1].rstrip("."), plain)
    return f" {' '.join(_WORD_MARK.sub(' ', plain).split())} "


def _judge_prompt(context: str, probe: Probe) -> str:
    facts = "\n".join(f"- {fact if isinstance(fact, str) else ' / '.join(fact)}" for fact in probe.expected)
    return (
        "Can the question be answered from the context alone, with all of these facts in the answer? Other words for "
        f"the same fact count; what is only likely does not.\n\n<context>\n{context}\n</context>\n\n"
        f"Question: {probe.question}\nFacts:\n{facts}\n\nAnswer with one word: yes or no."
    )


def _verdict(probe: Probe, answer: str) -> Checked:
    word = _YES.match(answer)
    if word is None:
        return Checked(probe=probe, error=f"the judge answered {answer[:60]!r}")
    facts = tuple(fact if isinstance(fact, str) else fact[0] for fact in probe.expected)
    return Checked(probe=probe, missing=() if word[1].casefold() == "yes" else facts)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
