"""`tokenwise cache purge`: delete entries of the cache."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from tokenwise_core.cache.entries import Entries
from tokenwise_core.cache.namespace import SHARED
from tokenwise_core.cli.caches import existing_cache
from tokenwise_core.cli.confirm import confirm
from tokenwise_core.cli.namespaces import SHOWN_SHARED, shown_namespace, stored_namespace
from tokenwise_core.cli.terminal import show
from tokenwise_core.errors import BadInput

OWNERS = ("user", "session", "application")
_SWEPT = 1_000


def run(arguments: argparse.Namespace) -> int:
    """Delete what is named."""
    owners = {name: value for name in OWNERS if (value := getattr(arguments, name)) is not None}
    ways = [arguments.namespace is not None, arguments.shared, bool(owners), arguments.expired, arguments.all]
    if sum(ways) != 1:
        raise BadInput(
            "cache purge needs one of --namespace, --shared, --expired, --all, or --user, --session, --application "
            "(which may be given together)"
        )
    with existing_cache(arguments.cache) as entries:
        what, delete = _what(entries, arguments, owners)
        if not (arguments.yes or arguments.expired):  # what is dead is served to nobody
            confirm(f"{what} from {entries.url}")
        n = delete()
    show(f"deleted {counted_entries(n)}: {what}" if n else f"nothing was deleted: no {what.removeprefix('all ')}")
    return 0


def counted_entries(n: int) -> str:
    """Return a number of entries as people say it."""
    return "1 entry" if n == 1 else f"{n:,} entries"


def owned_by(owners: dict[str, str]) -> str:
    """Return whose data is meant."""
    return " and ".join(f"{name} {value!r}" for name, value in owners.items())


def _what(entries: Entries, arguments: argparse.Namespace, owners: dict[str, str]) -> tuple[str, Callable[[], int]]:
    """Return what is to be deleted, in words, and what deletes it."""
    if owners:
        return f"all entries of {owned_by(owners)}", lambda: entries.purge(**owners)
    if arguments.expired:
        return "expired or invalidated entries", lambda: _sweep(entries)
    if arguments.all:
        return "all entries", entries.clear
    stored = SHARED if arguments.shared else stored_namespace(arguments.namespace)
    _refuse_unknown(entries, stored)
    return f"all entries of namespace {shown_namespace(stored)!r}", lambda: entries.clear(namespace=stored)


def _refuse_unknown(entries: Entries, stored: str) -> None:
    known = [totals.namespace for totals in entries.totals()]
    if stored not in known:
        named = ", ".join(map(shown_namespace, known[:10])) or "none"
        asked = "nothing is shared" if stored == SHARED else f"no namespace {shown_namespace(stored)!r}"
        raise BadInput(f"{asked} in {entries.url}: it holds {named.replace(SHOWN_SHARED, '--shared')}")


def _sweep(entries: Entries) -> int:
    total = 0
    while n := entries.sweep(now=time.time(), limit=_SWEPT):
        total += n
    return total
