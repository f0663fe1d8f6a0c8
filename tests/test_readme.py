"""What the README shows runs, and the commands that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokenwise_core import SemanticCache
from tokenwise_core.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
DOCS = sorted((Path(__file__).parents[1] / "docs").glob("*.md"))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_examples_run_and_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SemanticCache.__init__.__kwdefaults__, "deadline_ms", 30_000)  # on a busy machine too
    monkeypatch.setitem(SemanticCache.__init__.__kwdefaults__, "explore", 0.0)  # else 3 % of the hits ask for a label
    names: dict[str, object] = {}
    for block in blocks(README, "python"):
        exec(block, names)
    printed = capsys.readouterr().out
    assert printed.count("£109 a year") == 2
    shown = [line for block in blocks(README, "text") for line in block.splitlines()]
    assert all(line in printed for line in shown), printed


def test_every_command_that_the_readme_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {
        line.split()[1] for block in blocks(README, "bash") for line in block.splitlines() if "tokenwise " in line
    }
    for command in commands:
        assert main([command, "--help"]) == 0
    assert commands >= {"report", "count", "prices", "doctor", "purge"}


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert not [link for link in links if not (Path(__file__).parents[1] / link).exists()]
