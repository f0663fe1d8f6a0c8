"""Whose an entry, a hit record or a state is: what `purge` goes by."""

from __future__ import annotations

from typing import NamedTuple

from tokenwise_core.errors import BadInput
from tokenwise_core.scoping import Scope
from tokenwise_core.storage.names import storable


class Owner(NamedTuple):
    """The names under which data is purged; None where nobody said. In the order of the columns."""

    application: str | None = None
    session: str | None = None
    user: str | None = None

    @classmethod
    def of(cls, scope: Scope | None) -> Owner:
        """Return the names of *scope* as they are stored."""
        if scope is None:
            return cls()
        return cls(*(None if n is None else storable(n) for n in (scope.application, scope.session, scope.user)))

    def owns(self, other: Owner) -> bool:
        """Say whether *other* carries all the names that are given here."""
        return all(mine in (None, theirs) for mine, theirs in zip(self, other, strict=True))


def owner_query(*, user: str | None, session: str | None, application: str | None) -> Owner:
    """Return whose data to purge; raise `BadInput` where nobody is named (`clear` deletes everything)."""
    wanted = Owner.of(Scope(user=user, session=session, application=application))
    if not any(name is not None for name in wanted):
        raise BadInput("purge needs a user, a session or an application; clear() deletes everything")
    return wanted
