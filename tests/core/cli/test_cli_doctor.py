from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tests.events import make_event
from tokenwise_core import __version__, switch
from tokenwise_core.cli import checks, main
from tokenwise_core.usage.components import CountSource
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.store import SQLiteStore


@pytest.fixture
def store(tmp_path: Path) -> SQLiteStore:
    opened = SQLiteStore(tmp_path / "usage.sqlite")
    opened.add([make_event(i) for i in range(3)])
    return opened


def test_all_areas_are_told(store: SQLiteStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--store", store.url]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"TokenWise {__version__} on Python ")
    for area in ("installed", "tokenisers", "embeddings", "prices", "store", "settings"):
        assert f"\n{area}\n" in shown
    assert "3 model calls since 2026-09-21 14:00 UTC" in shown
    assert "o200k_base" in shown
    assert "kill switch" in shown


def test_a_missing_extra_comes_with_the_command_that_adds_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_psycopg(package: str) -> str:
        if package == "psycopg":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(checks, "version", without_psycopg)
    main(["doctor"])
    shown = capsys.readouterr().out
    assert "psycopg missing" in shown
    assert 'pip install "tokenwise[postgres]"' in shown


def test_calls_that_reported_no_usage_bring_the_remedy(store: SQLiteStore, capsys: pytest.CaptureFixture[str]) -> None:
    usage = Usage(input_tokens=9, input_uncached=9, output_tokens=1, output_text=1, source=CountSource.EXACT)
    store.add([make_event(9, usage=usage)])
    assert main(["doctor", "--store", store.url]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "calls that reported none and were counted by us: 1 of gpt-5-mini" in shown
    assert "ChatOpenAI(stream_usage=True)" in shown
    assert "OpenAILike(additional_kwargs={'stream_options': {'include_usage': True}})" in shown


def test_recorded_models_without_a_price_point_to_prices_check(
    store: SQLiteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add([make_event(9, response_model="house-model", cost=None)])
    main(["doctor", "--store", store.url])
    shown = capsys.readouterr().out
    assert "calls of house-model have none" in shown
    assert "  tokenwise prices check" in shown


def test_a_model_without_a_name_is_called_so(store: SQLiteStore, capsys: pytest.CaptureFixture[str]) -> None:
    usage = Usage(input_tokens=9, input_uncached=9, output_tokens=1, output_text=1, source=CountSource.EXACT)
    store.add(
        [make_event(i, request_model=m, response_model=None, usage=usage, cost=None) for i, m in ((8, None), (9, ""))]
    )
    main(["doctor", "--store", store.url])
    shown = " ".join(capsys.readouterr().out.split())
    assert "counted by us: 2 of a model without a name" in shown
    assert "calls of a model without a name have none" in shown


def test_a_broken_store_is_a_problem_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "usage.sqlite"
    broken.write_text("not a database " * 1000)
    assert main(["doctor", "--store", str(broken)]) == 1
    shown = capsys.readouterr().out
    assert "✗ store" in shown
    assert "restore this one from a copy" in shown


def test_a_store_that_is_not_there_yet_is_told_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "usage.sqlite"
    assert main(["doctor", "--store", str(path)]) == 0
    assert "the first recorded call makes it" in capsys.readouterr().out
    assert not path.parent.exists()


def test_the_kill_switch_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(switch, "_enabled", False)
    main(["doctor"])
    shown = capsys.readouterr().out
    assert "ON: nothing is accounted" in shown
    assert "unset TOKENWISE_DISABLED" in shown


def test_a_setting_names_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENWISE_KEEP_TEXT", "1")
    main(["doctor"])
    shown = capsys.readouterr().out
    assert "True (TOKENWISE_KEEP_TEXT)" in shown
    assert "memory:// (TOKENWISE_STORE)" in shown


def test_a_password_in_the_store_url_is_never_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--store", "postgresql://me:secret@127.0.0.1:1/usage"]) == 1
    assert "secret" not in capsys.readouterr().out


def test_a_wrong_embedding_model_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENWISE_EMBEDDING_MODEL", str(tmp_path / "absent"))
    assert main(["doctor"]) == 1
    assert "✗ embedder" in capsys.readouterr().out
