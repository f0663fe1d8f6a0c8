"""What every store of sessions does, and the values that go in and come out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tokenwise_core.errors import StoreError
from tokenwise_core.scoping import current_scope

TURN_TIMEOUT_S = 10.0
"""How long a turn waits for the one before it."""
TURN_LEASE_S = 5.0
"""After how long a turn counts as dead; what it may last at most. Ask no model inside a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose a session is: what `purge` goes by. Empty names are none."""

    application: str | None = None
    user: str | None = None


def owner_here() -> Owner:
    """Return whose session it is, by the scope in force."""
    scope = current_scope()
    return Owner(application=scope.application, user=scope.user)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogItem:
    """Something to append: *id* is unique in its session, *data* is a JSON object, *at* seconds since the epoch."""

    id: str
    data: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """An item of the log; *seq* rises in the order of appending and is never used twice, but may leave gaps."""

    seq: int
    id: str
    data: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What happened to a log since a reader last looked.

    *epoch* is another number after each `replace`, `clear` and purge, and after the loss of the file; then *replaced*
    is true and *rows* is the whole log, else what was appended. An unknown session has epoch 0.
    """

    epoch: int
    last_seq: int
    replaced: bool
    rows: tuple[LogRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredView:
    """What was derived from a log; *version* counts the times that it was saved."""

    version: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A session as a list shows it: counts and times, no text."""

    session: str
    items: int
    summaries: int
    originals: int
    owners: tuple[Owner, ...]
    created_at: float
    changed_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStats:
    """What a store holds; *pending* summaries are leased, *bytes* is the size of the texts as they are stored."""

    sessions: int
    items: int
    pending: int
    summaries: int
    originals: int
    bytes: int
    unreadable: int


class SessionBusy(StoreError):
    """Another turn of the session did not end in time; carries the session and how long it was waited for."""

    def __init__(self, *, session: str, waited_s: float, url: str) -> None:
        self.session, self.waited_s = session, waited_s
        super().__init__(f"{url}: another turn of session {session!r} has not ended within {waited_s:g} s", url=url)


@runtime_checkable
class Sessions(Protocol):
    """Logs of conversations with what is derived from them; thread-safe, and across processes where it is durable.

    What fails raises `StoreError`, and `BadInput` where it was given no JSON. Handles survive a fork, a pickle and a
    deep copy. A row that is damaged, of a newer format or sealed with another key is absent, counted in
    `stats().unreadable`, and left where it is, but for damaged views and summaries, which make room for new ones.
    """

    @property
    def url(self) -> str:
        """Where it is, without password."""
        ...

    # --- the log ----------------------------------------------------------------------------------------------------

    def append(self, session: str, items: Sequence[LogItem], *, owner: Owner | None = None) -> None:
        """Append what is not there yet by its id, in this order; once it returns, it is kept.

        A session may have several owners: each that is named is remembered.
        """
        ...

    def read(self, session: str, *, after: int = 0) -> list[LogRow]:
        """Return the items with a seq above *after*, in order."""
        ...

    def changes(self, session: str, *, after: int = 0, epoch: int = 0) -> Changes:
        """Return what is new to a reader who knows the log of *epoch* up to the seq *after*; one indexed read."""
        ...

    def length(self, session: str) -> int:
        """Return how many items the log has."""
        ...

    def replace(self, session: str, items: Sequence[LogItem], *, owner: Owner | None = None) -> None:
        """Put *items* in place of the whole log, at once; view, summaries and originals stay.

        Of several items with one id the first counts.
        """
        ...

    def clear(self, session: str) -> None:
        """Forget the session: its log, view, summaries, originals and owners."""
        ...

    # --- what is derived --------------------------------------------------------------------------------------------

    def view(self, session: str) -> StoredView | None:
        """Return the view that was saved last."""
        ...

    def save_view(self, session: str, data: Mapping[str, Any], *, expected: int, owner: Owner | None = None) -> bool:
        """Save *data* as version *expected* + 1; False, and nothing done, where the version is not *expected*.

        0 is the version of a view that is not there.
        """
        ...

    def lease(self, session: str, block: str, *, holder: str, seconds: float, owner: Owner | None = None) -> bool:
        """Say whether *holder* may summarise the block for *seconds*; a holder may renew its own lease.

        False where another holds an unexpired lease, or a summary is there.
        """
        ...

    def finish(self, session: str, block: str, holder: str, data: Mapping[str, Any]) -> bool:
        """Store the summary of a block and say whether it stands: only of who holds the lease, or once it has expired.

        Calling it again is no harm. False where the lease is gone (taken over, forgotten with its session), or
        somebody else's summary is there.
        """
        ...

    def release(self, session: str, block: str, holder: str) -> None:
        """Give up a lease, so that others need not wait for its end."""
        ...

    def results(self, session: str) -> dict[str, dict[str, Any]]:
        """Return the summaries that are there, by block."""
        ...

    def forget(self, session: str, blocks: Collection[str]) -> None:
        """Delete summaries and leases of *blocks*."""
        ...

    def keep(self, session: str, id: str, text: str, *, owner: Owner | None = None) -> None:
        """Keep the original of something that was shortened; the newest of one id counts."""
        ...

    def original(self, session: str, id: str) -> str | None:
        """Return what was kept under *id*."""
        ...

    # --- turns ------------------------------------------------------------------------------------------------------

    def turn(
        self, session: str, *, timeout_s: float = TURN_TIMEOUT_S, lease_s: float = TURN_LEASE_S
    ) -> AbstractContextManager[None]:
        """Let nobody else into a turn of this session meanwhile; raise `SessionBusy` past *timeout_s*.

        It is for reading, deciding and writing; who is killed inside it is in the way for *lease_s* at most. Turns do
        not nest. `append` needs none.
        """
        ...

    # --- looking after it -------------------------------------------------------------------------------------------

    def sessions(self, *, limit: int = 100, offset: int = 0) -> list[SessionInfo]:
        """Return sessions, the one that changed last first."""
        ...

    def purge(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        application: str | None = None,
        before: float | None = None,
    ) -> int:
        """Forget all sessions that match everything given, and return how many; nothing of them stays in the file.

        *session* is one with those that derive from it (`session|subgraph`, `session|block`). *user* and *application*
        must be one owner's. *before*: those that have not changed since then.
        """
        ...

    def stats(self) -> SessionStats:
        """Return what the store holds."""
        ...

    def close(self) -> None:
        """Close handles; the next use opens others."""
        ...
