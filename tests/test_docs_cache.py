"""What docs/cache.md shows runs, in the order of the page, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_readme import blocks
from tokenwise_core.cache import SemanticCache
from tokenwise_core.cache.vetoes import VETOES
from tokenwise_core.cli import COMMANDS, cache, main

PAGE = (Path(__file__).parents[1] / "docs" / "cache.md").read_text(encoding="utf-8")


def test_the_examples_run_and_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKENWISE_CACHE", str(tmp_path / "cache.sqlite"))
    monkeypatch.setitem(SemanticCache.__init__.__kwdefaults__, "deadline_ms", 30_000.0)  # a machine may be busy
    monkeypatch.setitem(SemanticCache.__init__.__kwdefaults__, "explore", 0.0)  # else 3 % of the hits ask for a label
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(PAGE, "python"), 1):
        exec(compile(block, f"docs/cache.md, block {number}", "exec"), names)
    printed = capsys.readouterr().out
    for line in blocks(PAGE, "text")[0].splitlines():
        assert f"{line}\n" in printed, printed
    assert "asked: How much is Tide per year?" in printed
    assert "£109 a year None" in printed
    caches = [value for value in names.values() if isinstance(value, SemanticCache)]
    assert len(caches) == 4
    for made in caches:  # a broken cache would only have asked the model
        assert not made.stats().failures
        assert not made.stats().dropped
        made.close()


def test_every_command_of_the_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split("#")[0].split() for block in blocks(PAGE, "bash") for line in block.splitlines()]
    actions = {words[2] for words in lines if words[:2] == ["tokenwise", "cache"]}
    assert actions == set(cache.ACTIONS)
    for action in actions:
        assert main(["cache", action, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in re.findall(r"--[a-z-]+", "".join(blocks(PAGE, "bash"))):
        assert option in shown
    assert {words[1] for words in lines if words} <= set(COMMANDS)


def test_the_vetoes_of_the_page_exist() -> None:
    named = set(re.findall(r"veto:(\w+)", PAGE)) | set(re.findall(r'vetoes_off=\("(\w+)"', PAGE))
    assert named
    assert named <= set(VETOES)


def test_every_file_that_the_page_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)
    assert not [link for link in links if not (Path(__file__).parents[1] / "docs" / link).exists()]
