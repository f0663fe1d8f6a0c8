"""Single values in plain text: addresses, paths, dates, times, amounts, identifiers, numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

ValueKind = Literal["url", "email", "path", "date", "time", "amount", "identifier", "number"]
Found = tuple[int, int, ValueKind]
"""Characters [start, end) and what they are."""

# A telephone number, with its blanks: in pieces it would be three numbers of nothing.
_PHONE = re.compile(
    r"(?P<identifier>(?<![\w.,-])(?:\+\d{1,3}(?:[ -]?\(?\d{2,5}\)?){2,5}|\(\d{3}\) ?\d{3}[- ]\d{4}"
    r"|\d{3}-\d{3}-\d{4})(?![\w-]))"
)
# A code of letters only looks like shouting, but for what stands before it.
_CAPITALS = re.compile(r"[A-Z]{4,}")
_NAMED_CODE = re.compile(
    r"\b(?i:id|code|ref|reference|reservation|booking|confirmation|order|ticket|case|pnr|number)s?[.:#* ]{1,5}(?:is )?"
    r"(?P<identifier>\b[A-Z]{4,12}\b)(?![\w-])"
)
_URL = re.compile(r"\b(?P<url>(?:[a-z][a-z0-9+.-]{1,12}://|www\.)[^\s<>\"'`\])}]*[^\s<>\"'`\])}.,;:!?*])")
_EMAIL = re.compile(r"(?P<email>\b[\w.+%-]+@[\w-]+(?:\.[\w-]+)+)")

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)(?![a-z])(?:\.(?= \d))?"
)
_DAY = r"[0-3]?\d(?:st|nd|rd|th)?(?:[-\u2013][0-3]?\d)?(?![\w:%]|[.,]\d)"
_YEAR = r"(?:(?:1[5-9]|20)\d\d(?!\w)|'\d\d(?!\w))"
_NUMBER = r"\d+(?:[.,\u2019']\d+)*"
_SCALE = r"(?:[km]\b|bn\b| ?(?:thousand|million|billion)\b)"
_SIGN = r"[$€£¥₹₽₩₪₺]"
_CURRENCY = r"(?:usd|eur|gbp|jpy|chf|cad|aud|cny|inr|sek|nok|dkk|pln|brl|mxn|krw)"
_NOT_COUNTED = r"(?! (?:was|is|has|as|does|its|this|thus|plus|minus|versus|always|sometimes|perhaps|across|us|yes)\b)"
_COUNTED = r"[- \u2010](?:[a-z]+s|people|children|men|women|feet|km|kg|kb|[kmgt]i?b|min|ms)\b"
_TAIL_YEAR = rf"(?:,? {_YEAR})?"
# What may hold blanks is read before single words are. Alternatives stand in the order of their precedence.
_DATE = (
    rf"\d{{4}}-\d\d-\d\d(?:[t ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:z|[+-]\d\d:?\d\d)?)?(?!\w)"
    rf"|{_MONTH} (?:{_DAY}{_TAIL_YEAR}|(?:of )?{_YEAR})"
    rf"|[0-3]?\d(?:st|nd|rd|th)?(?:[-\u2013][0-3]?\d)?(?: of)?[ -]{_MONTH}(?:-{_YEAR}|{_TAIL_YEAR})"
    rf"|\d{{1,2}}[/.]\d{{1,2}}[/.](?:\d{{4}}|\d\d)(?![\w.])|q[1-4] {_YEAR}"
)
_TIME = (
    r"[0-2]?\d(?:[:.][0-5]\d(?::[0-5]\d)?)? ?[ap](?:m\b|\.m\.)"
    r"|[0-2]?\d:[0-5]\d(?::[0-5]\d)?(?:\.\d+)?(?![\w:])"
)
_AMOUNT = (
    rf"{_SIGN} ?{_NUMBER}{_SCALE}?|{_CURRENCY} ?{_NUMBER}{_SCALE}?"
    rf"|{_NUMBER}{_SCALE}? ?(?:{_SIGN}(?! ?\d)|[%‰]|{_CURRENCY}\b|per ?cent\b)|{_NUMBER}{_SCALE}"
    rf"|{_NUMBER}{_NOT_COUNTED}{_COUNTED}"
)
_PHRASE = re.compile(
    r"(?:(?<![\w.,/#:$€£-])(?=[\djfmasondqueigcpbk])|(?<![\w$€£])(?=[$€£¥₹₽₩₪₺]))"
    rf"(?:(?P<date>{_DATE})|(?P<time>{_TIME})|(?P<amount>{_AMOUNT}))",
    re.IGNORECASE,
)
_LIST_NUMBER = re.compile(r"(?m)^[ \t]*\d{1,3}[.)](?=\s)")

# Then words that hold a digit, a mark or a capital inside; a comma belongs to a word only between digits.
_BETWEEN = r"\s\"'`<>(){}\[\];|=*,"
_WORD = re.compile(rf"(?<![^{_BETWEEN}])[^{_BETWEEN}]*?(?:\d|[@/\\_.#-]\w|[a-z][A-Z])(?:[^{_BETWEEN}]|(?<=\d),(?=\d))*")
_EDGES = ".:!?-_~^&+\u2013\u2014\u2026"
_ROOTED = re.compile(r"(?:~|\.{1,2}|[A-Za-z]:|\\)?[/\\][\w.@%+~-]+(?:[/\\][\w.@%+~-]*)*")
_FILE = re.compile(
    r"(?:[\w.@+-]+[/\\])*[\w@+-][\w.@+-]*\.(?:py|js|tsx?|jsx|jsonl?|ya?ml|toml|md|txt|[ct]sv|pdf|docx?|xlsx?|pptx?"
    r"|png|jpe?g|gif|svg|html?|css|sql|sh|log|ini|cfg|conf|env|lock|xml|zip|gz|tar|go|rs|java|kt|[ch]|[ch]pp|cs|rb|php"
    r"|swift|ipynb|parquet|mp[34]|wav|exe|dll|so|db|sqlite3?)(?::\d+(?::\d+)?)?"
)
_NESTED = re.compile(r"(?:[\w.-]+/){2,}[\w.-]*")
_PLAIN_NUMBER = re.compile(rf"[-+\u2212]?{_NUMBER}(?:st|nd|rd|th|s)?|{_NUMBER}[/:x-]{_NUMBER}")
_MEASURE = re.compile(rf"[-+\u2212]?{_NUMBER}[-\u2010]?[A-Za-zµ°]{{1,3}}|{_NUMBER}-[a-z-]+")
_CODE_NAME = re.compile(
    r"#\d+|@[A-Za-z]\w+|--[a-z][\w-]+|\w*[^\W_]_[^\W_].*|(?:[a-z_]{2,}\w*\.)+[a-z_]{2,}\w*(?:\(\))?|.*[a-z][A-Z].*"
    r"|(?=.*\d)(?=.*[^\W\d_]).*|\d+(?:[-.:/]\d+)+|[A-Z]{2,}(?:-[A-Z]{2,})+"
)
_SURNAME = re.compile(r"Mac[A-Z]|Mc[A-Z]|De[A-Z]|La[A-Z]|Le[A-Z]|O'[A-Z]")
_PART = re.compile(r"[^/\\:]+")


def values(text: str) -> Iterator[Found]:
    """Yield the values of *text*, phrases first; none overlaps another. The numbers of a list are no values."""
    found: list[Found] = []
    if "://" in text or "www." in text:
        text = _taken(text, _URL, found)
    if "@" in text:
        text = _taken(text, _EMAIL, found)
    if not text.isascii() or any(digit in text for digit in "0123456789"):
        text = _LIST_NUMBER.sub(_blank, text)
        text = _taken(_taken(text, _PHONE, found), _PHRASE, found)
    if _CAPITALS.search(text):
        text = _taken(text, _NAMED_CODE, found)
    yield from found
    for match in _WORD.finditer(text):
        yield from _read_word(match[0], match.start())


def _taken(text: str, pattern: re.Pattern[str], found: list[Found]) -> str:
    """Add what *pattern* finds, and return *text* with blanks in its place."""

    def take(match: re.Match[str]) -> str:
        kind: ValueKind = match.lastgroup  # type: ignore[assignment]  # the groups bear the names of kinds
        start, end = match.span(kind)
        found.append((start, end, kind))
        return text[match.start() : start] + " " * (end - start) + text[end : match.end()]

    return pattern.sub(take, text)


def _blank(match: re.Match[str]) -> str:
    return " " * (match.end() - match.start())


def _read_word(word: str, start: int) -> Iterator[Found]:
    """Tell what a word is; one that joins several by slashes or colons is read part by part."""
    bare = word.rstrip(_EDGES)
    kept = bare if bare.startswith(("./", "../", "--")) else bare.lstrip(_EDGES.replace("~", ""))
    if kept != bare and bare[len(bare) - len(kept) - 1] == "-" and kept[:1].isdigit():
        kept = f"-{kept}"  # a minus is part of its number
    start += len(bare) - len(kept)
    kind = _kind(kept) if kept else None
    if kind is not None:
        yield start, start + len(kept), kind
        return
    for part in _PART.finditer(kept):
        if part[0] != kept:
            yield from _read_word(part[0], start + part.start())


def _kind(word: str) -> ValueKind | None:
    if _PLAIN_NUMBER.fullmatch(word):
        return "number"
    if "/" in word or "\\" in word:
        is_path = _FILE.fullmatch(word) or _NESTED.fullmatch(word) or (len(word) > 2 and _ROOTED.fullmatch(word))
        return "path" if is_path else None
    if _MEASURE.fullmatch(word):
        return "amount"
    if _FILE.fullmatch(word):
        return "path"
    if ":" in word and not re.search(r"\d:\d|::", word):
        return None
    return "identifier" if _CODE_NAME.fullmatch(word) and not _SURNAME.match(word) else None
