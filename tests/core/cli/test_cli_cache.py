from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.core.cache.harness import QUESTION, REPHRASED, answer, asked, make_cache
from tokenwise_core.cache.entries import Codec, SQLiteEntries
from tokenwise_core.cache.entry import Entry, HitRecord
from tokenwise_core.cli import main, terminal
from tokenwise_core.scoping import Scope, scope

ACTIONS = {
    "stats": [], "explain": ["h1"], "feedback": ["h1", "--right"], "shadow-report": [], "purge": ["--all", "--yes"],
    "export": ["-"],
}  # fmt: skip


def entry(i: int = 1, **kwargs: Any) -> Entry:
    given = {"key": bytes([i]) * 16, "namespace": "ns/acme", "answer": answer(f"answer {i}"), "created_at": 1.8e9}
    return Entry(**{**given, **kwargs})


@pytest.fixture
def entries(tmp_path: Path) -> Iterator[SQLiteEntries]:
    opened = SQLiteEntries(tmp_path / "cache.sqlite")
    opened.put(
        [
            entry(1, owner=Scope(user="ann", session="s-1")),
            entry(2, owner=Scope(user="ben", application="desk"), expires_at=1.0),
            entry(3, namespace="shared", hits=4),
        ]
    )
    yield opened
    opened.close()


def run(entries: SQLiteEntries, *arguments: str) -> int:
    return main(["cache", "--cache", entries.url, *arguments])


def left(entries: SQLiteEntries) -> list[int]:
    return [found.key[0] for found in entries.iterate()]


# --- stats ------------------------------------------------------------------------------------------------------------


def test_stats_tell_what_is_stored_by_namespace(entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(entries, "stats") == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [entries.url] in shown
    assert any(words[:3] == ["acme", "2", "0"] for words in shown)
    assert any(words[:3] == ["(shared", "by", "all)"] and "4" in words for words in shown)
    assert any(words[:2] == ["all", "3"] for words in shown)


def test_stats_tell_what_all_processes_have_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = SQLiteEntries(tmp_path / "c.sqlite")
    for _ in range(2):  # two caches, as in two processes
        with make_cache(entries=entries) as cache:
            cache.run(asked(), answer)
            cache.flush()
            assert cache.run(asked(), answer).hit is not None
            cache.run(asked("Another?"), lambda: answer("cut", finish_reason="length"))
            cache.flush()
    assert run(entries, "stats", "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["hit"] == {"exact": 3}
    assert sum(told["miss"].values()) == 3
    assert told["lookups"] == 6
    assert told["hit_rate"] == 0.5
    assert told["refused"] == {"truncated": 2}
    assert told["stored"] == 1
    assert told["saved_tokens"] == 3_000
    assert told["namespaces"][0]["namespace"] == "desk"
    assert told["namespaces"][0]["hits"] == 3
    assert float(told["saved_usd"]) > 0
    assert run(entries, "stats") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for fact in ("lookups 6", "hits 3 (50.0 %)", "tokens saved 3,000", "exact 3", "truncated 2"):
        assert fact in shown


def test_money_that_nobody_knows_is_not_zero(entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]) -> None:
    entries.add_counts({"hit:exact": 2, "unpriced_hits": 2, "saved_input_tokens": 10})
    run(entries, "stats", "--format", "json")
    assert json.loads(capsys.readouterr().out)["saved_usd"] is None
    entries.add_counts({"hit:exact": 1, "saved_nano": 1_500_000_000})
    run(entries, "stats", "--format", "json")
    assert json.loads(capsys.readouterr().out)["saved_usd"] == "1.500000000"
    run(entries, "stats")
    assert "≥$1.50" in capsys.readouterr().out


def test_an_empty_cache_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = SQLiteEntries(tmp_path / "c.sqlite")
    entries.totals()
    assert run(entries, "stats") == 0
    assert "nothing is stored" in capsys.readouterr().out


# --- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_a_cache_that_is_not_there_is_one_line_and_is_not_made(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent.sqlite"
    assert main(["cache", action, "--cache", str(absent), *ACTIONS[action]]) == 2
    assert capsys.readouterr().err.startswith(f"tokenwise: there is no cache at {absent}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("damage", ["text", "empty", "other", "pages", "folder"])
def test_what_is_no_cache_is_one_line_and_stays_as_it_is(
    action: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.sqlite"
    if damage == "text":
        path.write_text("no database " * 1_000)
    elif damage == "empty":
        path.touch()
    elif damage == "other":
        sqlite3.connect(path).execute("CREATE TABLE mine (x)").connection.close()
    elif damage == "folder":
        path.mkdir()
    else:
        made = SQLiteEntries(path)
        made.put([entry(i) for i in range(1, 200)])
        made.close()
        whole = path.read_bytes()
        path.write_bytes(whole[:200] + b"\xff" * (len(whole) - 200))
    before = None if path.is_dir() else path.read_bytes()
    assert main(["cache", "--cache", str(path), action, *ACTIONS[action]]) == 2
    err = capsys.readouterr().err
    assert err.startswith("tokenwise: ")
    assert err.count("\n") == 1
    assert [p for p in tmp_path.iterdir() if "damaged" in p.name] == []
    assert before is None or path.read_bytes() == before


def test_the_environment_names_the_cache(
    entries: SQLiteEntries, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENWISE_CACHE", entries.url)
    assert main(["cache", "stats"]) == 0
    assert entries.url in capsys.readouterr().out


def test_memory_is_no_cache_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "stats"]) == 2
    assert "memory:// holds nothing in a new process" in capsys.readouterr().err


def test_a_password_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "stats", "--cache", "postgresql://me:secret@127.0.0.1:1/c"]) == 2
    captured = capsys.readouterr()
    assert "secret" not in captured.out + captured.err
    assert captured.err.count("\n") == 1


