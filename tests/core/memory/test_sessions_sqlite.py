"""The SQLite file of sessions: other processes, kills, lost and damaged files, what stands in the bytes."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory_sessions import crowd
from tests.sessions import NOW, flip, make_item, texts
from tokenwise_core.errors import StoreError, StoreTooNew
from tokenwise_core.memory.sessions import Codec, LogItem, Owner, SQLiteSessions
from tokenwise_core.testing import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "sessions.db"


@pytest.fixture
def sessions(path: Path) -> Iterator[SQLiteSessions]:
    opened = SQLiteSessions(path, clock=FakeClock())
    yield opened
    opened.close()


def _raw(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


def _execute(path: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()


def _fill(sessions: SQLiteSessions, name: str, word: str, owner: Owner | None = None) -> None:
    sessions.append(name, [make_item(i, text=f"{word} Log {i}") for i in range(30)], owner=owner)
    sessions.replace(name, [make_item(i, text=f"{word} Log {i}") for i in range(20)])
    sessions.save_view(name, {"x": f"{word} View"}, expected=0)
    for block in ("a", "b"):
        sessions.lease(name, block, holder="h", seconds=60)
    sessions.finish(name, "b", "h", {"x": f"{word} Summary"})
    sessions.keep(name, "t", f"{word} Original " * 500)


class TestProcesses:
    def test_two_processes_of_two_threads_killed_in_between_lose_and_double_nothing(self, path: Path) -> None:
        found = crowd(f"sqlite:///{path}", turns=80, kills=2)
        assert (found.lost, found.doubled, found.overlapped, found.kills) == (0, 0, 0, 2)
        assert _execute(path, "PRAGMA integrity_check") == [("ok",)]
        assert _execute(path, "SELECT count(*), max(items) FROM memory_session, memory_item") == [(160, 160)]

    def test_a_lease_of_a_process_that_was_killed_is_taken_over(self, path: Path) -> None:
        code = f"""
import os, signal
from tokenwise_core.memory.sessions import SQLiteSessions
sessions = SQLiteSessions({str(path)!r})
assert sessions.lease("s", "b", holder="one", seconds=0.5)
with sessions.turn("s", lease_s=0.5):
    os.kill(os.getpid(), signal.SIGKILL)
