"""The SQLite file of entries: other processes, forks, lost and damaged files, what stands in the bytes."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.entries import NOW, key_of, make_entry, make_hit, make_label, unit
from tokenwise_core.cache.entries import Codec, SQLiteEntries
from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.errors import StoreError, StoreTooNew
from tokenwise_core.scoping import Scope
from tokenwise_core.storage import handles
from tokenwise_core.testing import FakeClock

SECRETS = ("PlumQuestion", "PlumReading", "PlumSignature", "PlumAnswer", "PlumPayload", "PlumCategory")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "cache.db"


@pytest.fixture
def entries(path: Path) -> Iterator[SQLiteEntries]:
    opened = SQLiteEntries(path, clock=FakeClock())
    yield opened
    opened.close()


def _secret_entry(i: int = 1, **changes: Any) -> Any:
    question, reading, signature, answer, payload, category = SECRETS
    return make_entry(
        i, query=question, reading={"plain": reading}, signature={"plain": signature}, category=category,
        answer=CachedAnswer(text=answer, payload={"x": payload}), **changes,
    )  # fmt: skip


def _raw(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


def _put_in_child(path: Path, first: int, n: int) -> None:
    entries = SQLiteEntries(path)

    def work(i: int) -> None:
        [seq] = entries.put([make_entry(i)])
        entries.touch({seq: 1}, now=NOW)
        assert entries.get(key_of(i), now=NOW) is not None
        entries.vectors(key_of("p"), limit=5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(first, first + n)))


class TestProcesses:
    def test_processes_see_each_others_entries_and_lose_none(self, entries: SQLiteEntries, path: Path) -> None:
        entries.put([make_entry(1000)])
        spawn = multiprocessing.get_context("spawn")
        children = [spawn.Process(target=_put_in_child, args=(path, k * 30, 40)) for k in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0
        found = list(entries.iterate())
        assert {entry.key for entry in found} == {key_of(i) for i in (*range(70), 1000)}
        [total] = entries.totals()
        assert (total.entries, total.hits) == (71, sum(entry.hits for entry in found))

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_store_used_before_a_fork_works_on_both_sides(self, entries: SQLiteEntries) -> None:
        entries.put([make_entry(1)])
        with entries._file.handles._lock, entries._file.handles._writer:  # as if other threads were busy at the fork
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    entries.put([make_entry(2)])
                    code = 0 if entries.get(key_of(1), now=NOW) else 2
                finally:
                    os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        entries.put([make_entry(3)])
        assert {entry.key for entry in entries.iterate()} == {key_of(i) for i in (1, 2, 3)}

    def test_what_was_acknowledged_survives_a_kill(self, path: Path) -> None:
        code = f"""
        from tests.entries import make_entry
        from tokenwise_core.cache.entries import SQLiteEntries
        entries, i = SQLiteEntries({str(path)!r}), 0
        while True:
            entries.put([make_entry(i), make_entry(i % 7)])
            print(i, flush=True)
            i += 1
        """
        command = [sys.executable, "-c", textwrap.dedent(code)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdout is not None
            for line in victim.stdout:
                if int(line) >= 40:
                    break
            victim.send_signal(signal.SIGKILL)
            last = max([40, *(int(line) for line in victim.stdout if line.endswith("\n"))])
        entries = SQLiteEntries(path)
        found = list(entries.iterate())
        assert {key_of(i) for i in range(last + 1)} <= {entry.key for entry in found}
        assert entries.totals()[0].entries == len(found)
        entries.close()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


class TestLostFiles:
    @pytest.mark.parametrize("how", ["deleted", "replaced"])
    def test_a_file_that_is_gone_is_noticed_and_no_seq_of_it_is_used_again(
        self, entries: SQLiteEntries, path: Path, tmp_path: Path, how: str
    ) -> None:
        old = entries.put([make_entry(i) for i in range(50)])
        before = entries.generation()
        if how == "deleted":
            path.unlink()
        else:
            with closing(SQLiteEntries(tmp_path / "other.db")) as other:
                other.put([make_entry(99)])
            (tmp_path / "other.db").replace(path)
        new = entries.put([make_entry(i, namespace="other tenant") for i in range(50)])
        assert min(new) > max(old)
        assert entries.generation() != before
        assert entries.candidates(old, now=NOW) == []
        with closing(SQLiteEntries(path)) as other:
            assert other.totals() == entries.totals()

    def test_a_handle_in_use_while_the_file_was_lost_is_not_used_again(
        self, entries: SQLiteEntries, path: Path
    ) -> None:
        entries.put([make_entry(1)])
        with entries._reading():
            path.unlink()
            entries.put([make_entry(2)])
        for _ in range(5):
            assert [entry.key for entry in entries.iterate()] == [key_of(2)]

    @pytest.mark.parametrize("where", [0, 4096 * 2])
    def test_a_malformed_file_is_moved_aside_and_a_new_one_begun(
        self, entries: SQLiteEntries, path: Path, where: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        entries.put([make_entry(i) for i in range(200)])
        entries.close()
        damaged = bytearray(path.read_bytes())
        damaged[where : where + 20_000] = b"\x5a" * 20_000
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"cache\.db.*(malformed|not a database)"):
            list(entries.iterate())
        with caplog.at_level(logging.ERROR, "tokenwise.cache"):
            assert list(entries.iterate()) == []
        entries.put([make_entry(1)])
        assert len(list(entries.iterate())) == 1
        [aside] = path.parent.glob("cache.db.damaged-*")
        assert aside.name == "cache.db.damaged-20260101T000000"
        assert b"\x5a" * 4000 in aside.read_bytes()
        assert "malformed" in caplog.text

    def test_a_late_error_of_the_old_file_does_not_cost_the_new_one(self, entries: SQLiteEntries, path: Path) -> None:
        entries.put([make_entry(1)])
        late = entries._file.handles.take()
        path.unlink()
        entries.put([make_entry(2)])
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        entries._file.handles.give(late)
        entries._file.handles.failed(error, late)
        assert [entry.key for entry in entries.iterate()] == [key_of(2)]
        assert not list(path.parent.glob("*.damaged-*"))

    def test_a_file_that_somebody_emptied_is_begun_anew(self, entries: SQLiteEntries, path: Path) -> None:
        old = entries.put([make_entry(i) for i in range(50)])
        _execute(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        os.truncate(path, 0)
        for _ in range(2):  # the first use notices
            with suppress(StoreError):
                list(entries.iterate())
        [new] = entries.put([make_entry(1)])
        assert new > max(old)
        assert len(list(entries.iterate())) == 1

    def test_another_object_over_a_file_moved_aside_goes_on_with_the_new_one(
        self, entries: SQLiteEntries, path: Path
    ) -> None:
        other = SQLiteEntries(path)
        other.put([make_entry(1)])
        path.with_name("aside.db").write_bytes(b"")
        path.replace(path.with_name("aside.db"))
        entries.put([make_entry(2)])
        assert [entry.key for entry in other.iterate()] == [key_of(2)]
        other.close()


class TestErrors:
    def test_a_folder_in_place_of_the_file_is_an_error_of_the_store(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError) as caught:
            SQLiteEntries(tmp_path).get(key_of(1), now=NOW)
        assert caught.value.url == f"sqlite:///{tmp_path}"

    def test_a_full_disk_is_an_error_and_the_store_stays_usable(self, entries: SQLiteEntries) -> None:
        [seq] = entries.put([make_entry(1)])
        handle = entries._file.handles.take()
        handle.connection.execute(
            f"PRAGMA max_page_count = {handle.connection.execute('PRAGMA page_count').fetchone()[0] + 20}"
        )
        entries._file.handles.give(handle)
        with pytest.raises(StoreError, match="full"):
            entries.put([make_entry(2, answer=CachedAnswer(text="x" * 1_000_000))])
        assert [entry.seq for entry in entries.iterate()] == [seq]
        assert entries.totals()[0].entries == 1
        entries.touch({seq: 1}, now=NOW)

    def test_a_locked_file_is_an_error_after_the_wait(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with closing(SQLiteEntries(path)) as first:
            first.put([make_entry(1)])
        monkeypatch.setattr(handles, "BUSY_TIMEOUT_MS", 10)
        entries = SQLiteEntries(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                entries.put([make_entry(2)])
            assert entries.get(key_of(1), now=NOW) is not None  # readers do not wait for writers
            other.execute("ROLLBACK")
        entries.put([make_entry(2)])
        entries.close()

    def test_a_file_that_may_only_be_read_is_an_error_of_the_store(self, path: Path) -> None:
        with closing(SQLiteEntries(path)) as entries:
            entries.put([make_entry(1)])
            handle = entries._file.handles.take()
            handle.connection.execute("PRAGMA query_only = ON")
            entries._file.handles.give(handle)
            with pytest.raises(StoreError, match="readonly"):
                entries.put([make_entry(2)])

    def test_a_newer_release_that_broke_with_ours_is_named(self, path: Path) -> None:
        with closing(SQLiteEntries(path)) as entries:
            entries.put([make_entry(1)])
        _execute(path, "INSERT INTO cache_schema_version VALUES (900, 'additive')")
        with closing(SQLiteEntries(path)) as entries:
            assert entries.get(key_of(1), now=NOW) is not None
        _execute(path, "INSERT INTO cache_schema_version VALUES (901, 'breaking')")
        with closing(SQLiteEntries(path)) as entries, pytest.raises(StoreTooNew) as caught:
            entries.get(key_of(1), now=NOW)
        assert caught.value.found == 901


class TestDamagedRows:
    @pytest.mark.parametrize(
        ("table", "column", "value"),
        [
            ("cache_answer", "body", b""),
            ("cache_answer", "body", b"{"),
            ("cache_answer", "body", b'{"v":1}'),
            ("cache_answer", "body", b'{"v":1,"answer":{}}'),
            ("cache_answer", "body", b'{"v":1,"answer":{"text":7}}'),
            ("cache_answer", "body", b'{"v":1,"answer":{"text":"x","payload":{"x":NaN}}}'),
            ("cache_answer", "body", b'{"v":1,"answer":{"text":"x","usage":{"input_tokens":true}}}'),
            ("cache_answer", "body", b'{"v":1,"answer":{"text":"x","usage":{"reported_cost_usd":"much"}}}'),
            ("cache_answer", "body", b'{"v":1,"answer":{"text":"x"},"owner":{"labels":{"a":1}}}'),
            ("cache_answer", "body", b"\xff\xfe"),
            ("cache_answer", "body", "text"),
            ("cache_entry", "question", b'{"v":1,"query":"x","reading":[]}'),
            ("cache_entry", "epochs", '{"tag:x":"one"}'),
            ("cache_vector", "data", b"\x00" * 64),
            ("cache_vector", "data", b"\x00\x7c" * 32),
            ("cache_vector", "data", b"abc"),
        ],
    )
    def test_a_damaged_row_is_a_miss_counted_logged_once_and_deleted_with_the_next_write(
        self, entries: SQLiteEntries, path: Path, caplog: pytest.LogCaptureFixture, table: str, column: str, value: Any
    ) -> None:
        seqs = entries.put([make_entry(1), make_entry(2)])
        _execute(path, f"UPDATE {table} SET {column} = ? WHERE seq = ?", value, seqs[0])
        with caplog.at_level(logging.WARNING, "tokenwise.cache"):
            assert entries.get(key_of(1), now=NOW) is None
            assert entries.entry(seqs[0], now=NOW) is None
            assert [entry.seq for entry in entries.iterate()] == [seqs[1]]
        assert entries.unreadable == 3
        assert len(caplog.records) == 1
        assert "question" not in caplog.text
        entries.put([make_entry(3)])
        assert {row[0] for row in _execute(path, f"SELECT seq FROM {table}")} == {seqs[1], seqs[1] + 1}
        assert entries.totals()[0].entries == 2

    @pytest.mark.parametrize(
        ("table", "column", "value"),
        [
            ("cache_answer", "body", b"{"),
            ("cache_answer", "body", b'{"v":1}'),
            ("cache_entry", "epochs", '{"x":"one"}'),
        ],
    )
    def test_a_damaged_answer_is_no_exact_hit(
        self, entries: SQLiteEntries, path: Path, table: str, column: str, value: Any
    ) -> None:
        [seq] = entries.put([make_entry(1)])
        _execute(path, f"UPDATE {table} SET {column} = ? WHERE seq = ?", value, seq)
        assert entries.answer(key_of(1), now=NOW) is None
        assert entries.unreadable == 1
        entries.put([make_entry(2)])
        assert [row[0] for row in _execute(path, f"SELECT seq FROM {table}")] == [seq + 1]

    def test_a_damaged_vector_is_left_out_of_its_partition(self, entries: SQLiteEntries, path: Path) -> None:
        seqs = entries.put([make_entry(i) for i in range(4)])
        _execute(path, "UPDATE cache_vector SET data = x'0000' WHERE seq = ?", seqs[1])
        _execute(path, "UPDATE cache_vector SET data = ? WHERE seq = ?", b"\xff" * 64, seqs[2])
        assert list(entries.vectors(key_of("p")).seqs) == [seqs[0], seqs[3]]
        assert [candidate.seq for candidate in entries.candidates(seqs, now=NOW)] == [seqs[0], seqs[3]]

    def test_a_row_in_a_newer_format_is_a_miss_and_left_alone(self, entries: SQLiteEntries, path: Path) -> None:
        [seq] = entries.put([make_entry(1)])
        _execute(path, "UPDATE cache_answer SET body = ?", b'{"v":2,"answer":"in another form"}')
        assert entries.get(key_of(1), now=NOW) is None
        entries.sweep(now=NOW)
        assert _execute(path, "SELECT seq FROM cache_answer") == [(seq,)]

    def test_fields_that_are_not_known_are_dropped(self, entries: SQLiteEntries, path: Path) -> None:
        entries.put([make_entry(1)])
        body = {"v": 1, "answer": {"text": "x", "colour": "red", "usage": {"input_tokens": 3, "smell": []}}, "more": 1}
        _execute(path, "UPDATE cache_answer SET body = ?", json.dumps(body).encode())
        found = entries.get(key_of(1), now=NOW)
        assert found is not None
        assert found.answer.usage is not None
        assert (found.answer.text, found.answer.usage.input_tokens) == ("x", 3)

    def test_damaged_labels_and_hit_records_are_skipped(self, entries: SQLiteEntries, path: Path) -> None:
        entries.add_labels([make_label(1), make_label(2)])
        entries.add_hits([make_hit(1)])
        _execute(path, "UPDATE cache_label SET features = '[1,' WHERE n = (SELECT min(n) FROM cache_label)")
        _execute(path, "UPDATE cache_hit SET body = ?", b'{"v":1,"id":"hit-1"}')
        assert entries.labels()[1] == [make_label(2)]
        assert entries.hit("hit-1") is None


class TestBytes:
    def test_nothing_readable_stands_in_the_file_with_a_seal(self, path: Path) -> None:
        def flip(body: bytes) -> bytes:
            return bytes(byte ^ 0x5A for byte in body)

        for codec, readable in ((Codec(), True), (Codec(seal=flip, unseal=flip), False)):
            where = path.with_name(f"sealed-{readable}.db")
            with closing(SQLiteEntries(where, codec=codec)) as entries:
                entries.put([_secret_entry()])
                entries.add_hits([make_hit(1, query="PlumHit")])
                raw = _raw(where)
            assert [secret for secret in (*SECRETS, "PlumHit") if secret.encode() in raw] == (
                [*SECRETS, "PlumHit"] if readable else []
            )

    def test_what_is_redacted_never_reaches_the_file(self, path: Path) -> None:
        with closing(SQLiteEntries(path, codec=Codec(redact=lambda text: text.replace("Plum", "*")))) as entries:
            entries.put([replace(_secret_entry(), category=None)])
            entries.add_hits([make_hit(1, query="PlumHit")])
            assert b"Plum" not in _raw(path)

    def test_nothing_of_what_was_purged_is_left_in_the_file_or_its_log(self, path: Path) -> None:
        with closing(SQLiteEntries(path)) as entries:
            owner = Scope(user="PlumUser")
            entries.put([make_entry(i) for i in range(100)])
            entries.put([_secret_entry(i, owner=owner, namespace="PlumSpace") for i in range(200, 300)])
            entries.put([make_entry(i) for i in range(200, 210)])  # replaced, and no longer the user's
            entries.add_hits([make_hit(1, owner=owner, query="PlumHit")])
            entries.set_state("x", "PlumState", owner=owner)
            assert b"Plum" in _raw(path)
            assert entries.purge(user="PlumUser") == 90
            assert b"Plum" not in _raw(path)
            assert len(list(entries.iterate())) == 110

    def test_the_file_gives_back_what_clearing_frees(self, entries: SQLiteEntries, path: Path) -> None:
        entries.put([_secret_entry(i) for i in range(500)])
        entries.clear()
        assert path.stat().st_size < 250_000
        assert b"Plum" not in _raw(path)

    def test_half_floats_keep_the_cosine(self, entries: SQLiteEntries) -> None:
        drawn = [make_entry(i, vector=unit(i, dimension=384)) for i in range(50)]
        entries.put(drawn)
        exact = np.array([entry.vector for entry in drawn])
        stored = entries.vectors(key_of("p")).vectors
        assert np.abs(stored @ stored.T - exact @ exact.T).max() < 1e-3
        np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-6)

    def test_other_tables_in_the_file_are_left_alone(self, entries: SQLiteEntries, path: Path) -> None:
        path.parent.mkdir()
        _execute(path, "CREATE TABLE schema_version (version, kind)")
        _execute(path, "CREATE TABLE event (id)")
        entries.put([make_entry(1)])
        entries.clear()
        assert _execute(path, "SELECT count(*) FROM event") == [(0,)]


def test_a_lookup_borrows_one_handle_and_gives_it_back(entries: SQLiteEntries) -> None:
    entries.put([make_entry(1)])
    for _ in range(20):
        entries.get(key_of(1), now=NOW)
        with pytest.raises(StoreError):
            entries.candidates([2**70], now=NOW)
    assert len(entries._file.handles._idle) == 1


def _execute(path: Path, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement, values).fetchall()
