from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.postgres import postgres_server, postgres_url
from tokenwise_core.cli import main
from tokenwise_core.memory.sessions import LogItem, Owner, PostgresSessions, Sessions, SQLiteSessions, open_sessions

__all__ = ["postgres_server", "postgres_url"]  # fixtures

NOW = 1_790_000_000.0


def fill(sessions: Sessions) -> None:
    for name, user in (("chat-1", "ann"), ("chat-2", "bob")):
        sessions.append(
            name,
            [
                LogItem(id="m1", data={"role": "user", "text": "PlumQuestion"}, at=NOW),
                LogItem(id="m2", data={"role": "assistant", "text": "PlumAnswer"}, at=NOW + 60),
            ],
            owner=Owner(application="desk", user=user),
        )
    sessions.save_view("chat-1", {"summary": "PlumView"}, expected=0)
    sessions.lease("chat-1", "block", holder="h", seconds=9)
    sessions.finish("chat-1", "block", "h", {"text": "PlumSummary"})


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SQLiteSessions:
    opened = SQLiteSessions(tmp_path / "sessions.sqlite", clock=lambda: NOW)
    fill(opened)
    monkeypatch.setenv("TOKENWISE_SESSIONS", opened.url)
    return opened


def out(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_sessions_are_listed_with_counts_and_owners_and_without_text(
    sessions: SQLiteSessions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["memory", "sessions"]) == 0
    told = out(capsys)
    assert "chat-1 2 1 0 desk / ann" in told
    assert "chat-2 2 0 0 desk / bob" in told
    assert "Plum" not in told
    assert main(["memory", "sessions", "--limit", "1"]) == 0
    assert "2 sessions are kept; --limit shows more" in out(capsys)


def test_the_list_is_given_to_programs_as_json(sessions: SQLiteSessions, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "sessions", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["version"] == 1
    assert data["stats"]["items"] == 4
    assert data["sessions"][0]["session"] == "chat-1"
    assert data["sessions"][0]["owners"] == [{"application": "desk", "user": "ann"}]
    assert data["sessions"][0]["changed_at"].startswith("2026-")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_session_is_shown_and_its_text_only_where_it_is_asked_for(
    sessions: SQLiteSessions, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    assert main(["memory", "show", "chat-1", "--format", form]) == 0
    told = capsys.readouterr().out
    assert "assistant" in told
    assert "m2" in told
    assert "Plum" not in told
    assert main(["memory", "show", "chat-1", "--text", "--format", form]) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("PlumQuestion", "PlumAnswer", "PlumView"))


def test_a_session_that_is_not_there_is_bad_input(sessions: SQLiteSessions, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "show", "chat-9"]) == 2
    assert "there is no session 'chat-9'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--user", "ann"], {"chat-2"}),
        (["--session", "chat-2"], {"chat-1"}),
        (["--application", "desk"], set()),
        (["--older-than", "36500"], {"chat-1", "chat-2"}),
        (["--older-than", "1", "--user", "bob"], {"chat-1"}),
    ],
)
def test_purge_deletes_what_it_names(tmp_path: Path, arguments: list[str], left: set[str]) -> None:
    with_old = SQLiteSessions(tmp_path / "old.sqlite", clock=lambda: 1e9)
    fill(with_old)
    assert main(["memory", "purge", "--sessions", with_old.url, *arguments, "--yes"]) == 0
    assert {info.session for info in with_old.sessions()} == left


def test_purge_asks_and_needs_to_know_what(sessions: SQLiteSessions, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "purge", "--yes"]) == 2
    assert main(["memory", "purge", "--user", "ann"]) == 2
    assert "give --yes to delete all sessions of user 'ann'" in capsys.readouterr().err
    assert len(sessions.sessions()) == 2


def test_sessions_that_are_not_there_are_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["memory", "sessions"]) == 2
    assert "memory:// holds nothing in a new process" in capsys.readouterr().err
    monkeypatch.setenv("TOKENWISE_SESSIONS", str(tmp_path / "absent.sqlite"))
    assert main(["memory", "sessions"]) == 2
    assert "there are no sessions at" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    assert "not there yet; the first message kept by a memory makes it" in out(capsys)
    assert list(tmp_path.iterdir()) == []


def test_doctor_tells_what_the_sessions_hold(sessions: SQLiteSessions, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    assert f"sessions ✓ url {sessions.url} ✓ holds 2 sessions of 4 messages" in out(capsys)


def test_a_broken_store_of_sessions_is_a_problem_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").write_text("no database")
    monkeypatch.setenv("TOKENWISE_SESSIONS", str(tmp_path / "broken"))
    assert main(["doctor"]) == 1
    assert "name another store with TOKENWISE_SESSIONS" in out(capsys)


@pytest.mark.postgres
def test_the_commands_look_into_postgres_and_make_nothing_there(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENWISE_SESSIONS", postgres_url)
    assert main(["memory", "sessions"]) == 2
    assert "there are no sessions at" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    assert "no tables yet; the first message kept by a memory makes them" in out(capsys)
    stored = open_sessions(postgres_url)
    assert isinstance(stored, PostgresSessions)
    fill(stored)
    assert main(["purge", "--user", "ann", "--yes"]) == 0
    assert main(["memory", "sessions"]) == 0
    told = out(capsys)
    assert "deleted 1 session, of user 'ann'" in told
    assert "chat-2 2 0 0 desk / bob" in told
    stored.close()
