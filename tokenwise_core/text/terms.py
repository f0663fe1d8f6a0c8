"""The search terms of a text: lower-cased, English stems, common words left out; codes, dates and numbers whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORD = re.compile(r"[^\W_]+(?:[-'\u2019.:/@_+&][^\W_]+)*")
_PARTS = re.compile(r"[^\W_]+")
# Written without spaces between words: pairs of neighbouring characters stand for words.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_POSSESSIVE = re.compile(r"['\u2019]s?\Z")
_COMMON_WORDS = (
    "a about after again all also am an and any are as at be because been before being but by can could did do does "
    "doing done during each few for from further get gets getting going gonna got had has have having he her here hers "
    "him his how i if in into is it its just let lets like me might mine more most much my no nor not of off oh ok "
    "okay on only or other our ours out over own really same she should so some such than that the their theirs them "
    "then there these they this those through to too under until up us very was we were what when where which while "
    "who whom whose why will with would yeah yes you your yours"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_CONTRACTION = re.compile(r"(?:n't|n\u2019t|['\u2019](?:s|m|re|ve|ll|d))\Z")


def words(text: str) -> list[str]:
    """Return the words of *text*, case-folded, in order, common ones included."""
    return _WORD.findall(text.casefold())


def stems(word: str) -> tuple[str, ...]:
    """Return the search terms of a case-folded *word*: none for a common word, its parts too for a compound.

    Only ASCII words are stemmed: the stemmer is English, and to other languages it would do harm.
    """
    bare = _CONTRACTION.sub("", word)
    if bare in _COMMON or word in _COMMON:
        return ()
    parts = _PARTS.findall(bare)
    whole = [bare] if len(parts) > 1 else []
    return tuple(dict.fromkeys(term for part in (*whole, *parts) for term in _of_part(part)))


def _of_part(part: str) -> Iterator[str]:
    if part in _COMMON:
        return
    if _UNSPACED.search(part):
        yield from (part[i : i + 2] for i in range(max(1, len(part) - 1)))
    elif part.isascii() and part.isalpha():
        from Stemmer import Stemmer  # type: ignore[import-not-found]  # compiled, without stubs

        yield Stemmer("english").stemWord(part)
    else:
        yield part
