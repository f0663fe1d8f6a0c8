from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.cache.harness import answer, asked, make_cache
from tests.postgres import postgres_server, postgres_url
from tokenwise_core.cache.entries import PostgresEntries
from tokenwise_core.cli import main

__all__ = ["postgres_server", "postgres_url"]  # fixtures

pytestmark = pytest.mark.postgres


def test_a_database_without_our_tables_is_no_cache_and_gets_none(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", "stats", "--cache", postgres_url]) == 2
    assert "there is no cache at" in capsys.readouterr().err
    monkeypatch.setenv("TOKENWISE_CACHE", postgres_url)
    assert main(["doctor"]) == 0
    assert "no tables yet; the first cached answer makes them" in capsys.readouterr().out
    assert main(["cache", "stats", "--cache", postgres_url]) == 2


def test_the_commands_work_on_a_database(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_cache(entries=PostgresEntries(postgres_url)) as cache:
        cache.run(asked(), answer)
        cache.flush()
        hit = cache.run(asked(), answer).hit
        assert hit is not None
        cache.flush()
    monkeypatch.setenv("TOKENWISE_CACHE", postgres_url)
    assert main(["cache", "explain", hit.id]) == 0
    assert "answer: Press the button." in capsys.readouterr().out
    assert main(["cache", "export", str(tmp_path / "c.jsonl")]) == 0
    assert main(["cache", "purge", "--all", "--yes"]) == 0
    assert main(["cache", "import", str(tmp_path / "c.jsonl")]) == 0
    assert "stored 1 entry" in capsys.readouterr().err
    assert main(["doctor"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "holds 1 entry in 1 namespace" in told
    assert "index pgvector " in told
