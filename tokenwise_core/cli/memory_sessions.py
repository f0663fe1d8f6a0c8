"""`tokenwise memory sessions` and `tokenwise memory show`: what is kept; what was said only where it is asked for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tokenwise_core.analytics.formats import rich_table
from tokenwise_core.analytics.notation import UNKNOWN, count, iso, moment
from tokenwise_core.analytics.tables import Table
from tokenwise_core.cli.session_stores import counted_sessions, existing_sessions
from tokenwise_core.cli.terminal import show, write
from tokenwise_core.errors import BadInput
from tokenwise_core.memory.sessions import LogRow, Owner, SessionInfo, Sessions

JSON_VERSION = 1


def run(arguments: argparse.Namespace) -> int:
    """Print a list of sessions, or one."""
    with existing_sessions(arguments.sessions) as sessions:
        if arguments.action == "show":
            _show(sessions, arguments.session, with_text=arguments.text, as_json=arguments.format == "json")
        else:
            _list(sessions, limit=arguments.limit, as_json=arguments.format == "json")
    return 0


def _list(sessions: Sessions, *, limit: int, as_json: bool) -> None:
    found, stats = sessions.sessions(limit=limit), sessions.stats()
    if as_json:
        listed = [_info_as_json(info) for info in found]
        data = {"version": JSON_VERSION, "url": sessions.url, "stats": asdict(stats), "sessions": listed}
        write(json.dumps(data, indent=2, ensure_ascii=False), None)
        return
    show(sessions.url)
    if not found:
        show("no sessions are kept")
        return
    show(rich_table(_listed(found)))
    if stats.sessions > len(found):
        show(f"{counted_sessions(stats.sessions)} are kept; --limit shows more")


def _listed(found: Sequence[SessionInfo]) -> Table:
    return Table(
        title="Sessions, the last changed first",
        columns=("session", "messages", "summaries waiting", "originals", "of", "begun", "changed"),
        rows=[
            (
                info.session, count(info.items), count(info.summaries), count(info.originals), _owners(info.owners),
                moment(info.created_at), moment(info.changed_at),
            )
            for info in found
        ],
    )  # fmt: skip


def _show(sessions: Sessions, name: str, *, with_text: bool, as_json: bool) -> None:
    rows, view, summaries = sessions.read(name), sessions.view(name), sessions.results(name)
    if not (rows or view or summaries):
        raise BadInput(f"there is no session {name!r} in {sessions.url}: `tokenwise memory sessions` lists them")
    if as_json:
        data = {
            "version": JSON_VERSION, "url": sessions.url, "session": name,
            "log": [_row_as_json(row, with_text=with_text) for row in rows],
            "view_version": None if view is None else view.version, "summaries": sorted(summaries),
            **({"view": None if view is None else view.data, "summary_data": summaries} if with_text else {}),
        }  # fmt: skip
        write(json.dumps(data, indent=2, ensure_ascii=False), None)
        return
    show(f"session {name!r} in {sessions.url}")
    if rows:
        show(rich_table(_log(rows, with_text=with_text)))
    show(f"view: {'none' if view is None else f'version {view.version:,}'}")
    show(f"summaries that wait to be used: {len(summaries):,}")
    if with_text and view is not None:
        show(_compact(view.data))


def _log(rows: Sequence[LogRow], *, with_text: bool) -> Table:
    return Table(
        title="Log",
        columns=("seq", "at", "role", "id", "characters", *(("data",) if with_text else ())),
        rows=[
            (
                count(row.seq), moment(row.at), _role(row.data), row.id, count(len(_compact(row.data))),
                *((_compact(row.data),) if with_text else ()),
            )
            for row in rows
        ],
    )  # fmt: skip


def _role(data: Mapping[str, Any]) -> str:
    role = data.get("role", data.get("type"))
    return role if isinstance(role, str) else UNKNOWN


def _compact(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _owners(owners: Sequence[Owner]) -> str:
    names = [" / ".join(name for name in (owner.application, owner.user) if name) for owner in owners]
    return ", ".join(names) or UNKNOWN


def _info_as_json(info: SessionInfo) -> dict[str, Any]:
    return {**asdict(info), "created_at": iso(info.created_at), "changed_at": iso(info.changed_at)}


def _row_as_json(row: LogRow, *, with_text: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"seq": row.seq, "id": row.id, "at": iso(row.at), "role": _role(row.data)}
    return {**found, "data": row.data} if with_text else found