# --- explain and feedback ---------------------------------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> tuple[SQLiteEntries, str]:
    """Return a cache and the id of a hit for a rephrased question in it."""
    entries = SQLiteEntries(tmp_path / "served.sqlite")
    with make_cache(entries=entries) as cache:
        cache.run(asked(), answer)
        cache.flush()
        hit = cache.lookup(asked(REPHRASED)).hit
        assert hit is not None
        cache.flush()
        return entries, hit.id


def test_explain_tells_both_questions_and_what_was_tested(
    served: tuple[SQLiteEntries, str], capsys: pytest.CaptureFixture[str]
) -> None:
    entries, hit_id = served
    assert run(entries, "explain", hit_id) == 0
    shown = capsys.readouterr().out
    assert f"asked: {REPHRASED}" in shown
    assert "stored question: How do I reset the password of my account?" in shown
    assert "kind: semantic" in shown
    assert "number" in shown
    assert "answer: Press the button." in shown


def test_an_answer_judged_wrong_is_not_served_again(
    served: tuple[SQLiteEntries, str], capsys: pytest.CaptureFixture[str]
) -> None:
    entries, hit_id = served
    assert run(entries, "feedback", hit_id, "--wrong") == 0
    assert entries.counts()["feedback:wrong"] == 1
    assert "not served again" in capsys.readouterr().out
    with make_cache(entries=entries) as cache:
        assert cache.lookup(asked(REPHRASED)).hit is None
        assert cache.lookup(asked()).hit is not None  # its own question is another matter


def test_an_answer_judged_right_stays(served: tuple[SQLiteEntries, str], capsys: pytest.CaptureFixture[str]) -> None:
    entries, hit_id = served
    assert run(entries, "feedback", hit_id, "--right") == 0
    assert entries.counts()["feedback:right"] == 1
    assert "right" in capsys.readouterr().out
    with make_cache(entries=entries) as cache:
        assert cache.lookup(asked(REPHRASED)).hit is not None


