from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from tokenwise_core.cache import CachedAnswer, CacheRequest
from tokenwise_core.cli import main
from tokenwise_core.demo import runner
from tokenwise_core.demo.runner import DemoAnswer, DemoContext
from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.scoping import current_scope
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.store import SQLiteStore

Half = Callable[[DemoContext], Sequence[DemoAnswer]]


def play(context: DemoContext) -> Sequence[DemoAnswer]:
    """Answer the help box's questions with what it expects to hear, as the replayed model would."""
    meter = Meter(context.runtime.recorder, context.runtime.accountant, framework="fake")
    turns = {turn.user: turn for conversation in context.workload.styled("faq") for turn in conversation.turns}

    def called(prompt: Prompt) -> CachedAnswer:
        text = " ".join(fact[0] for fact in turns[prompt.messages[-1].text].facts)
        usage = Usage(input_tokens=20, input_uncached=20, output_tokens=5, output_text=5)
        run = uuid4()
        meter.start(run, lambda: CallDetails(prompt=prompt, model=f"replay-{context.tier}"))
        meter.end(run, lambda: Answered(answer=Answer(text=text), usage=usage))
        return CachedAnswer(text=text, usage=usage, model=f"replay-{context.tier}")

    def ask(question: str) -> str:
        prompt = Prompt(messages=(Message(role="user", text=question),))
        if context.cache is None:
            return called(prompt).text
        return context.cache.run(CacheRequest(prompt=prompt, model="replay"), lambda: called(prompt)).answer.text

    faq = context.workload.styled("faq")
    return list(runner.play(context, faq, lambda _: ask, framework="fake", path="path"))


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


def figures(printed: str, name: str) -> list[int]:
    """Return the figures of the row *name* that holds whole numbers only."""
    rows = (line.strip().removeprefix(name).split() for line in printed.splitlines() if line.strip().startswith(name))
    return [int(cell) for cell in next(row for row in rows if all(cell.isdecimal() for cell in row))]


def test_it_runs_without_and_with_the_cache_and_tells_what_that_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo"]) == 0
    printed = capsys.readouterr().out
    asked, exact, semantic, joined, refused, wrong, alike, wrong_alike = figures(printed, "fake path")
    assert exact + joined == 22
    assert semantic >= 4
    assert min(refused, alike) >= 20
    assert wrong == wrong_alike == 0
    made = asked - exact - semantic - joined
    assert f"calls of the model {asked} {made} " in " ".join(printed.split())
    assert any(line.strip().startswith("veto:number: ") and "≠" in line for line in printed.splitlines())
    assert (tmp_path / "tokenwise-demo-cache.sqlite").is_file()


def test_a_second_demo_begins_with_an_empty_cache(capsys: pytest.CaptureFixture[str]) -> None:
    served = []
    for _ in range(2):
        assert main(["demo", "--cache", "on"]) == 0
        asked, *hits = figures(capsys.readouterr().out, "fake path")[:4]
        served.append((asked, sum(hits)))
    assert served[0] == served[1]


@pytest.mark.parametrize(("choice", "runs"), [("both", 2), ("on", 1), ("off", 1)])
def test_one_of_both_runs_can_be_chosen(choice: str, runs: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--cache", choice]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("fake path, ") == runs
    assert ("Refused, by reason" in captured.out) == (choice != "off")
    assert ("Without and with the cache" in captured.out) == (choice == "both")


def test_the_long_conversations_are_played_without_and_with_memory_for_models_with_a_prompt_cache_and_without(
    halves: dict[str, Half], capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[str | None, bool, float | None]] = []

    def watched(context: DemoContext) -> Sequence[DemoAnswer]:
        rates = (
            None if context.memories is None or context.memories.agent.rates is None else context.memories.agent.rates
        )
        seen.append((current_scope().variant, len(context.workload.conversations) == 3, rates.read if rates else None))
        return play(context)

    halves["fake"] = watched
    assert main(["demo", "--cache", "off"]) == 0
    assert seen == [
        ("without cache", False, None),
        ("without memory", True, None),
        ("with memory", True, 0.1),
        ("with memory, no prompt cache", True, 1.0),
    ]
    printed = capsys.readouterr().out
    for title in ("the provider caches prompts", "nothing is cached", "What memory did"):
        assert title in printed
    seen.clear()
    assert main(["demo", "--cache", "off", "--memory", "off"]) == 0
    assert len(seen) == 1
    assert "Long conversations" not in capsys.readouterr().out


def test_an_unknown_embedder_is_told_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--embedder", "word2vec"]) == 2
    assert "choose default, sentence-transformers or sentence-transformers:FOLDER" in capsys.readouterr().err


def test_an_embedder_that_is_not_installed_is_told_before_the_run(
    halves: dict[str, Half], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    halves.clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    assert main(["demo", "--embedder", "sentence-transformers:some/model"]) == 2
    assert 'pip install "tokenwise[sentence-transformers]"' in capsys.readouterr().err


def test_the_replayed_models_have_their_imaginary_prices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--cache", "off", "--tier", "cheap"]) == 0
    shown = capsys.readouterr().out
    assert "replay-cheap" in shown
    assert "$" in next(line for line in shown.splitlines() if line.startswith("cost"))
    assert "no price" not in shown


def test_fresh_forgets_earlier_demos_and_keeps_the_rest(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'usage.sqlite'}"
    assert main(["demo", "--cache", "off", "--store", url]) == 0
    store = SQLiteStore(tmp_path / "usage.sqlite")
    once = len(list(store.events()))
    assert main(["demo", "--cache", "off", "--store", url]) == 0
    assert len(list(store.events())) == 2 * once
    assert main(["demo", "--cache", "off", "--store", url, "--fresh"]) == 0
    assert len(list(store.events())) == once


def test_a_page_that_cannot_be_written_is_told_before_the_run(
    halves: dict[str, Half], capsys: pytest.CaptureFixture[str]
) -> None:
    halves.clear()
    assert main(["demo", "--output", "/no/such/folder/page.html"]) == 2
    assert capsys.readouterr().err == "tokenwise: cannot write /no/such/folder/page.html: there is no such folder\n"


def test_a_path_without_a_terminal_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["demo"])
    told = capsys.readouterr().err
    assert told.count("fake path, without cache: 87 turns") == told.count("fake path, with cache: 87 turns") == 1


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
