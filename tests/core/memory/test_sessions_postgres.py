"""Sessions in PostgreSQL: several processes, broken connections, purges beside writers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import make_url

from benchmarks.memory_sessions import crowd
from tests.postgres import postgres_server
from tests.sessions import emptied, make_item, sessions_database
from tokenwise_core.errors import StoreError, StoreTooNew
from tokenwise_core.memory.sessions import Owner, PostgresSessions

__all__ = ["postgres_server", "sessions_database"]  # fixtures

pytestmark = pytest.mark.postgres


@pytest.fixture
def sessions(sessions_database: str) -> Iterator[PostgresSessions]:
    opened = PostgresSessions(emptied(sessions_database))
    yield opened
    opened.close()


def test_two_processes_of_two_threads_killed_in_between_lose_and_double_nothing(sessions_database: str) -> None:
    found = crowd(emptied(sessions_database), turns=80, kills=2)
    assert (found.lost, found.doubled, found.overlapped, found.kills) == (0, 0, 0, 2)


def test_a_broken_connection_is_an_error_once(sessions: PostgresSessions, sessions_database: str) -> None:
    import psycopg

    sessions.append("s", [make_item(1)])
    with psycopg.connect(sessions_database, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(StoreError):
        sessions.append("s", [make_item(2)])
    sessions.append("s", [make_item(2)])  # what a retry does
    assert [row.id for row in sessions.read("s")] == ["m1", "m2"]


def test_purges_beside_writers_and_each_other_neither_hang_nor_leave_anything(sessions: PostgresSessions) -> None:
    def write(k: int) -> None:
        for i in range(60):
            name = f"s{i % 3}"
            sessions.append(name, [make_item(100 * k + i)], owner=Owner(user="u"))
            sessions.lease(name, str(i), holder="h", seconds=60)
            sessions.finish(name, str(i), "h", {})

    def purge(k: int) -> None:
        for _ in range(20):
            sessions.purge(user="u")

    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(work, k) for k, work in enumerate((write, write, write, purge, purge))]
        for job in jobs:
            job.result()
    sessions.purge(user="u")
    stats = sessions.stats()
    left = (stats.sessions, stats.items, stats.pending, stats.summaries)
    sessions.purge(before=1e12)  # a session that a lease began anew belongs to nobody
    stats = sessions.stats()
    assert left[1] == 0
    assert (stats.sessions, stats.items, stats.pending, stats.summaries, stats.originals) == (0, 0, 0, 0, 0)


def test_no_password_is_told(sessions_database: str) -> None:
    url = make_url(sessions_database).set(password="sesame", host="127.0.0.1", port=1, query={})
    with closing(PostgresSessions(url.render_as_string(hide_password=False))) as sessions:
        with pytest.raises(StoreError) as caught:
            sessions.length("s")
        assert "sesame" not in f"{caught.value} {caught.value.url} {sessions.url}"


def test_a_newer_release_that_broke_with_ours_is_named(sessions: PostgresSessions, sessions_database: str) -> None:
    import psycopg

    sessions.stats()
    with psycopg.connect(sessions_database, autocommit=True) as admin:
        admin.execute("INSERT INTO memory_schema_version VALUES (901, 'breaking')")
        try:
            with closing(PostgresSessions(sessions_database)) as other, pytest.raises(StoreTooNew) as caught:
                other.length("s")
        finally:
            admin.execute("DELETE FROM memory_schema_version WHERE version = 901")
    assert caught.value.url == sessions.url
