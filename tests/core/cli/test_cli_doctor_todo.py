from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tokenwise_core.cli import checks, main


def test_an_extra_that_nothing_uses_is_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_psycopg(package: str) -> str:
        if package == "psycopg":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(checks, "version", without_psycopg)
    assert main(["doctor", "--store", str(tmp_path / "usage.sqlite")]) == 0
    before, _, after = capsys.readouterr().out.partition("\ncan be added\n")
    assert 'pip install "tokenwise[postgres]"' in after
    assert 'pip install "tokenwise[postgres]"' not in before


def test_a_place_where_no_file_can_be_made_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["doctor", "--store", str(tmp_path / "notes.txt" / "usage.sqlite")]) == 1
    assert "cannot be written" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_looking_makes_no_store_of_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    assert main(["doctor", "--store", str(path)]) == 1
    assert "is no usage store" in capsys.readouterr().out
    assert path.read_bytes() == b""


def test_a_directory_is_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--store", str(tmp_path)]) == 1
    assert "is a directory" in capsys.readouterr().out
