from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from inline_snapshot import snapshot

from tokenwise_core.cli import main
from tokenwise_core.tokens import Calibration, TokenCounter, read_request
from tokenwise_core.usage.runtime import CALIBRATION_KEY
from tokenwise_core.usage.store import SQLiteStore

REQUEST: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "You are a kind clerk at a support desk."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello, how can I help?"},
        {"role": "user", "content": "Where is my parcel?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "find_parcel",
                "description": "Find a parcel by its number.",
                "parameters": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
            },
        }
    ],
}


@pytest.fixture
def request_file(tmp_path: Path) -> str:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(REQUEST))
    return str(path)


def counted(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["count", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_request_is_shown_by_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"model": "gpt-4o", "messages": REQUEST["messages"]}))
    assert main(["count", str(path), "--per-day", "1000"]) == 0
    assert capsys.readouterr().out == snapshot("""\
42 tokens (exact): a request (chat) for gpt-4o
Parts

 component       tokens    share
 ───────────────────────────────
 system prompt       10   23.8 %
 history              8   19.0 %
 user input           5   11.9 %
 overhead            19   45.2 %

input cost: $0.000105
1,000 such requests a day, input alone

 every       tokens     cost
 ───────────────────────────
 day         42,000   $0.105
 month    1,260,000    $3.15
 year    15,330,000   $38.32

""")


def test_tools_are_shown_one_by_one(request_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", request_file]) == 0
    shown = capsys.readouterr().out
    assert "Tool definitions" in shown
    assert " find_parcel " in shown


def test_the_parts_sum_to_the_total(request_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = counted([request_file], capsys)
    assert sum(found["components"].values()) == found["tokens"]
    whole = sum(m["tokens"] for m in found["messages"]) + sum(t["tokens"] for t in found["tools"])
    assert whole + found["tools_overhead"] + found["output_schema"] + found["overhead"] == found["tokens"]


def test_a_day_a_month_and_a_year_are_projected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "prompt.txt"
    text.write_text("Hello there, world")
    found = counted([str(text), "--per-day", "1000000"], capsys)
    assert found["tokens"] == 4
    assert [found["projection"][every]["tokens"] for every in ("day", "month", "year")] == [
        4_000_000,
        120_000_000,
        1_460_000_000,
    ]
    assert Decimal(found["input_cost_usd"]) == Decimal("0.00001")
    assert Decimal(found["projection"]["year"]["input_cost_usd"]) == 3650


@pytest.mark.parametrize(
    ("body", "api"),
    [
        ({"model": "gpt-4o", "input": "Hello", "instructions": "Be kind."}, "responses"),
        (
            {"model": "claude-sonnet-4-5", "system": "Be kind.", "messages": [{"role": "user", "content": "Hi"}]},
            "anthropic",
        ),
        ({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "model": "gemini-2.5-flash"}, "google"),
        ([{"role": "user", "content": "Hi"}], "chat"),
    ],
)
def test_requests_of_any_provider_are_read(
    body: Any, api: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(body))
    found = counted([str(path)], capsys)
    assert found["api"] == api
    assert found["components"]["user_input"] >= 1


def test_json_that_is_no_request_is_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.json"
    path.write_text('{"colour": "blue"}')
    assert "api" not in counted([str(path)], capsys)


def test_a_dash_reads_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO("Grüße".encode())))
    assert counted(["-"], capsys)["characters"] == 5


def test_an_estimate_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Hello there, world")
    assert main(["count", str(path), "--model", "claude-sonnet-4-5"]) == 0
    assert capsys.readouterr().out.startswith("≈4 tokens (estimated)")


def test_what_the_store_has_learnt_corrects_an_estimate(
    request_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = counted([request_file, "--model", "claude-sonnet-4-5"], capsys)
    assert before["source"] == "estimated"
    calibration = Calibration()
    counter = TokenCounter.for_model("claude-sonnet-4-5", calibration=calibration)
    for _ in range(50):
        counter.observe(counter.count(read_request(REQUEST)), round(1.5 * before["tokens"]))
    store = SQLiteStore(tmp_path / "usage.sqlite")
    store.set_state(CALIBRATION_KEY, calibration.to_dict())
    store.close()
    after = counted([request_file, "--model", "claude-sonnet-4-5", "--store", str(tmp_path / "usage.sqlite")], capsys)
    assert after["source"] == "calibrated"
    assert after["tokens"] > 1.2 * before["tokens"]


def test_analysis_tells_how_densely_a_text_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "dense.txt"
    path.write_text("{}[]" * 50)
    found = counted([str(path), "--analyze"], capsys)["analysis"]
    assert found["efficiency_score"] < 1
    assert main(["count", str(path), "--analyze"]) == 0
    assert "efficiency (English prose is 1)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "arguments", "complaint"),
    [
        (None, [], "cannot read"),
        (b"\xff\xfe\x00", [], "is no UTF-8 text (byte 0)"),
        (b"Hello", ["--model", "no-such-model"], "unknown model 'no-such-model'"),
        (b'{"model": "deployment-7", "messages": []}', [], "unknown model 'deployment-7'"),
        (b'{"messages": 5}', [], "'messages' must be a list of objects"),
        (b'{"messages": ["Hello"]}', [], "'messages' must be a list of objects"),
        (b'{"messages": [], "tools": "x"}', [], "'tools' must be a list of objects"),
        (b'{"contents": 5}', [], "'contents' must be a text, a list or an object"),
        (b"Hello", ["--per-day", "often"], "'often' is no whole number above zero"),
        (b"Hello", ["--per-day", "0"], "'0' is no whole number above zero"),
        (b"Hello", ["--model", "claude-sonnet-4-5", "--store", "/no/such/store.sqlite"], "there is no usage store"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    content: bytes | None, arguments: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prompt.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["count", str(path), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
