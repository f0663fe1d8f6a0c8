from __future__ import annotations

from pathlib import Path

import pytest

from tokenwise_core.cache.entries import SQLiteEntries
from tokenwise_core.cache.entry import CachedAnswer, Entry
from tokenwise_core.cli import checks_cache, main
from tokenwise_core.errors import MissingExtra


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_doctor_tells_where_the_cache_is_and_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = SQLiteEntries(tmp_path / "cache.sqlite")
    entries.put([Entry(key=b"k" * 16, namespace="ns/a", answer=CachedAnswer(text="x"), created_at=1.0)])
    monkeypatch.setenv("TOKENWISE_CACHE", entries.url)
    assert main(["doctor"]) == 0
    told = shown(capsys)
    assert f"cache ✓ url {entries.url} ✓ holds 1 entry in 1 namespace" in told
    assert "✓ writable yes" in told
    assert f"snapshots in {tmp_path / 'cache.sqlite-index'}" in told
    assert "✓ index FAISS " in told


def test_a_cache_that_is_not_there_yet_is_told_and_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENWISE_CACHE", str(tmp_path / "cache.sqlite"))
    assert main(["doctor"]) == 0
    assert "not there yet; the first cached answer makes it" in shown(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_cache_is_a_problem_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache.sqlite").write_text("no database")
    monkeypatch.setenv("TOKENWISE_CACHE", str(tmp_path / "cache.sqlite"))
    assert main(["doctor"]) == 1
    told = shown(capsys)
    assert "✗ cache" in told
    assert "move this one away: it is begun anew" in told


def test_without_an_embedder_doctor_says_that_rephrased_questions_are_not_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise MissingExtra("onnxruntime", "local")

    monkeypatch.setattr(checks_cache, "default_embedder", missing)
    assert main(["doctor"]) == 0
    told = shown(capsys)
    assert "rephrased questions not found: exact hits only" in told
    assert 'pip install "tokenwise[local]"' in told


def test_a_database_that_does_not_answer_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENWISE_CACHE", "postgresql://me:secret@127.0.0.1:1/c")
    assert main(["doctor"]) == 1
    told = shown(capsys)
    assert "✗ cache" in told
    assert "secret" not in told
