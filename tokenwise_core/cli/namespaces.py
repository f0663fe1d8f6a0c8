"""Namespaces as people name them, and as they are stored (`cache.namespace.Namespaces`)."""

from __future__ import annotations

from tokenwise_core.cache.namespace import SHARED, Namespaces

SHOWN_SHARED = "(shared by all)"
_PREFIX = Namespaces("x", shared=False).name("")


def shown_namespace(stored: str) -> str:
    """Return a stored namespace as its user named it; what is no user's (`context/…`) stays as it is."""
    return SHOWN_SHARED if stored == SHARED else stored.removeprefix(_PREFIX)


def stored_namespace(named: str) -> str:
    """Return how a user's namespace is stored; one of ours can be named as it is stored."""
    return named if named.startswith("context/") else f"{_PREFIX}{named}"
