"""`tokenwise cache explain` and `feedback`: one served answer, looked back at from the outside."""

from __future__ import annotations

import argparse

from tokenwise_core.cache import SemanticCache
from tokenwise_core.cache.entries import Entries
from tokenwise_core.cache.entries.protocol import KEPT_HITS
from tokenwise_core.cli.caches import existing_cache
from tokenwise_core.cli.terminal import show
from tokenwise_core.errors import BadInput, StoreError, TokenwiseError


def run(arguments: argparse.Namespace) -> int:
    """Explain a hit, or take a person's word on it."""
    with existing_cache(arguments.cache) as entries:
        if entries.hit(arguments.hit_id) is None:
            raise _unread(arguments.hit_id, entries)
        # whose answers a cache shares, and its embedder, do not matter to who only looks back
        with SemanticCache(shared=True, entries=entries, embedder=None) as cache:
            if arguments.action == "explain":
                return _explain(cache, arguments.hit_id, entries)
            return _judge(cache, arguments.hit_id, entries, ok=arguments.ok)


def _unread(hit_id: str, entries: Entries) -> TokenwiseError:
    """Say why no hit could be read: it is not there, or it is and only the application can read it."""
    if not entries.unreadable:
        return BadInput(
            f"{entries.url} knows no hit {hit_id!r}: hits are written about a second after they were served, and the "
            f"last {KEPT_HITS:,} are kept"
        )
    return StoreError(
        f"{entries.url} holds the hit {hit_id!r}, but it cannot be read without the application's key (or it is "
        f"damaged): ask in the application, cache.explain({hit_id!r}) or cache.feedback({hit_id!r}, ok=False)",
        url=entries.url,
    )


def _explain(cache: SemanticCache, hit_id: str, entries: Entries) -> int:
    found = cache.explain(hit_id)
    if found is None:
        raise StoreError(f"{entries.url}: the hit could not be read", url=entries.url)
    show(*found.lines())
    return 0


def _judge(cache: SemanticCache, hit_id: str, entries: Entries, *, ok: bool) -> int:
    if not cache.feedback(hit_id, ok=ok):
        raise StoreError(f"{entries.url}: the feedback could not be written", url=entries.url)
    show("noted: the answer was right" if ok else "noted: the answer was wrong, and is not served again")
    return 0
