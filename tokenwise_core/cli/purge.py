"""`tokenwise purge`: delete what the usage store and the cache hold of a user, a session or an application."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from tokenwise_core.cache.entries import Entries
from tokenwise_core.cli.arguments import Parser
from tokenwise_core.cli.cache_purge import OWNERS, counted_entries, owned_by
from tokenwise_core.cli.caches import find_cache
from tokenwise_core.cli.confirm import confirm
from tokenwise_core.cli.stores import existing_store
from tokenwise_core.cli.terminal import show
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.store import Query, Store


def add_arguments(parser: Parser) -> None:
    """Declare the command's arguments."""
    for name in OWNERS:
        parser.add_argument(f"--{name}", metavar="NAME", help=f"what is stored about this {name}")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_cache()


def run(arguments: argparse.Namespace) -> int:
    """Delete from every table what matches all names that are given."""
    names = {name: value for name in OWNERS if (value := getattr(arguments, name)) is not None}
    if not names:
        raise BadInput("purge needs --user, --session or --application")
    with ExitStack() as stack:
        cache = find_cache(arguments.cache)
        if cache is None and arguments.cache is not None:
            raise BadInput(f"there is no cache at {arguments.cache}")
        if cache is not None:
            stack.callback(cache.close)
        store = _store(stack, arguments.store, needed=cache is None)
        _purge(store, cache, names, asks=not arguments.yes)
    return 0


def _store(stack: ExitStack, url: str | None, *, needed: bool) -> Store | None:
    """Return the usage store; None where there is none, nobody named one, and there is a cache."""
    try:
        return stack.enter_context(existing_store(url))
    except BadInput:
        if needed or url is not None:
            raise
        return None


def _purge(store: Store | None, cache: Entries | None, names: dict[str, str], *, asks: bool) -> None:
    """Delete from both, after asking once."""
    who = owned_by(names)
    n = 0 if store is None else _calls(store, names)
    calls = "1 call" if n == 1 else f"{n:,} calls"
    places = [f"{calls} of {who} from {store.url}"] if store is not None and n else []
    if cache is not None:
        places.append(f"what {cache.url} holds {'of them' if places else f'of {who}'}")
    if places and asks:
        confirm(" and ".join(places))
    if store is not None:
        store.purge(**names)
    entries = 0 if cache is None else cache.purge(**names)
    deleted = [text for text, some in ((calls, n), (f"{counted_entries(entries)} of the cache", entries)) if some]
    if deleted:
        show(f"deleted {' and '.join(deleted)}, of {who}" if entries else f"deleted {calls} of {who}")
    else:
        show(f"no calls {'' if cache is None else 'and no entries '}of {who} are stored: nothing was deleted")


def _calls(store: Store, names: dict[str, str]) -> int:
    query = Query(user=names.get("user"), session=names.get("session"), application=names.get("application"))
    return sum(row.totals.calls for row in store.totals(query))