@pytest.mark.parametrize("arguments", [["explain", "nope"], ["feedback", "nope", "--wrong"]])
def test_an_unknown_hit_is_one_line(
    arguments: list[str], entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(entries, *arguments) == 2
    assert "knows no hit 'nope'" in capsys.readouterr().err


@pytest.mark.parametrize(("action", "flags"), [("explain", []), ("feedback", ["--wrong"]), ("feedback", ["--right"])])
def test_a_sealed_hit_is_told_from_an_unknown_one(
    action: str, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed = SQLiteEntries(tmp_path / "s.sqlite", codec=Codec(seal=lambda b: b[::-1], unseal=lambda b: b[::-1]))
    with make_cache(entries=sealed) as cache:
        cache.run(asked(), answer)
        hit = cache.run(asked(), answer).hit
        assert hit is not None
        cache.flush()
        assert run(sealed, action, hit.id, *flags) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert f"holds the hit {hit.id!r}, but it cannot be read without the application's key" in err
        assert f"cache.feedback({hit.id!r}, ok=False)" in err
        assert "feedback:right" not in sealed.counts()
        assert "feedback:wrong" not in sealed.counts()
        assert run(sealed, action, "nope", *flags) == 2
        assert "knows no hit 'nope'" in capsys.readouterr().err
        assert cache.feedback(hit.id, ok=False)  # as the message says
        assert cache.lookup(asked()).hit is None


@pytest.mark.parametrize(
    "arguments", [[], ["explain"], ["feedback", "h"], ["feedback", "h", "--right", "--wrong"], ["frob"], ["export"]]
)
def test_wrong_arguments_of_cache_are_one_line(
    arguments: list[str], entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(entries, *arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- shadow-report ----------------------------------------------------------------------------------------------------


def test_the_shadow_report_tells_what_would_have_been_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = SQLiteEntries(tmp_path / "c.sqlite")
    with make_cache(entries=entries, shadow=True) as cache:
        for text in (QUESTION, REPHRASED, f"{REPHRASED}?!"):
            assert cache.run(asked(text), answer).hit is None
            cache.flush()
        cache.run(asked(f"{QUESTION}!"), lambda: answer("Quite another thing."))
        cache.flush()
    assert run(entries, "shadow-report", "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["lookups"] == 4
    assert told["would_be_by_kind"] == {"semantic": 3}
    assert (told["right"], told["wrong"]) == (2, 1)
    assert told["within"] is False
    assert run(entries, "shadow-report") == 0
    shown = capsys.readouterr().out
    assert "would have been served: 3 (3 semantic), 75.0% of the lookups" in shown
    assert "max_error=0.05 does not hold" in shown


def test_a_bound_for_the_shadow_report_is_a_fraction(
    entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(entries, "shadow-report", "--max-error", "5") == 2
    assert "give a fraction" in capsys.readouterr().err


# --- purge ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["--namespace", "acme"], [3]),
        (["--shared"], [1, 2]),
        (["--user", "ann"], [2, 3]),
        (["--session", "s-1"], [2, 3]),
        (["--application", "desk"], [1, 3]),
        (["--user", "ann", "--session", "s-1"], [2, 3]),
        (["--expired"], [1, 3]),
        (["--all"], []),
    ],
)
def test_purge_deletes_what_it_names_and_nothing_else(
    arguments: list[str], kept: list[int], entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(entries, "purge", *arguments, "--yes") == 0
    assert left(entries) == kept
    n = 3 - len(kept)
    assert capsys.readouterr().out.startswith(f"deleted {'1 entry' if n == 1 else f'{n} entries'}: ")


def test_purge_of_a_person_reaches_what_they_asked(entries: SQLiteEntries) -> None:
    record = HitRecord(id="h1", ts=1.0, seq=1, kind="exact", namespace="ns/acme", query="secret", owner=Scope(user="u"))
    entries.add_hits([record])
    run(entries, "purge", "--user", "u", "--yes")
    assert entries.hit("h1") is None


def test_nothing_is_purged_without_a_yes(entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(entries, "purge", "--all") == 2
    assert left(entries) == [1, 2, 3]
    assert f"give --yes to delete all entries from {entries.url}" in capsys.readouterr().err


def test_purge_asks_at_a_terminal(entries: SQLiteEntries, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[str] = []
    monkeypatch.setattr(terminal, "can_ask", lambda: True)
    monkeypatch.setattr(terminal, "ask", lambda question: questions.append(question) or False)
    assert run(entries, "purge", "--namespace", "acme") == 2
    assert questions == [f"Delete all entries of namespace 'acme' from {entries.url}?"]
    assert left(entries) == [1, 2, 3]


def test_a_namespace_that_is_not_there_is_bad_input(entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(entries, "purge", "--namespace", "acmee", "--yes") == 2
    assert "no namespace 'acmee'" in capsys.readouterr().err
    assert left(entries) == [1, 2, 3]


@pytest.mark.parametrize("arguments", [[], ["--all", "--expired"], ["--user", "a", "--namespace", "b"]])
def test_purge_needs_exactly_one_way(
    arguments: list[str], entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(entries, "purge", *arguments, "--yes") == 2
    assert "cache purge needs one of" in capsys.readouterr().err


def test_a_purge_that_finds_nothing_says_so(entries: SQLiteEntries, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(entries, "purge", "--user", "nobody", "--yes") == 0
    assert capsys.readouterr().out == "nothing was deleted: no entries of user 'nobody'\n"


def test_a_running_cache_sees_what_was_purged(tmp_path: Path) -> None:
    entries = SQLiteEntries(tmp_path / "c.sqlite")
    with make_cache(entries=entries) as cache, scope(user="ann"):
        cache.run(asked(), answer)
        cache.flush()
        run(entries, "purge", "--user", "ann", "--yes")
        cache.clear("another")  # any look at the store will do: no test waits a second
        assert cache.totals() == []
