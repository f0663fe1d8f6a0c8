"""The order of an agent's middleware: ours as core's stack orders levers, all others where they were put."""

from __future__ import annotations

from typing import TypeVar

from tokenwise_core.stack import ORDER

M = TypeVar("M")


def in_order(*middleware: M) -> list[M]:
    """Return *middleware* for `create_agent(middleware=…)` with ours in their one order, outermost first.

    The cache stands outside of memory: its key is what came in, and a hit leaves memory alone. Middleware of others
    keeps its place in the list: what edits the user's messages (PII) goes first, fallbacks and retries last.

    >>> agent = create_agent(model, middleware=in_order(pii, SummaryBufferMiddleware(), SemanticCacheMiddleware(cache)))
    """
    places = [at for at, one in enumerate(middleware) if getattr(one, "place", None) in ORDER]
    ours = sorted((middleware[at] for at in places), key=lambda one: ORDER.index(getattr(one, "place", "")))
    ordered = list(middleware)
    for at, one in zip(places, ours, strict=True):
        ordered[at] = one
    return ordered
