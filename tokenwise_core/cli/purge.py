"""`tokenwise purge`: delete what usage store, cache and sessions hold of a user, a session or an application."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from tokenwise_core.cache.entries import Entries
from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.cache_purge import OWNERS, counted_entries, owned_by
from tokenwise_core.cli.caches import find_cache
from tokenwise_core.cli.confirm import confirm
from tokenwise_core.cli.session_stores import counted_sessions, find_sessions
from tokenwise_core.cli.stores import existing_store
from tokenwise_core.cli.terminal import show
from tokenwise_core.errors import BadInput
from tokenwise_core.memory.sessions import Sessions
from tokenwise_core.usage.store import Query, Store

Kept = TypeVar("Kept", Entries, Sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """The stores that are there."""

    store: Store | None
    cache: Entries | None
    sessions: Sessions | None


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    for name in OWNERS:
        parser.add_argument(f"--{name}", metavar="NAME", help=f"what is stored about this {name}")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_cache()
    parser.add_sessions()


def run(arguments: argparse.Namespace) -> int:
    """Delete from every table what matches all names that are given."""
    names = {name: value for name in OWNERS if (value := getattr(arguments, name)) is not None}
    if not names:
        raise BadInput("purge needs --user, --session or --application")
    with ExitStack() as stack:
        cache = _named(stack, find_cache, arguments.cache, "is no cache")
        sessions = _named(stack, find_sessions, arguments.sessions, "are no sessions")
        store = _store(stack, arguments.store, needed=cache is None and sessions is None)
        _purge(_Places(store=store, cache=cache, sessions=sessions), names, asks=not arguments.yes)
    return 0


def _named(stack: ExitStack, find: Callable[[str | None], Kept | None], url: str | None, absent: str) -> Kept | None:
    """Return what is found; what somebody named must be there."""
    found = find(url)
    if found is not None:
        stack.callback(found.close)
    elif url is not None:
        raise BadInput(f"there {absent} at {url}")
    return found


def _store(stack: ExitStack, url: str | None, *, needed: bool) -> Store | None:
    """Return the usage store; None where there is none, nobody named one, and there is something else."""
    try:
        return stack.enter_context(existing_store(url))
    except BadInput:
        if needed or url is not None:
            raise
        return None


def _purge(places: _Places, names: dict[str, str], *, asks: bool) -> None:
    """Delete from all, after asking once."""
    who = owned_by(names)
    n = 0 if places.store is None else _calls(places.store, names)
    calls = "1 call" if n == 1 else f"{n:,} calls"
    at_stake = list(_at_stake(places, f"{calls} of {who}" if n else "", who))
    if at_stake and asks:
        confirm(" and ".join(at_stake))
    if places.store is not None:
        places.store.purge(**names)
    entries = 0 if places.cache is None else places.cache.purge(**names)
    sessions = 0 if places.sessions is None else places.sessions.purge(before=None, **names)
    counted = (
        (calls, n),
        (f"{counted_entries(entries)} of the cache", entries),
        (counted_sessions(sessions), sessions),
    )
    deleted = [text for text, some in counted if some]
    if deleted:
        show(f"deleted {listed(deleted)}{',' if entries or sessions else ''} of {who}")
    else:
        kinds = [
            "no calls",
            *["no entries"] * (places.cache is not None),
            *["no sessions"] * (places.sessions is not None),
        ]
        show(f"{listed(kinds)} of {who} are stored: nothing was deleted")


def listed(texts: list[str]) -> str:
    """Return texts as people list them."""
    return " and ".join([*([", ".join(texts[:-1])] if texts[1:] else []), *texts[-1:]])


def _at_stake(places: _Places, calls: str, who: str) -> Iterator[str]:
    """Tell what would be deleted, by place."""
    if places.store is not None and calls:
        yield f"{calls} from {places.store.url}"
    others = [place.url for place in (places.cache, places.sessions) if place is not None]
    if others:
        yield f"what {' and '.join(others)} {'hold' if others[1:] else 'holds'} of {'them' if calls else who}"


def _calls(store: Store, names: dict[str, str]) -> int:
    query = Query(user=names.get("user"), session=names.get("session"), application=names.get("application"))
    return sum(row.totals.calls for row in store.totals(query))
