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
