"""Texts as they are stored: versioned JSON, redacted and sealed where the user says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenwise_core.errors import BadInput

VERSION = 1
"""The format of stored JSON; what a newer release wrote in another one is absent here, and left alone."""
_SEALED = b"\x01"
"""The first byte of a sealed text; JSON begins with a brace."""


class DamagedError(Exception):
    """A stored row does not hold what it should; it is treated as absent."""


class ForeignError(Exception):
    """A stored row is not for us to read (sealed with another key, written in a newer format): absent, but kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How texts are written. *redact* takes out what must not be kept; it cannot be undone, and is what is read.

    *seal* and *unseal* (given together) encrypt and decrypt: then nothing of a text stands readable in the store.
    Names (of namespaces, tags, sessions, users: what `purge` goes by), times, counts and vectors do: hash names that
    are secret, and know that a vector betrays roughly what its text was about.

    >>> from cryptography.fernet import Fernet
    >>> box = Fernet(key)
    >>> Codec(seal=box.encrypt, unseal=box.decrypt)
    """

    redact: Callable[[str], str] | None = None
    seal: Callable[[bytes], bytes] | None = None
    unseal: Callable[[bytes], bytes] | None = None

    def __post_init__(self) -> None:
        if (self.seal is None) != (self.unseal is None):
            raise BadInput("seal and unseal are given together, or neither")

    def write(self, data: Mapping[str, Any]) -> bytes:
        """Return *data* as versioned JSON, sealed."""
        body = to_json({"v": VERSION, **data})
        return body if self.seal is None else _SEALED + self.seal(body)

    def opened(self, body: bytes) -> str:
        """Return what stands in *body* as text, unsealed; raise `DamagedError` or `ForeignError`."""
        return _text(self._unsealed(bytes(body[1:])) if body[:1] == _SEALED else body)

    def read(self, body: bytes) -> dict[str, Any]:
        """Return what `write` was given; raise `DamagedError` or `ForeignError`."""
        return self.parsed(self.opened(body))

    @staticmethod
    def parsed(text: str) -> dict[str, Any]:
        """Return what `write` was given, of text that was `opened`; raise `DamagedError` or `ForeignError`."""
        data = _from_text(text)
        if type(data) is not dict or type(data.get("v")) is not int:
            raise DamagedError("no version")
        if data["v"] != VERSION:
            raise ForeignError(f"format {data['v']}")
        return data

    def _unsealed(self, body: bytes) -> bytes:
        if self.unseal is None:
            raise ForeignError("sealed, and no unseal was given")
        try:
            return self.unseal(body)
        except Exception as error:  # the user's function: any error means that it is not sealed with our key
            raise ForeignError("cannot be unsealed") from error

    def redacted(self, value: Any) -> Any:
        """Return JSON with all its texts redacted (keys of objects are names, and stay)."""
        if self.redact is None:
            return value
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Mapping):
            return {name: self.redacted(content) for name, content in value.items()}
        if isinstance(value, list | tuple):
            return [self.redacted(content) for content in value]
        return value

    def redacted_reading(self, value: Any, *, of: str | None) -> Any:
        """Return what was read of the text *of*, redacted with it.

        A redaction that spans words does not see them one by one: where the text changed, what no longer stands in it
        is taken out of the lists, and a text that no longer does is emptied.
        """
        if self.redact is None or of is None:
            return value
        left = self.redact(of)
        plain = self.redacted(value)
        return plain if left == of else _only_within(plain, left.casefold())


def to_json(value: Any) -> bytes:
    """Return compact JSON; raise `BadInput` where *value* is none (a NaN, an object of another kind)."""
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"only JSON can be stored: {error}") from error
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: escaped, it comes back as it was
        return json.dumps(value, separators=(",", ":")).encode()


def from_json(body: bytes) -> Any:
    """Read what `to_json` wrote; raise `DamagedError` where it is no JSON."""
    return _from_text(_text(body))


def _text(body: bytes) -> str:
    try:
        return str(body, "utf-8")
    except ValueError as error:
        raise DamagedError("no JSON") from error


def _from_text(text: str) -> Any:
    try:
        data, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError("no JSON") from error
    if end != len(text):
        raise DamagedError("more than JSON")
    return data


def _only_within(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return value if value.casefold() in text else ""
    if isinstance(value, Mapping):
        return {name: _only_within(content, text) for name, content in value.items()}
    if isinstance(value, list):
        return [_only_within(item, text) for item in value if not isinstance(item, str) or item.casefold() in text]
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse)  # made once: `json.loads` with an argument makes one a call
