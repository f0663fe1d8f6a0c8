from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.events import START, make_event
from tokenwise_core.cli import main
from tokenwise_core.usage.store import SQLiteStore

ALL = ["--since", "2026-09-01"]


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = tmp_path / "usage.sqlite"
    opened = SQLiteStore(path)
    opened.add([make_event(i) for i in range(30)])
    opened.close()
    return str(path)


def test_the_text_report_shows_components_and_agents(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--store", store]) == 0
    shown = capsys.readouterr().out
    for expected in ("Where the tokens went", "system prompt", "By model", "gpt-5-mini", "By agent", "agent-3"):
        assert expected in shown


@pytest.mark.parametrize("by", ["agent", "component", "model", "session", "user", "day"])
def test_every_promised_grouping_is_there(by: str, store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", store, "report", "--by", by]) == 0
    assert ("Where the tokens went" if by == "component" else f"By {by}") in capsys.readouterr().out


def test_the_store_may_stand_before_or_after_the_command(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", store, "report", "--format", "json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert main(["report", "--store", store, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"] == before["totals"]


def test_json_and_csv_can_be_read_by_programs(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--store", store, "--by", "agent", "--format", "json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["version"] == 1
    assert main(["report", "--store", store, "--by", "agent", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["agent"]: int(row["total_tokens"]) for row in rows} == {
        group["agent"]: group["total_tokens"] for group in body["groups"]["agent"]
    }


def test_html_is_written_to_the_named_file(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["report", "--store", store, "--format", "html", "--output", str(page)]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().err == f"wrote {page}\n"


def test_html_goes_to_tokenwise_report_html_by_default(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--store", store, "--format", "html"]) == 0
    assert (tmp_path / "tokenwise-report.html").is_file()


def test_text_can_go_to_a_file_too(store: str, tmp_path: Path) -> None:
    assert main(["report", "--store", store, "--output", str(tmp_path / "report.txt")]) == 0
    assert "system prompt" in (tmp_path / "report.txt").read_text(encoding="utf-8")


def test_a_time_and_a_name_narrow_the_report(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    until = "2026-09-21T14:15:00"  # ten of the calls, ten seconds apart, begin before
    assert main(["report", "--store", store, *ALL, "--until", until, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["calls"] == 10
    assert main(["report", "--store", store, *ALL, "--agent", "agent-1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["calls"] == 8


def test_top_keeps_the_largest_groups(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--store", store, "--by", "session", "--top", "2", "--format", "json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]["session"]
    assert [group["session"] for group in groups] == ["session-5", "session-4"]


def test_piped_text_has_no_colour_and_no_trailing_blanks(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--store", store]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert all(line == line.rstrip() for line in shown.splitlines())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--since", "yesterdayish"], "'yesterdayish'"),
        (["--since", "2026-13-01"], "'2026-13-01'"),
        (["--since", "1h", "--until", "2h"], "before it begins"),
        (["--top", "none"], "'none' is no whole number"),
        (["--output", "/no/such/folder/report.txt"], "cannot write /no/such/folder/report.txt"),
        (["--store", "/no/such/usage.sqlite"], "there is no usage store"),
        (["--store", "mysql://host/name"], "no store for mysql"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: list[str], complaint: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--store", store, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1


def test_a_file_that_is_no_database_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to be looked at " * 100)
    assert main(["report", "--store", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_database_that_does_not_answer_is_one_line_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--store", "postgresql://me:secret@127.0.0.1:1/usage"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "secret" not in captured.err


def test_a_store_in_memory_has_nothing_to_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report"]) == 2
    assert "memory:// holds nothing in a new process" in capsys.readouterr().err


def test_reading_never_makes_a_store(tmp_path: Path) -> None:
    assert main(["report", "--store", str(tmp_path / "absent.sqlite")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_start_is_what_these_tests_believe() -> None:
    assert START == 1_790_000_000.0


@pytest.mark.parametrize("since", ["800000d", "99999999d", "999999999999d"])
def test_an_age_before_all_calendars_is_one_clear_line(
    since: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--store", store, "--since", since]) == 2
    told = capsys.readouterr().err
    assert "outside the years 1 to 9999" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model", "nope"], "no calls match model 'nope': the store holds 30, with model gpt-5-mini"),
        (["--agent", "nope"], "with agent agent-"),
        (["--task", "nope"], "no task named"),
        (["--since", "2999-01-01"], "is in the future"),
        (["--until", "2020-01-01"], "no calls match that time: the store holds 30, with calls from 2026-09-21 14:00"),
    ],
)
def test_a_report_without_calls_says_what_is_there(
    arguments: list[str], told: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--store", store, *arguments]) == 0
    shown = capsys.readouterr().out
    assert told in shown
    assert "component" not in shown
    assert shown.count("\n") == 1


def test_a_report_of_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "usage.sqlite"
    with_tables = SQLiteStore(path)
    with_tables.add([])
    with_tables.set_state("any", {})
    with_tables.close()
    assert main(["report", "--store", str(path)]) == 0
    assert "no calls are recorded in" in capsys.readouterr().out


def test_reading_leaves_what_is_no_store_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, other = tmp_path / "empty.txt", tmp_path / "other.sqlite"
    empty.touch()
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (a)")
        connection.commit()
    before = other.read_bytes()
    for path in (empty, other):
        assert main(["report", "--store", str(path)]) == 2
        assert "is no usage store" in capsys.readouterr().err
    assert empty.read_bytes() == b""
    assert other.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt", "other.sqlite"]


def test_a_directory_is_called_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--store", str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err
