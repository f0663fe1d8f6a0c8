from __future__ import annotations

from pathlib import Path

import pytest

from tests.events import make_event
from tokenwise_core.cache.entries import SQLiteEntries
from tokenwise_core.cache.entry import CachedAnswer, Entry
from tokenwise_core.cli import main, terminal
from tokenwise_core.memory.sessions import LogItem, Owner, SQLiteSessions
from tokenwise_core.scoping import Scope
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
    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "ask", lambda question: asked.append(question) or True)
    assert run(store, "--user", "user-1") == 0
    assert asked == [f"Delete 10 calls of user 'user-1' from {store.url}?"]


def test_a_no_at_the_terminal_deletes_nothing(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "can_ask", lambda: True)
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


# --- the cache's entries ----------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SQLiteEntries:
    entries = SQLiteEntries(tmp_path / "cache.sqlite")
    entries.put(
        [
            Entry(
                key=bytes([i]) * 16,
                namespace="ns/acme",
                answer=CachedAnswer(text="answer"),
                created_at=1.8e9,
                owner=Scope(user=f"user-{i % 2}", session=f"session-{i}"),
            )
            for i in range(4)
        ]
    )
    monkeypatch.setenv("TOKENWISE_CACHE", entries.url)
    return entries


def cached(cache: SQLiteEntries) -> int:
    return sum(totals.entries for totals in cache.totals())


def test_purge_covers_the_cache_too(
    store: SQLiteStore, cache: SQLiteEntries, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(store, "--user", "user-1", "--yes") == 0
    assert capsys.readouterr().out == "deleted 10 calls and 2 entries of the cache, of user 'user-1'\n"
    assert (calls(store, user="user-1"), cached(cache)) == (0, 2)


def test_a_yes_is_asked_for_once_and_for_both(
    store: SQLiteStore, cache: SQLiteEntries, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "ask", lambda question: asked.append(question) or False)
    assert run(store, "--user", "user-1") == 2
    assert asked == [f"Delete 10 calls of user 'user-1' from {store.url} and what {cache.url} holds of them?"]
    assert (calls(store), cached(cache)) == (20, 4)


def test_somebody_who_is_only_in_the_cache_is_purged_from_it(
    store: SQLiteStore, cache: SQLiteEntries, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(store, "--session", "session-3", "--user", "user-1", "--yes") == 0
    assert "1 entry of the cache, of user 'user-1' and session 'session-3'" in capsys.readouterr().out
    assert cached(cache) == 3
    assert run(store, "--user", "nobody", "--yes") == 0
    assert capsys.readouterr().out == "no calls and no entries of user 'nobody' are stored: nothing was deleted\n"


def test_a_cache_without_a_usage_store_is_purged(cache: SQLiteEntries, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "--user", "user-0", "--yes"]) == 0  # TOKENWISE_STORE is memory://
    assert "deleted 2 entries of the cache, of user 'user-0'" in capsys.readouterr().out
    assert cached(cache) == 2


def test_a_store_or_a_cache_that_is_named_must_be_there(
    store: SQLiteStore, cache: SQLiteEntries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent.sqlite")
    assert main(["purge", "--store", absent, "--user", "user-0", "--yes"]) == 2
    assert run(store, "--cache", absent, "--user", "user-0", "--yes") == 2
    assert capsys.readouterr().err.count("absent.sqlite") == 2
    assert (calls(store), cached(cache)) == (20, 4)


def test_nothing_is_purged_where_the_cache_is_no_cache(store: SQLiteStore, tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite"
    broken.write_text("no database")
    assert run(store, "--cache", str(broken), "--user", "user-1", "--yes") == 2
    assert calls(store) == 20


# --- the memory's sessions --------------------------------------------------------------------------------------------


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SQLiteSessions:
    opened = SQLiteSessions(tmp_path / "sessions.sqlite")
    for i in range(4):
        item = LogItem(id="m", data={"role": "user", "text": "hello"}, at=1.8e9)
        opened.append(f"session-{i}", [item], owner=Owner(user=f"user-{i % 2}", application="desk"))
    monkeypatch.setenv("TOKENWISE_SESSIONS", opened.url)
    return opened


def test_purge_covers_the_sessions_too(
    store: SQLiteStore, cache: SQLiteEntries, sessions: SQLiteSessions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(store, "--user", "user-1", "--yes") == 0
    told = capsys.readouterr().out
    assert told == "deleted 10 calls, 2 entries of the cache and 2 sessions, of user 'user-1'\n"
    assert [info.session for info in sessions.sessions()] == ["session-2", "session-0"]
    assert run(store, "--session", "session-2", "--yes") == 0
    assert [info.session for info in sessions.sessions()] == ["session-0"]
    assert run(store, "--user", "nobody", "--yes") == 0
    assert "no calls, no entries and no sessions of user 'nobody' are stored" in capsys.readouterr().out


def test_a_yes_is_asked_for_all_three(
    store: SQLiteStore, cache: SQLiteEntries, sessions: SQLiteSessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "ask", lambda question: asked.append(question) or False)
    assert run(store, "--user", "user-1") == 2
    assert asked[0].endswith(f"from {store.url} and what {cache.url} and {sessions.url} hold of them?")
    assert (calls(store), cached(cache), len(sessions.sessions())) == (20, 4, 4)


def test_sessions_without_a_usage_store_are_purged(
    sessions: SQLiteSessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["purge", "--session", "session-1", "--yes"]) == 0  # TOKENWISE_STORE is memory://
    assert capsys.readouterr().out == "deleted 1 session, of session 'session-1'\n"
    assert len(sessions.sessions()) == 3
    absent = str(tmp_path / "absent.sqlite")
    assert main(["purge", "--sessions", absent, "--user", "user-1", "--yes"]) == 2
    assert "there are no sessions at" in capsys.readouterr().err
    assert not Path(absent).exists()


def test_nothing_is_purged_where_the_sessions_are_none(store: SQLiteStore, cache: SQLiteEntries) -> None:
    other = str(store.url)  # another store's file
    assert run(store, "--sessions", other, "--user", "user-1", "--yes") == 2
    assert (calls(store), cached(cache)) == (20, 4)
