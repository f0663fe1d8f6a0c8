from __future__ import annotations

import io
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.cache.harness import QUESTION, answer, asked, make_cache
from tokenwise_core.cache.entries import Codec, SQLiteEntries
from tokenwise_core.cli import main


@pytest.fixture
def entries(tmp_path: Path) -> Iterator[SQLiteEntries]:
    opened = SQLiteEntries(tmp_path / "cache.sqlite")
    with make_cache(entries=opened) as cache:
        for i in range(5):
            cache.put(asked(f"{QUESTION} {i}"), answer(f"answer {i}"))
        assert cache.flush()
    yield opened
    opened.close()


def export(entries: SQLiteEntries, path: Path | str, *arguments: str) -> int:
    return main(["cache", "export", "--cache", entries.url, str(path), *arguments])


def test_what_was_exported_is_a_hit_after_import(
    entries: SQLiteEntries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, there = tmp_path / "cache.jsonl", tmp_path / "there.sqlite"
    assert export(entries, file) == 0
    assert capsys.readouterr().err == f"wrote 5 lines to {file}\n"
    assert main(["cache", "import", "--cache", str(there), str(file)]) == 0
    assert capsys.readouterr().err == "stored 5 entries and 0 labels of 5 lines\n"
    with make_cache(entries=SQLiteEntries(there)) as cache:
        hit = cache.lookup(asked(f"{QUESTION} 3")).hit
        assert hit is not None
        assert hit.answer.text == "answer 3"


def test_an_export_goes_through_a_pipe(
    entries: SQLiteEntries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(entries, "-") == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["v"] for line in captured.out.splitlines()] == [1] * 5
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(captured.out.encode())))
    assert main(["cache", "--cache", str(tmp_path / "there.sqlite"), "import", "-"]) == 0
    assert "stored 5 entries" in capsys.readouterr().err


def test_an_exported_file_is_readable_by_its_owner_alone(entries: SQLiteEntries, tmp_path: Path) -> None:
    export(entries, tmp_path / "cache.jsonl")
    assert stat.S_IMODE((tmp_path / "cache.jsonl").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_one_namespace_is_exported_by_its_name(
    entries: SQLiteEntries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(entries, tmp_path / "a.jsonl", "--namespace", "desk") == 0
    assert export(entries, tmp_path / "b.jsonl", "--namespace", "other") == 0
    assert capsys.readouterr().err.splitlines() == [
        f"wrote 5 lines to {tmp_path / 'a.jsonl'}",
        f"wrote 0 lines to {tmp_path / 'b.jsonl'}",
    ]


def test_sealed_entries_are_told_and_not_among_the_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sealed = SQLiteEntries(tmp_path / "s.sqlite", codec=Codec(seal=lambda b: b[::-1], unseal=lambda b: b[::-1]))
    with make_cache(entries=sealed) as cache:
        cache.put(asked(), answer())
        cache.flush()
    assert export(sealed, tmp_path / "s.jsonl") == 0
    assert "1 entry could not be read" in capsys.readouterr().err


def test_bad_lines_are_named_and_the_good_ones_stored(
    entries: SQLiteEntries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cache.jsonl"
    export(entries, file)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], b"\xff\xfe\n", lines[1], b'{"v":9}\n', *lines[2:-1], lines[-1][:40]]))
    capsys.readouterr()
    assert main(["cache", "import", "--cache", str(tmp_path / "there.sqlite"), str(file)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "stored 4 entries and 0 labels of 7 lines",
        "3 could not be used",
        "  line 2: no JSON",
        "  line 4: format 9, this release reads 1",
        "  line 7: no JSON",
    ]


def test_importing_over_the_same_cache_changes_nothing(
    entries: SQLiteEntries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(entries, tmp_path / "cache.jsonl")
    capsys.readouterr()
    assert main(["cache", "import", "--cache", entries.url, str(tmp_path / "cache.jsonl")]) == 0
    assert "5 were there already" in capsys.readouterr().err


def test_a_file_that_is_no_export_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("milk\nbread\n")
    assert main(["cache", "import", "--cache", str(tmp_path / "c.sqlite"), str(file)]) == 2
    assert "is no exported cache: no line of it can be used (line 1: no JSON)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_a_file_that_cannot_be_read_is_bad_input(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "import", "--cache", str(tmp_path / "c.sqlite"), str(tmp_path / name)]) == 2
    assert "cannot read" in capsys.readouterr().err
    assert not (tmp_path / "c.sqlite").exists()


def test_a_file_that_cannot_be_written_is_bad_input(
    entries: SQLiteEntries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(entries, tmp_path / "no" / "such" / "folder") == 2
    assert "cannot write" in capsys.readouterr().err


def test_an_export_that_fails_leaves_the_old_file(
    entries: SQLiteEntries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cache.jsonl"
    file.write_text("old")

    def fail(*_: object, **__: object) -> Iterator[str]:
        yield "{}"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tokenwise_core.cli.cache_transfer.export_lines", fail)
    assert export(entries, file) == 2
    assert file.read_text() == "old"
    assert not list(tmp_path.glob("*.part"))


def test_import_into_memory_is_refused(
    entries: SQLiteEntries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(entries, tmp_path / "cache.jsonl")
    capsys.readouterr()
    assert main(["cache", "import", str(tmp_path / "cache.jsonl")]) == 2
    assert "memory:// is gone when this command ends" in capsys.readouterr().err
