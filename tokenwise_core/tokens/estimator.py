"""Tokens of a text without any tokeniser: what is used until a BPE file is found, and marked as an estimate."""

from __future__ import annotations

import re

_PIECES = re.compile(
    r"(?P<latin>[A-Za-z]+)|(?P<digits>\d+)|(?P<wide>[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+)"
    r"|(?P<other>[^\W\d_]+)|(?P<newlines>\s*[\r\n]+)|(?P<spaces>[ \t]{2,})|(?P<marks>[^\s\w]+|_+)"
)


def estimate_tokens(text: str) -> int:
    """Return about as many tokens as o200k_base would give."""
    return len(text) // 4
