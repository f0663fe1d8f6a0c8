"""The benchmark's own reading of what a memory must keep: identifiers, numbers, amounts, dates, times, paths.

Written without a look at the product's detectors, and importing none of them. Numbers written as words are not
identifiers; neither are names. A value is kept where the same normalised value is found in the context's text.
"""

from __future__ import annotations

import re

_MONTH = (
    "(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec)\b\.?"
)
_NUM = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:https?|ftp)://[^\s\"'<>)\]]+|\bwww\.[^\s\"'<>)\]]+",
        r"[\w.+-]+@[\w-]+\.[\w.-]*\w",
        r"(?<![\w/.])(?:~|\.\.?)?(?:/[\w.-]+){2,}|(?<!\w)[a-z]:\\[\w\\.-]+|(?<![\w/])(?:[\w-]+/)+[\w-]+\.[a-z]{1,5}\b",
        r"\b\d{4}-\d{2}-\d{2}(?:t\d{2}:\d{2}(?::\d{2})?)?\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b",
        rf"(?<![\w.,:/$€£-])\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH}(?:,? \d{{4}}\b)?",
        rf"\b{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?\b(?!:)(?:,? \d{{4}}\b)?|\b{_MONTH},? (?:of )?\d{{4}}\b",
        r"(?<![\w.,:/-])\d{1,2}(?:(?::\d{2}){1,2}(?: ?[ap]\.?m\b)?| ?[ap]\.?m\b)",
        rf"[$€£¥₹] ?(?:{_NUM})",
        rf"(?<![\w.,-])(?:{_NUM}) ?(?:%|[$€£¥₹](?! ?\d)|(?:usd|eur|gbp|dollars|euros|pounds|percent)\b)",
        r"(?<![\w@/.-])(?=[\w./-]*[a-z])(?=[\w./-]*\d)\w+(?:[-_./]\w+)*",
        r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b",
        rf"(?<![\w.,:/$€£¥₹-])(?:{_NUM})(?![\w:/%-]|[.,]\d)",
    )
)


_LIST_NUMBER = re.compile(r"^\s*\d{1,3}[.)]\s", re.MULTILINE)  # "1. First leg": formatting, not a number


def identifiers(text: str) -> set[str]:
    """Return the normalised values in *text*; a value inside a longer one (27 in "May 27") is not one of its own."""
    text = _LIST_NUMBER.sub("", text)
    found: set[str] = set()
    taken = [False] * len(text)
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            if any(taken[match.start() : match.end()]):
                continue
            taken[match.start() : match.end()] = [True] * (match.end() - match.start())
            found.add(normalised(match[0]))
    return found


def normalised(value: str) -> str:
    """Return *value* in lower case, single blanks, no thousands' commas, ordinal endings or closing marks."""
    plain = " ".join(value.casefold().split()).rstrip(".,;:!?")
    plain = re.sub(r"(?<=\d) (?=[ap]\.?m\b|%)|(?<=[$€£¥₹]) (?=\d)", "", plain)
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain)
    return re.sub(r"(?<=\d)(?:st|nd|rd|th)\b", "", plain)


def kept(value: str, context: str) -> bool:
    """Tell whether *value* (of `identifiers`) stands in *context* (passed through `normalised`), as a whole token."""
    return re.search(rf"(?<![\d]){re.escape(value)}(?![\d])", context) is not None
