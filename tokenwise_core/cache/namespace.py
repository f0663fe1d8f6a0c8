"""Whose answers may be shared with whom: chosen by the user, and closed where the choice cannot be made."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from tokenwise_core.errors import BadInput
from tokenwise_core.scoping import Scope, current_scope

log = logging.getLogger("tokenwise.cache")

SHARED = "shared"
_NOBODY = re.compile(r"(?<!\w)None(?!\w)")
"""What a name that nobody gave leaves in an f-string: `f"{s.application}/{s.user}"` without a user is no namespace."""
Namespace = str | Callable[[Scope], str | None]


class Namespaces:
    """Tells the namespace of the call at hand; None = no cache for this call.

    A string is one namespace for all calls; a callable is asked with the scope in force (`lambda s: s.user`), and where
    it returns nothing, or fails, the call has no cache: a scope that got lost never falls back to a shared namespace,
    nor to one that is called "None".
    """

    def __init__(self, namespace: Namespace | None, *, shared: bool) -> None:
        if (namespace is None) is not shared:
            raise BadInput(
                "choose whose answers may be shared: namespace='…' or namespace=lambda scope: scope.user, "
                "or shared=True for all users of this store (one of the two)"
            )
        if isinstance(namespace, str) and not namespace.strip():
            raise BadInput("namespace='' names nothing: give a name, a callable of the scope, or shared=True")
        self._namespace: Namespace = SHARED if namespace is None else namespace
        self._prefix = "" if shared else "ns/"  # a namespace of the user's is never the shared one, whatever its name
        self._has_warned = False

    def current(self) -> str | None:
        """Return the namespace in force here."""
        if isinstance(self._namespace, str):
            return self._prefix + self._namespace
        try:
            name = self._namespace(current_scope())
        except Exception as error:
            if not self._has_warned:
                self._has_warned = True
                log.warning(
                    "the cache's namespace could not be told (%s): no cache for such calls", type(error).__name__
                )
            return None
        if not isinstance(name, str) or not name.strip() or _NOBODY.search(name):
            return None
        return self.name(name)

    def name(self, namespace: str) -> str:
        """Return the name under which *namespace* is stored."""
        return self._prefix + namespace
