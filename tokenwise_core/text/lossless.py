"""Shorten a text without losing what it says: terminal codes, blanks, repeated lines, the white space of JSON.

`tidied` does all of it, and what it returns it leaves as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import groupby

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_OVERWRITTEN = re.compile(r"^(?:[^\r\n]*\r+)+(?=[^\r\n])", re.MULTILINE)  # a progress bar: its last state stays
_EMPTY_LINES = re.compile(r"\n{3,}")
_STRING_OR_SPACE = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")|\s+')
_TIMES = re.compile(r"(.*) \[×(\d+)\]", re.DOTALL)
# A run of base64 is long, without blanks, and hardly one of its characters in thirty is a slash or a plus.
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.-]+)*;base64,([A-Za-z0-9+/_-]{200,}={0,2})")
_BASE64 = re.compile(
    r"(?<![\w+/=-])(?:[A-Za-z0-9+/]{200,}|(?:[A-Za-z0-9+/]{60,76}(?:\r?\n|\\n)){3,}[A-Za-z0-9+/]*)={0,2}(?![\w+/=-])"
)

NameBytes = Callable[[int, str], str]
"""Size in bytes and media type (or "") to what stands in the place of the data."""


def tidied(text: str, *, name_bytes: NameBytes | None = None) -> str:
    """Return *text* shortened without loss; valid JSON stays valid JSON with the same values.

    Binary data in base64 is replaced by its size where *name_bytes* is given: that alone loses something.
    """
    while len(shorter := _once(text, name_bytes)) < len(text):
        text = shorter
    return text


def minified(text: str) -> str | None:
    """Return JSON without the white space between its tokens, every character of its values kept; None if not JSON."""
    if not is_json(text):
        return None
    return _STRING_OR_SPACE.sub(lambda match: match[1] or "", text)


def is_json(text: str) -> bool:
    """Tell whether *text* is one JSON object or array."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def collapsed(text: str) -> str:
    """Return *text* with equal lines in a row as one line with their number, where that is shorter."""
    lines: list[str] = []
    for line, run in groupby(text.split("\n"), key=_content):
        whole = list(run)
        times = sum(_times(one) for one in whole)
        short = f"{line} [×{times}]"
        lines += [short] if line and len(whole) > 1 and len(short) < sum(map(len, whole)) + len(whole) - 1 else whole
    return "\n".join(lines)


def _once(text: str, name_bytes: NameBytes | None) -> str:
    if name_bytes is not None:
        text = without_bytes(text, name_bytes)
    compact = minified(text)
    if compact is not None:
        return compact
    text = _ANSI.sub("", text).replace("\r\n", "\n")
    if "\r" in text:
        text = _OVERWRITTEN.sub("", text)
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return collapsed(_EMPTY_LINES.sub("\n\n", text)).strip("\n")


def without_bytes(text: str, name_bytes: NameBytes) -> str:
    """Return *text* with base64 data replaced by what *name_bytes* says of it."""
    if len(text) < 200:
        return text
    text = _DATA_URL.sub(lambda match: name_bytes(_size(match[2]), match[1] or ""), text)
    return _BASE64.sub(lambda match: name_bytes(_size(match[0]), "") if _looks_encoded(match[0]) else match[0], text)


def _looks_encoded(run: str) -> bool:
    has_all = any(map(str.isdigit, run)) and any(map(str.isupper, run)) and any(map(str.islower, run))
    return has_all and 30 * (run.count("/") + run.count("+")) < 4 * len(run)


def _size(encoded: str) -> int:
    return len(re.sub(r"\\n|[\s=]", "", encoded)) * 3 // 4


def _content(line: str) -> str:
    match = _TIMES.fullmatch(line)
    return match[1] if match else line


def _times(line: str) -> int:
    match = _TIMES.fullmatch(line)
    return int(match[2]) if match else 1
