"""Names as databases can keep them."""

from __future__ import annotations

import json

_QUOTE = '"'


def storable(text: str) -> str:
    """Return *text* in a form that databases keep: with NUL or lone surrogates as a JSON string, else as it is."""
    if text.isascii() and "\0" not in text and text[:1] != _QUOTE:
        return text
    if "\0" not in text and text[:1] != _QUOTE:
        try:
            text.encode()
        except UnicodeEncodeError:
            return json.dumps(text)
        return text
    return json.dumps(text)


def restored(text: str) -> str:
    """Undo `storable`."""
    return str(json.loads(text)) if text[:1] == _QUOTE else text
