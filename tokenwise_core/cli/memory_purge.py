"""`tokenwise memory purge`: delete sessions."""

from __future__ import annotations

import argparse
import time

from tokenwise_core.cli.cache_purge import OWNERS, owned_by
from tokenwise_core.cli.confirm import confirm
from tokenwise_core.cli.session_stores import counted_sessions, existing_sessions
from tokenwise_core.cli.terminal import show
from tokenwise_core.errors import BadInput

_DAY_S = 86_400.0


def run(arguments: argparse.Namespace) -> int:
    """Delete the sessions that match everything given."""
    owners = {name: value for name in OWNERS if (value := getattr(arguments, name)) is not None}
    days: int | None = arguments.older_than
    if not owners and days is None:
        raise BadInput("memory purge needs --user, --session, --application or --older-than")
    whose = f" of {owned_by(owners)}" if owners else ""
    what = f"all sessions{whose}{'' if days is None else f' that have not changed for {days:,} days'}"
    with existing_sessions(arguments.sessions) as sessions:
        if not arguments.yes:
            confirm(f"{what} from {sessions.url}")
        n = sessions.purge(**owners, before=None if days is None else time.time() - days * _DAY_S)
    show(f"deleted {counted_sessions(n)}: {what}" if n else f"nothing was deleted: no {what.removeprefix('all ')}")
    return 0
