from __future__ import annotations

from pathlib import Path

import pytest

from tests.events import make_event
from tokenwise_core.cli import main
from tokenwise_core.usage.store import SQLiteStore


@pytest.fixture
def store(tmp_path: Path) -> SQLiteStore:
    opened = SQLiteStore(tmp_path / "usage.sqlite")
    opened.add([make_event(i) for i in range(3)])
    return opened


def path_of(store: SQLiteStore) -> str:
    return store.url.removeprefix("sqlite:///")


def test_show_lists_dollars_for_a_million_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", "gpt-4o"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(" gpt-4o"))
    assert line.split()[:4] == ["gpt-4o", "openai", "2.5", "1.25"]


def test_show_keeps_to_one_provider(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", "--provider", "anthropic"]) == 0
    shown = capsys.readouterr().out
    assert "claude" in shown
    assert "gpt-4o" not in shown


def test_prices_of_ones_own_are_shown_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "prices.toml"
    own.write_text('[models."house-70b"]\ninput = 0.20\noutput = 0.60\n')
    monkeypatch.setenv("TOKENWISE_PRICES", str(own))
    assert main(["prices", "show", "house-70b"]) == 0
    assert "house-70b (yours)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["no-such-model"], ["gpt-4o", "no-such-model"], ["--provider", "no-such-seller"]]
)
def test_what_has_no_price_is_named_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "show", *arguments]) == 2
    assert "no-such" in capsys.readouterr().err


def test_check_is_content_when_all_recorded_models_have_prices(
    store: SQLiteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prices", "check", "--store", path_of(store)]) == 0
    shown = capsys.readouterr().out
    assert "gpt-5-mini" in shown
    assert "days ago" in shown


def test_check_names_recorded_models_without_a_price_and_exits_with_1(
    store: SQLiteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add([make_event(9, response_model="house-model", cost=None)])
    assert main(["--store", path_of(store), "prices", "check"]) == 1
    shown = capsys.readouterr().out
    assert "no price" in shown
    assert "name prices for house-model in a TOML file" in shown


def test_an_embedding_model_of_ones_own_needs_no_price(store: SQLiteStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.add([make_event(9, response_model="all-MiniLM-L6-v2", provider=None, operation="embedding", cost=None)])
    assert main(["prices", "check", "--store", path_of(store)]) == 0
    assert "runs here" in capsys.readouterr().out


def test_check_tells_calls_that_were_booked_before_their_price_was_known(
    store: SQLiteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.add([make_event(9, response_model="gpt-4o", cost=None)])
    assert main(["prices", "check", "--store", path_of(store)]) == 0
    assert "priced now, 1 older calls are not" in capsys.readouterr().out


def test_a_broken_price_file_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENWISE_PRICES", str(tmp_path / "absent.toml"))
    assert main(["prices", "show", "gpt-4o"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_pipe_gets_every_model_name_whatever_the_terminals_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["prices", "show", "gpt-4o", "gpt-5-mini"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(" gpt")] == ["gpt-4o", "gpt-5-mini"]
    assert any("context" in line for line in lines)
