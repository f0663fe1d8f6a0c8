from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from tokenwise_core.cli import main
from tokenwise_core.demo import runner
from tokenwise_core.demo.runner import APPLICATION, DemoAnswer, DemoContext
from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.scoping import scope
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.store import SQLiteStore

Half = Callable[[DemoContext], Sequence[DemoAnswer]]


def play(context: DemoContext) -> Sequence[DemoAnswer]:
    """Answer the first conversation with what it expects to hear, as the replayed model would."""
    meter = Meter(context.runtime.recorder, context.runtime.accountant, framework="fake")
    conversation = context.workload.conversations[0]
    answers = []
    for number, turn in enumerate(conversation.turns, 1):
        text = " ".join(fact[0] for fact in turn.facts)
        prompt = Prompt(messages=(Message(role="user", text=turn.user),))
        usage = Usage(input_tokens=20, input_uncached=20, output_tokens=5, output_text=5)
        run = uuid4()
        with scope(application=APPLICATION, session=conversation.id):
            meter.start(run, lambda prompt=prompt: CallDetails(prompt=prompt, model=f"replay-{context.tier}"))
        meter.end(run, lambda text=text, usage=usage: Answered(answer=Answer(text=text), usage=usage))
        context.progress("fake path", number, len(conversation.turns))
        answers.append(DemoAnswer(conversation=conversation.id, turn=turn.id, text=text, framework="fake", path="path"))
    return answers


@pytest.fixture(autouse=True)
def halves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Half]:
    found: dict[str, Half] = {"fake": play}
    monkeypatch.setattr(runner, "halves", lambda: found)
    monkeypatch.delenv("TOKENWISE_STORE")
    monkeypatch.chdir(tmp_path)
    return found


def test_the_demo_records_scores_prints_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    captured = capsys.readouterr()
    assert "fake path" in captured.out
    assert "100.0 %" in captured.out
    assert "user input" in captured.out
    assert "replay-strong" in captured.out
    assert "recorded in sqlite:///" in captured.err
    page = (tmp_path / "tokenwise-report.html").read_text(encoding="utf-8")
    assert "Tokens by component" in page
    assert (tmp_path / "tokenwise-demo.sqlite").is_file()


def test_the_replayed_models_have_their_imaginary_prices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--tier", "cheap"]) == 0
    shown = capsys.readouterr().out
    assert "replay-cheap" in shown
    assert "$" in next(line for line in shown.splitlines() if line.startswith("cost"))
    assert "no price" not in shown


def test_fresh_forgets_earlier_demos_and_keeps_the_rest(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'usage.sqlite'}"
    assert main(["demo", "--store", url]) == 0
    store = SQLiteStore(tmp_path / "usage.sqlite")
    once = len(list(store.events()))
    assert main(["demo", "--store", url]) == 0
    assert len(list(store.events())) == 2 * once
    assert main(["demo", "--store", url, "--fresh"]) == 0
    assert len(list(store.events())) == once


def test_a_page_that_cannot_be_written_is_told_before_the_run(
    halves: dict[str, Half], capsys: pytest.CaptureFixture[str]
) -> None:
    halves.clear()
    assert main(["demo", "--output", "/no/such/folder/page.html"]) == 2
    assert capsys.readouterr().err == "tokenwise: cannot write /no/such/folder/page.html: there is no such folder\n"


def test_a_path_without_a_terminal_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["demo"])
    assert capsys.readouterr().err.count("fake path: ") == 1


def test_a_framework_that_is_not_installed_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--framework", "llamaindex"]) == 2
    assert capsys.readouterr().err == 'tokenwise: llamaindex is not installed: pip install "tokenwise[llamaindex]"\n'


def test_a_live_model_that_fails_is_one_line(halves: dict[str, Half], capsys: pytest.CaptureFixture[str]) -> None:
    def without_key(context: DemoContext) -> Sequence[DemoAnswer]:
        raise RuntimeError("set OPENAI_API_KEY\nand try again")

    halves["fake"] = without_key
    assert main(["demo", "--model", "openai:gpt-5-mini"]) == 2
    assert capsys.readouterr().err == (
        "tokenwise: the live model openai:gpt-5-mini failed: RuntimeError: set OPENAI_API_KEY\n"
    )


def test_an_error_of_our_own_is_not_hidden(halves: dict[str, Half]) -> None:
    def broken(context: DemoContext) -> Sequence[DemoAnswer]:
        raise RuntimeError("a bug")

    halves["fake"] = broken
    with pytest.raises(RuntimeError, match="a bug"):
        main(["demo"])


def test_a_store_that_cannot_be_read_is_told_before_the_run(
    tmp_path: Path, halves: dict[str, Half], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("not a database " * 1000)
    halves.clear()
    assert main(["demo", "--store", str(tmp_path / "notes.txt")]) == 2
    assert "notes.txt" in capsys.readouterr().err


def test_an_unknown_framework_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--framework", "nope"]) == 2
    told = capsys.readouterr().err
    assert "langchain" in told
    assert "llamaindex" in told
    assert "pip install" not in told