"""
        killed = subprocess.run([sys.executable, "-c", code], check=False)
        assert killed.returncode == -9
        with closing(SQLiteSessions(path)) as sessions, sessions.turn("s", timeout_s=30):
            while not sessions.lease("s", "b", holder="two", seconds=30):
                pass
            assert sessions.finish("s", "b", "two", {"x": 1})


class TestLostFiles:
    @pytest.mark.parametrize("how", ["deleted", "replaced"])
    def test_a_file_that_is_gone_is_noticed_and_readers_are_told(
        self, sessions: SQLiteSessions, path: Path, tmp_path: Path, how: str
    ) -> None:
        sessions.append("s", [make_item(i) for i in range(5)])
        known = sessions.changes("s")
        if how == "deleted":
            path.unlink()
        else:
            with closing(SQLiteSessions(tmp_path / "other.db")) as other:
                other.append("s", [make_item(9)])
            (tmp_path / "other.db").replace(path)
        sessions.append("s", [make_item(i) for i in range(10, 15)])
        now = sessions.changes("s", after=known.last_seq, epoch=known.epoch)
        assert now.replaced
        assert texts(now.rows)[-5:] == [f"text {i}" for i in range(10, 15)]
        assert "text 0" not in texts(now.rows)

    def test_a_malformed_file_is_moved_aside_and_a_new_one_begun(
        self, sessions: SQLiteSessions, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        sessions.append("s", [make_item(i) for i in range(200)])
        sessions.close()
        damaged = bytearray(path.read_bytes())
        damaged[8_192:28_192] = b"\x5a" * 20_000
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="malformed"):
            sessions.read("s")
        with caplog.at_level(logging.ERROR, "tokenwise.memory"):
            assert sessions.read("s") == []
        sessions.append("s", [make_item(1)])
        assert sessions.length("s") == 1
        [aside] = path.parent.glob("sessions.db.damaged-*")
        assert b"\x5a" * 4000 in aside.read_bytes()
        assert "malformed" in caplog.text

    def test_a_folder_in_place_of_the_file_is_an_error_of_the_store(self, tmp_path: Path) -> None:
        sessions = SQLiteSessions(tmp_path)
        for use in (
            lambda: sessions.read("s"),
            lambda: sessions.append("s", [make_item(1)]),
            lambda: sessions.lease("s", "b", holder="h", seconds=1),
            lambda: sessions.turn("s").__enter__(),
            lambda: sessions.purge(session="s"),
        ):
            with pytest.raises(StoreError) as caught:
                use()
            assert caught.value.url == f"sqlite:///{tmp_path}"

    def test_a_newer_release_that_broke_with_ours_is_named(self, sessions: SQLiteSessions, path: Path) -> None:
        sessions.append("s", [make_item(1)])
        _execute(path, "INSERT INTO memory_schema_version VALUES (900, 'additive')")
        with closing(SQLiteSessions(path)) as other:
            assert other.length("s") == 1
        _execute(path, "INSERT INTO memory_schema_version VALUES (901, 'breaking')")
        with closing(SQLiteSessions(path)) as other, pytest.raises(StoreTooNew):
            other.length("s")

    def test_a_full_disk_is_an_error_and_nothing_of_the_batch_is_kept(self, sessions: SQLiteSessions) -> None:
        sessions.append("s", [make_item(1)])
        handle = sessions._file.handles.take()
        pages = handle.connection.execute("PRAGMA page_count").fetchone()[0]
        handle.connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        sessions._file.handles.give(handle)
        with pytest.raises(StoreError, match="full"):
            sessions.append("s", [make_item(2), LogItem(id="big", data={"x": "x" * 1_000_000}, at=NOW)])
        assert [row.id for row in sessions.read("s")] == ["m1"]
        sessions.append("s", [make_item(3)])
        assert sessions.length("s") == 2


class TestDamagedRows:
    @pytest.mark.parametrize(
        "body", [b"", b"{", b'{"v":1}', b'{"v":1,"data":7}', b'{"v":1,"data":"x"}', b"\xff\xfe", "text", 7]
    )
    def test_a_damaged_row_is_absent_and_makes_room_where_it_was_derived(
        self, sessions: SQLiteSessions, path: Path, body: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        _fill(sessions, "s", "Plum")
        _execute(path, "UPDATE memory_item SET body = ? WHERE id IN ('m3', 'm7')", body)
        for table in ("memory_view", "memory_block", "memory_original"):
            _execute(path, f"UPDATE {table} SET body = ?", b'{"v":1,"data":[]}' if table[7] == "o" else body)
        with caplog.at_level(logging.WARNING, "tokenwise.memory"):
            assert [row.id for row in sessions.read("s")] == [f"m{i}" for i in range(20) if i not in (3, 7)]
            assert (sessions.view("s"), sessions.results("s"), sessions.original("s", "t")) == (None, {}, None)
        assert len(caplog.records) == 1
        assert "Plum" not in caplog.text
        assert sessions.stats().unreadable == 6
        assert sessions.save_view("s", {"x": 2}, expected=0)
        assert sessions.lease("s", "b", holder="h", seconds=5)
        assert sessions.finish("s", "b", "h", {"x": 3})
        assert sessions.results("s") == {"b": {"x": 3}}
        sessions.append("s", [make_item(3)])  # it was there once, and what it was nobody knows
        assert len(_execute(path, "SELECT id FROM memory_item WHERE id = 'm3'")) == 1

    def test_a_row_in_a_newer_format_is_absent_and_left_alone(self, sessions: SQLiteSessions, path: Path) -> None:
        _fill(sessions, "s", "Plum")
        newer = b'{"v":2,"data":"in another form"}'
        for table in ("memory_item", "memory_view", "memory_block"):
            _execute(path, f"UPDATE {table} SET body = ? WHERE body IS NOT NULL", newer)
        assert (sessions.read("s"), sessions.view("s"), sessions.results("s")) == ([], None, {})
        assert not sessions.save_view("s", {}, expected=0)
        assert not sessions.lease("s", "b", holder="h", seconds=5)
        for table, n in (("memory_item", 20), ("memory_view", 1), ("memory_block", 1)):
            assert _execute(path, f"SELECT count(*) FROM {table} WHERE body = ?", newer) == [(n,)]


class TestBytes:
    def test_nothing_readable_stands_in_the_file_with_a_seal(self, path: Path) -> None:
        for codec, readable in ((Codec(), 4), (Codec(seal=flip, unseal=flip), 0)):
            where = path.with_name(f"sealed-{readable}.db")
            with closing(SQLiteSessions(where, codec=codec)) as sessions:
                _fill(sessions, "s", "Plum")
                raw = _raw(where)
            assert sum(f"Plum {what}".encode() in raw for what in ("Log", "View", "Summary", "Original")) == readable

    def test_what_is_redacted_never_reaches_the_file(self, path: Path) -> None:
        with closing(SQLiteSessions(path, codec=Codec(redact=lambda text: text.replace("Plum", "*")))) as sessions:
            _fill(sessions, "s", "Plum")
            assert b"Plum" not in _raw(path)

    def test_nothing_of_what_was_purged_is_left_in_the_file_or_its_log(
        self, sessions: SQLiteSessions, path: Path
    ) -> None:
        _fill(sessions, "kept", "Pear", Owner(user="other"))
        for i in range(5):
            _fill(sessions, f"PlumSession {i}", "Plum", Owner(user="PlumUser", application="desk"))
        _execute(path, "INSERT INTO memory_turn VALUES ('PlumSession 9', 'killed', 0)")
        assert b"Plum" in _raw(path)
        assert sessions.purge(user="PlumUser", application="desk") == 5
        assert b"Plum" not in _raw(path)
        assert sessions.length("kept") == 20
        assert sessions.original("kept", "t") is not None

    def test_other_tables_in_the_file_are_left_alone(self, sessions: SQLiteSessions, path: Path) -> None:
        path.parent.mkdir()
        _execute(path, "CREATE TABLE cache_schema_version (version, kind)")
        sessions.append("s", [make_item(1)])
        sessions.purge(session="s")
        assert _execute(path, "SELECT count(*) FROM cache_schema_version") == [(0,)]


def test_every_call_gives_its_handle_back(sessions: SQLiteSessions) -> None:
    for _ in range(5):
        _fill(sessions, "s", "Plum")
        sessions.changes("s")
        with sessions.turn("s"):
            sessions.read("s")
        with pytest.raises(StoreError):
            sessions.read("s", after=2**70)
    assert len(sessions._file.handles._idle) == 1


def test_a_read_waits_for_no_writer(sessions: SQLiteSessions, path: Path) -> None:
    sessions.append("s", [make_item(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert sessions.changes("s").last_seq == 1
        assert sessions.results("s") == {}


def test_importing_the_stores_imports_no_driver() -> None:
    code = (
        "import sys, tokenwise_core.memory.sessions as s; s.open_sessions('sqlite:///x.db');"
        " print({'psycopg', 'psycopg_pool', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "set()"
