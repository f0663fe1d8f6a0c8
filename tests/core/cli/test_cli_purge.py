from __future__ import annotations

from pathlib import Path

import pytest

from tests.events import make_event
from tokenwise_core.cli import main, purge
from tokenwise_core.usage.store import Query, SQLiteStore


@pytest.fixture
def store(tmp_path: Path) -> SQLiteStore:
    opened = SQLiteStore(tmp_path / "usage.sqlite")
    opened.add([make_event(i) for i in range(20)])
    return opened


def run(store: SQLiteStore, *arguments: str) -> int:
    return main(["purge", "--store", store.url, *arguments])


def calls(store: SQLiteStore, **names: str) -> int:
    return sum(row.totals.calls for row in store.totals(Query(**names)))


@pytest.mark.parametrize(
    ("name", "value", "left"), [("user", "user-1", 10), ("session", "session-0", 15), ("application", "desk", 0)]
)
def test_purge_reaches_what_it_names_and_nothing_else(
    store: SQLiteStore, name: str, value: str, left: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(store, f"--{name}", value, "--yes") == 0
    assert calls(store, **{name: value}) == 0
    assert calls(store) == left
    assert f"deleted {20 - left} calls of {name} '{value}'" in capsys.readouterr().out


def test_nothing_is_deleted_without_a_yes(store: SQLiteStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "--user", "user-1") == 2
    assert calls(store) == 20
    assert "no terminal to ask at, give --yes to delete 10 calls" in capsys.readouterr().err


def test_a_yes_at_the_terminal_is_enough(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(purge, "can_ask", lambda: True)
    monkeypatch.setattr(purge, "ask", lambda question: asked.append(question) or True)
    assert run(store, "--user", "user-1") == 0
    assert asked == [f"Delete 10 calls of user 'user-1' from {store.url}?"]


def test_a_no_at_the_terminal_deletes_nothing(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "can_ask", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    assert run(store, "--user", "user-1") == 2
    assert calls(store) == 20


def test_one_call_and_none_are_told_as_people_say_it(store: SQLiteStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.add([make_event(99, user="lone")])
    assert run(store, "--user", "lone", "--yes") == 0
    assert capsys.readouterr().out == "deleted 1 call of user 'lone'\n"
    assert run(store, "--user", "lone") == 0
    assert capsys.readouterr().out == "no calls of user 'lone' are stored: nothing was deleted\n"


def test_names_given_together_must_all_match(store: SQLiteStore) -> None:
    assert run(store, "--user", "user-1", "--session", "session-0", "--yes") == 0
    assert calls(store) == 18


def test_purging_everything_is_refused(store: SQLiteStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(store, "--yes") == 2
    assert "purge needs --user, --session or --application" in capsys.readouterr().err
