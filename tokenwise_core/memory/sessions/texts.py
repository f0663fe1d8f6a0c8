"""Texts of sessions as they are stored."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.memory.sessions.protocol import LogItem, Owner
from tokenwise_core.storage.codec import Codec, DamagedError, ForeignError
from tokenwise_core.storage.names import restored, storable

log = logging.getLogger("tokenwise.memory")
T = TypeVar("T")


class Texts:
    """Writes and reads JSON objects by a codec; counts what cannot be read, and says so in the log once."""

    def __init__(self, codec: Codec | None, *, url: str) -> None:
        self.codec = codec or Codec()
        self.unreadable = 0
        self._url = url

    def write(self, data: Mapping[str, Any] | str) -> bytes:
        """Return *data* redacted and sealed; raise `BadInput` where it is no JSON, `StoreError` where a hook fails."""
        try:
            return self.codec.write({"data": self.codec.redacted(data if isinstance(data, str) else dict(data))})
        except BadInput:
            raise
        except Exception as error:  # the user's function; what it could not redact is not stored
            raise StoreError(f"{self._url}: redact or seal failed: {type(error).__name__}", url=self._url) from error

    def read(self, body: Any) -> dict[str, Any] | None:
        """Return the object that `write` was given, None where it cannot be read."""
        return self._read(body, dict)

    def read_text(self, body: Any) -> str | None:
        """Return the text that `write` was given, None where it cannot be read."""
        return self._read(body, str)

    def is_damaged(self, body: Any) -> bool:
        """Say whether the object in *body* is of no use to anybody, and not only not for us to read."""
        try:
            return type(self.codec.read(body).get("data")) is not dict
        except ForeignError:
            return False
        except (DamagedError, TypeError):
            return True

    def _read(self, body: Any, kind: type[T]) -> T | None:
        try:
            data = self.codec.read(body).get("data")
        except (DamagedError, ForeignError, TypeError) as error:  # TypeError: a text in place of bytes
            self._skip(type(error).__name__)
            return None
        if isinstance(data, kind):
            return data
        self._skip("of another kind")
        return None

    def _skip(self, reason: str) -> None:
        self.unreadable += 1
        if self.unreadable == 1:
            log.warning("%s holds rows that cannot be read (%s): left out", self._url, reason)


def encoded(items: Sequence[LogItem], texts: Texts) -> dict[str, tuple[bytes, float]]:
    """Return items by id as they are stored, the first of each id."""
    found: dict[str, tuple[bytes, float]] = {}
    for item in items:
        name = storable(item.id)
        if name not in found:
            found[name] = (texts.write(item.data), float(item.at))
    return found


def stored_owner(owner: Owner | None) -> tuple[str, str] | None:
    """Return the names of an owner as they are stored; None for nobody."""
    if owner is None or not (owner.application or owner.user):
        return None
    return storable(owner.application or ""), storable(owner.user or "")


def new_epoch(before: int = 0) -> int:
    """Return a number that no earlier log of the session can have had; by the real clock, whichever is injected."""
    return max(before + 1, time.time_ns() // 1000)


def read_owner(application: str, user: str) -> Owner:
    """Undo `stored_owner`."""
    return Owner(application=restored(application) or None, user=restored(user) or None)


DERIVED = "|"
"""Stands between a session's name and what derives from it: a graph below the outermost, a block of a memory."""


class PurgeQuery(NamedTuple):
    """Which sessions to forget: those that match everything that is not None; names as they are stored."""

    session: str | None
    application: str | None
    user: str | None
    before: float | None


def purge_query(*, session: str | None, user: str | None, application: str | None, before: float | None) -> PurgeQuery:
    """Return what to purge; raise `BadInput` where nothing is named."""
    query = PurgeQuery(
        session=None if session is None else storable(session),
        application=None if application is None else storable(application),
        user=None if user is None else storable(user),
        before=before,
    )
    if not any(value is not None for value in query):
        raise BadInput("purge needs a session, a user, an application or a time before which sessions are old")
    if "" in (query.application, query.user):
        raise BadInput("purge needs a user or an application with a name")
    return query
