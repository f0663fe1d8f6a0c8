"""Summaries made only of the text's own sentences, in their order: deterministic, no model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import sqrt

from tokenwise_core.protocols import CountText
from tokenwise_core.text.sentences import sentences

_WORD = re.compile(r"\w+(?:[-'\u2019.@/]\w+)*")
_NUMBER = re.compile(r"\d")
_NAME = re.compile(r"(?<=[\w,;] )[A-Z][\w-]*[a-z0-9]|\b[A-Z]{2,}[\w-]*|\b\w+[-_]\d\w*|\S+@\S+|https?://\S+")
_DECISION = re.compile(
    r"\b(?:decid|agree|confirm|choos|chose|must|never|always|cannot|can't|don't|won't|not|instead|correct|chang|cancel|"
    r"approv|reject|deadline|due|prefer|allerg|refund|order|ticket|because|therefore|from now on|remember|actually)",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"^\W*[A-Za-z]\w{0,15}:\s")
_QUESTION_END = re.compile(r"\?[\"'\u201d\u2019)\]]*$")
_COMMON_WORDS = (
    "a an and are as at be been but by can could do does for from had has have he her his how i if in is it its me my "
    "of on or our she so that the their them then there they this to was we were what when which who will with would "
    "you your yes no ok okay thanks thank please hello hi sure great good"
)
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """The sentences kept, in the text's order; *tokens* of them joined by line breaks."""

    kept: tuple[str, ...]
    dropped: int
    tokens: int

    @property
    def text(self) -> str:
        return "\n".join(self.kept)


def extract(text: str, *, max_tokens: int, count: CountText) -> Extract:
    """Keep the most telling sentences of *text* within *max_tokens* (of the joined result), in their order.

    Telling is: numbers, names and codes, decisions and negations, words that the text keeps coming back to; what a
    kept sentence already said counts less. A sentence that does not fit is passed over for a smaller one.
    """
    parts = _unique(sentences(text))
    words = [frozenset(_content_words(part)) for part in parts]
    weight = Counter(word for group in words for word in group)
    base = [_telling(part, group, weight) for part, group in zip(parts, words, strict=True)]
    kept: list[int] = []
    said: set[str] = set()
    used = 0
    waiting = [(-score, i) for i, score in enumerate(base)]
    heapify(waiting)
    while waiting:
        _, best = heappop(waiting)
        now = (-base[best] * _novelty(words[best], said), best)
        if waiting and now > waiting[0]:  # novelty only falls: what still leads after a second look is the best
            heappush(waiting, now)
            continue
        cost = count(parts[best]) + (1 if kept else 0)  # the line break between two
        if used + cost <= max_tokens:
            kept.append(best)
            said |= words[best]
            used += cost
    chosen = _trim(parts, sorted(kept), base, max_tokens, count)
    joined = tuple(parts[i] for i in chosen)
    return Extract(kept=joined, dropped=len(parts) - len(joined), tokens=count("\n".join(joined)) if joined else 0)


def _trim(
    parts: Sequence[str], kept: list[int], base: Sequence[float], max_tokens: int, count: CountText
) -> Sequence[int]:
    """Drop the least telling until the joined text fits: counts of parts need not add up to the count of the whole."""
    while kept and count("\n".join(parts[i] for i in kept)) > max_tokens:
        kept.remove(min(kept, key=base.__getitem__))
    return kept


def _telling(sentence: str, words: frozenset[str], weight: Counter[str]) -> float:
    """Score a sentence; a greeting is near nothing, and length alone earns little."""
    if not words:
        return 0.0
    score = 0.5 * sum(min(weight[word], 5) - 1 for word in words) / len(words) + min(len(words), 8) / 8
    score += sqrt(min(len(_NUMBER.findall(sentence)), 6))
    score += 0.8 * sqrt(min(len(_NAME.findall(sentence)), 4))
    score += 1.5 if _DECISION.search(sentence) else 0.0
    if _QUESTION_END.search(sentence):
        score *= 0.5
    return score / sqrt(16 + len(words))


def _novelty(words: frozenset[str], said: set[str]) -> float:
    """Return the share of *words* that no kept sentence has, never less than a tenth."""
    return max(0.1, len(words - said) / len(words)) if words else 0.1


def _content_words(sentence: str) -> list[str]:
    said = _SPEAKER.sub("", sentence)
    return [word for word in map(str.casefold, _WORD.findall(said)) if word not in _COMMON]


def _unique(parts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(parts))
