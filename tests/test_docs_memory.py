"""What docs/memory.md shows runs, in the order of the page, and what it names and claims is so."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.test_readme import blocks
from tokenwise_core.cli import COMMANDS, main, memory
from tokenwise_core.memory import Memory
from tokenwise_core.memory.presets import PRESETS
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.prompt_cache import PromptCacheRules

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "memory.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results" / "memory.json"


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table that begins with *heading*."""
    start = PAGE.index(f"| {heading} |")
    lines = PAGE[start : PAGE.index("\n\n", start)].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainDeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*deprecated.*")
def test_the_examples_run_and_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    defaults = Memory.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "deadline_ms", 30_000.0)  # a machine may be busy
    names: dict[str, object] = {}
    for number, block in enumerate(blocks(PAGE, "python"), 1):
        exec(compile(block, f"docs/memory.md, block {number}", "exec"), names)
    printed = capsys.readouterr().out
    for line in [line for block in blocks(PAGE, "text") for line in block.splitlines()]:
        if "%" in line:
            assert _is_about(line, printed), printed
        else:
            assert f"{line}\n" in printed, printed
    assert printed.count("Ms Pichler has time on Tuesdays after 13:00.") == 3
    assert "Write to <mail>\n" in printed
    assert "1.0 []\n" in printed
    memories = [value for value in names.values() if isinstance(value, Memory)]
    assert len(memories) == 8
    for made in memories:  # a broken memory would only have sent everything
        assert not made.stats().failures
        made.close()


def _is_about(line: str, printed: str, *, points: int = 5) -> bool:
    """Tell whether the same line was printed with a figure near to that of *line*."""
    share, text = re.fullmatch(r"(\d+)%(.*)", line).groups()  # type: ignore[union-attr]  # a line that is none fails
    found = re.search(rf"^(\d+)%{re.escape(text)}$", printed, re.MULTILINE)
    return found is not None and abs(int(found[1]) - int(share)) <= points


def test_every_command_of_the_page_exists(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.split("#")[0].split() for block in blocks(PAGE, "bash") for line in block.splitlines()]
    actions = {words[2] for words in lines if words[:2] == ["tokenwise", "memory"]}
    assert actions == set(memory.ACTIONS)
    for action in actions:
        assert main(["memory", action, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in re.findall(r"--[a-z-]+", "".join(blocks(PAGE, "bash"))):
        assert option in shown
    assert {words[1] for words in lines if words} <= set(COMMANDS)


def test_the_rates_of_the_page_are_those_that_are_reckoned_with() -> None:
    prices = PriceBook()
    table = rows("model | cached read | write | cached from | lives")
    assert len(table) >= 6
    for model, read, write, least, lives in table:
        name = model.strip("`")
        rules = PromptCacheRules.for_model(name, None, prices.price(name))
        assert rules is not None, name
        assert float(rules.read_factor) == pytest.approx(float(read)), name
        assert float(rules.write_factor) == pytest.approx(float(write)), name
        assert f"{rules.min_tokens:,}" == least, name
        assert ("unknown" if rules.ttl_seconds is None else f"{rules.ttl_seconds // 60} min") == lives, name


def test_the_figures_of_the_page_are_those_of_the_last_run() -> None:
    if not RESULTS.is_file():
        pytest.skip("benchmarks/results/memory.json is not there yet: `python -m benchmarks memory` writes it")
    results = _figures(json.loads(RESULTS.read_text(encoding="utf-8")))
    measured = {str(row["key"]): float(row["ours"]) for row in results if row["ours"] is not None}
    for key, _, figure in rows("figure | what it is |"):
        digits = len(figure.partition(".")[2])
        assert round(measured[key.strip("`")], digits) == pytest.approx(float(figure)), key


def _figures(data: object) -> list[dict[str, Any]]:
    """Return the rows of a results file, wherever they stand in it."""
    if isinstance(data, dict):
        return [data] if {"key", "ours"} <= data.keys() else [row for one in data.values() for row in _figures(one)]
    return [row for one in data for row in _figures(one)] if isinstance(data, list) else []


def test_the_strategies_and_presets_of_the_page_exist() -> None:
    known = import_module("tokenwise_core.memory")
    named = [name for row in rows("| | measured, LoCoMo (evidence at a tenth of the tokens; cost ÷ everything)")
             for name in re.findall(r"^`(\w+)\(\)`", row[0])]  # fmt: skip
    assert len(named) == 8
    for name in named:
        assert getattr(known, name)().name
    assert set(re.findall(r'seed_preset\("([^"]+)"\)', PAGE)) <= PRESETS.keys()


@pytest.mark.parametrize(
    ("module", "name", "since"),
    [
        ("langchain_core.chat_history", "BaseChatMessageHistory", "1.6.4"),
        ("langchain_core.runnables.history", "RunnableWithMessageHistory", "1.3.3"),
        ("langchain_classic.memory", "ConversationSummaryBufferMemory", "0.3.1"),
    ],
)
def test_what_the_page_calls_legacy_langchain_itself_calls_deprecated(module: str, name: str, since: str) -> None:
    assert name in PAGE
    assert since in PAGE
    source = Path(str(import_module(getattr(import_module(module), name).__module__).__file__)).read_text("utf-8")
    assert re.search(rf'deprecated\(\s*since="{re.escape(since)}"', source)
    assert 'removal="2.0.0"' in source


def test_every_file_that_the_page_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)
    assert links
    assert not [link for link in links if not (ROOT / "docs" / link).exists()]
