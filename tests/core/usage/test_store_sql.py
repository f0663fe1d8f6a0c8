"""What the SQL stores promise beyond the contract: shared files, older and newer releases, limits, no secrets."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from tests.events import START, make_event
from tests.postgres import postgres_server, postgres_url
from tokenwise_core.errors import BadInput, StoreError, StoreTooNew
from tokenwise_core.usage.store import MemoryStore, PostgresStore, Query, Retention, SQLiteStore, migrations, open_store
from tokenwise_core.usage.store.protocol import DAY, HOUR
from tokenwise_core.usage.store.schema import METADATA

__all__ = ["postgres_server", "postgres_url"]  # fixtures

BASE_SHA256 = "2725bf30fa98d39e31c1fd359afecb6d61ed130ba80c909355c86a281be86598"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


def _run(path: Path, *statements: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        return [row for statement in statements for row in connection.execute(statement).fetchall()]


def _add_some(path: Path, first: int) -> None:
    store = SQLiteStore(path)
    for i in range(first, first + 60, 10):
        store.add([make_event(j) for j in range(i, i + 20)])  # half of them were added by the batch before


class TestOpening:
    @pytest.mark.parametrize(
        ("url", "kind"),
        [("memory://", MemoryStore), ("sqlite:///usage.db", SQLiteStore), ("folder/usage.db", SQLiteStore),
         ("postgresql://me@host/usage", PostgresStore), ("postgres://me@host/usage", PostgresStore)],
    )  # fmt: skip
    def test_a_url_says_which_store_it_is(self, url: str, kind: type) -> None:
        assert isinstance(open_store(url), kind)

    @pytest.mark.parametrize("url", ["mysql://host/usage", "sqlite://", "http//:x://"])
    def test_another_url_is_bad_input(self, url: str) -> None:
        with pytest.raises(BadInput):
            open_store(url)

    def test_nothing_is_touched_before_the_first_use(self, path: Path) -> None:
        store = open_store(str(path))
        assert not path.exists()
        store.add([make_event()])
        assert path.exists()

    def test_a_file_that_is_no_database_is_a_clear_error(self, path: Path) -> None:
        path.write_text("this is a shopping list, and quite a long one at that")
        with pytest.raises(StoreError, match=r"usage\.db: DatabaseError: file is not a database"):
            open_store(str(path)).totals()

    def test_a_server_that_is_not_there_is_an_error_without_its_password(self) -> None:
        store = open_store("postgresql://me:swordfish@127.0.0.1:1/usage")
        with pytest.raises(StoreError) as error:
            store.totals()
        assert "swordfish" not in f"{error.value} {error.value.url} {store.url}"


class TestReleases:
    def test_the_migrations_make_what_the_code_expects(self, path: Path, postgres_url: str) -> None:
        for store in (SQLiteStore(path), PostgresStore(postgres_url)):
            store.totals()
            found = inspect(create_engine(store._url))
            tables = {name: {c["name"] for c in found.get_columns(name)} for name in found.get_table_names()}
            assert tables.pop("schema_version") == {"version", "kind"}
            assert tables == {table.name: {c.name for c in table.columns} for table in METADATA.sorted_tables}
            store.close()

    def test_a_migration_that_is_out_is_never_changed(self) -> None:
        found = hashlib.sha256((files(migrations) / "0001_base.sql").read_bytes()).hexdigest()
        assert found == BASE_SHA256, "0001_base.sql is frozen, stores were made by it: add a new numbered migration"

    def test_a_store_of_a_newer_release_is_not_opened(self, path: Path) -> None:
        SQLiteStore(path).add([make_event()])
        _run(path, "UPDATE schema_version SET version = 999")
        with pytest.raises(StoreTooNew, match="999") as error:
            SQLiteStore(path).totals()
        assert (error.value.found, error.value.supported) == (999, 1)

    def test_an_older_release_works_beside_a_newer_one_that_only_added(self, path: Path) -> None:
        SQLiteStore(path).add([make_event(0)])
        _run(
            path,
            "ALTER TABLE event ADD COLUMN tokens_future BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE event_hour ADD COLUMN tokens_future BIGINT NOT NULL DEFAULT 0",
            "INSERT INTO schema_version VALUES (2, 'additive')",
            "UPDATE event SET tokens_future = 7",
            "UPDATE event_hour SET tokens_future = 7",
        )
        older = SQLiteStore(path)
        older.add([make_event(1)])
        assert [event.id for event in older.events()] == ["call-0", "call-1"]
        assert _run(path, "SELECT sum(tokens_future) FROM event_hour") == [(7,)]

    def test_fields_of_a_newer_release_survive_an_older_one(self, path: Path) -> None:
        SQLiteStore(path).add([make_event(0), make_event(1)])
        extra = {"by_bucket": {}, "carbon": {"grams": 3}}
        _run(path, f"UPDATE event SET extra = '{json.dumps(extra)}' WHERE id = 'call-0'")
        _run(path, "UPDATE series SET status = 'paused'")
        older = SQLiteStore(path)
        assert next(older.events()).id == "call-0"
        older.purge(user="user-1")
        older.retain(Retention(raw_days=3), now=START + DAY)
        assert json.loads(str(_run(path, "SELECT extra FROM event")[0][0])) == extra


class TestSharing:
    @pytest.mark.parametrize("start", ["fork", "spawn"])
    def test_several_processes_write_one_file(self, path: Path, start: str) -> None:
        store = SQLiteStore(path)
        store.add([make_event(0)])
        context = multiprocessing.get_context(start)
        writers = [context.Process(target=_add_some, args=(path, first)) for first in (0, 40, 80)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert store.totals()[0].totals.calls == len(list(store.events())) == 150

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_a_store_used_before_a_fork_works_on_both_sides(self, path: Path) -> None:
        store = SQLiteStore(path)
        store.add([make_event(0)])
        child = os.fork()
        if child == 0:
            os._exit(0 if store.add([make_event(1)]) == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.add([make_event(1), make_event(2)]) == 1
        assert _run(path, "PRAGMA integrity_check") == [("ok",)]

    @pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
    @pytest.mark.parametrize("deleted", [("",), ("", "-wal", "-shm"), None], ids=["file", "all", "folder"])
    def test_a_file_deleted_while_in_use_is_begun_anew(
        self, tmp_path: Path, deleted: tuple[str, ...] | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "folder" / "usage.db"
        store = SQLiteStore(path)
        store.add([make_event(0)])
        if deleted is None:
            shutil.rmtree(path.parent)
        for end in deleted or ():
            path.with_name(path.name + end).unlink()
        assert [store.add([make_event(i)]) for i in (1, 2)] == [1, 1]
        assert [event.id for event in SQLiteStore(path).events()] == ["call-1", "call-2"]
        assert _run(path, "PRAGMA integrity_check") == [("ok",)]
        assert ["deleted or replaced" in record.getMessage() for record in caplog.records] == [True]

    @pytest.mark.skipif(os.name == "nt", reason="an open file cannot be replaced there")
    def test_a_file_replaced_while_in_use_is_read_and_written(self, path: Path, tmp_path: Path) -> None:
        other = SQLiteStore(tmp_path / "other.db")
        other.add([make_event(7)])
        other.close()
        store = SQLiteStore(path)
        store.add([make_event(0)])
        (tmp_path / "other.db").replace(path)
        assert [event.id for event in store.events()] == ["call-7"]
        store.add([make_event(8)])
        store.close()
        assert [event.id for event in SQLiteStore(path).events()] == ["call-7", "call-8"]
        assert _run(path, "PRAGMA integrity_check") == [("ok",)]

    def test_a_batch_that_fails_leaves_no_trace_in_the_roll_ups(self, path: Path) -> None:
        store = SQLiteStore(path)
        with pytest.raises(OverflowError):
            store.add([make_event(0), make_event(1, estimate_before=2**70)])
        assert store.totals(by=("hour",)) == []

    def test_the_file_is_set_up_for_a_writer_beside_readers(self, path: Path) -> None:
        SQLiteStore(path).totals()
        assert _run(path, "PRAGMA journal_mode", "PRAGMA auto_vacuum") == [("wal",), (2,)]


class TestAgeing:
    def test_reports_outlive_the_single_calls(self, path: Path) -> None:
        store = SQLiteStore(path)
        calls = [make_event(i, ts=START + HOUR * i) for i in range(48)]
        store.add(calls)
        before = store.totals(by=("day", "agent"))
        store.retain(Retention(raw_days=0.5, rollup_days=400), now=START + 48 * HOUR)
        assert len(list(store.events())) == 12
        assert store.totals(by=("day", "agent")) == before
        cut_inside_an_hour = Query(since=START + 5 * HOUR + 60)  # its single calls are gone: the hour is read whole
        assert store.totals(cut_inside_an_hour)[0].totals.calls == 43

    def test_roll_ups_go_too_in_the_end(self, path: Path) -> None:
        store = SQLiteStore(path)
        store.add([make_event(i, ts=START + DAY * i) for i in range(10)])
        store.retain(Retention(raw_days=2, rollup_days=5), now=START + 10 * DAY)
        assert store.totals()[0].totals.calls == 5
        assert sum(row.totals.calls for row in store.totals(by=("session",))) == 5

    def test_a_store_keeps_to_its_size_by_giving_up_the_oldest_calls(self, path: Path) -> None:
        store = SQLiteStore(path)
        store.add([make_event(i, ts=START + 100 * i) for i in range(3_000)])
        full = store._used_bytes()
        store.retain(Retention(raw_days=1e4, rollup_days=1e4, max_bytes=full // 2), now=START)
        assert store._used_bytes() <= full // 2
        left = list(store.events())
        assert left[-1].id == "call-2999"
        assert 0 < len(left) < 2_500
        assert store.totals()[0].totals.calls == 3_000
        _run(path, "PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < 0.75 * full  # the file itself has shrunk

    def test_measurements_of_a_busy_hour_stay_short(self, path: Path) -> None:
        store = SQLiteStore(path)
        for batch in range(20):
            store.add([make_event(i, id=f"{batch}-{i}", agent="one", ts=START) for i in range(100)])
        ((length,),) = _run(path, "SELECT length(histograms) FROM event_hour")
        assert int(str(length)) < 2_000 * 4 * 8 / 2
        assert store.totals()[0].totals.histograms[0].n == 2_000
