"""The cache and the whole demo, run with the library sentence-transformers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tokenwise_core.cache import CachedAnswer, CacheRequest, SemanticCache
from tokenwise_core.cli import main
from tokenwise_core.demo.workload import Turn, load_workload
from tokenwise_core.embeddings import CachedEmbedder, SentenceTransformerEmbedder, default_embedder
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.protocols import Embedder

pytestmark = pytest.mark.torch

HELP_BOX = [turn for conversation in load_workload().styled("faq") for turn in conversation.turns]


def served(entries: str, embedder: Embedder, turns: list[Turn]) -> Counter[str]:
    """Ask *turns* of a cache; return the hits by kind, each with a right answer."""
    kinds: Counter[str] = Counter()
    with SemanticCache(namespace="desk", entries=entries, embedder=embedder, explore=0.0, deadline_ms=10_000) as cache:
        cache.ready(120)
        for turn in turns:
            request = CacheRequest(prompt=Prompt(messages=(Message(role="user", text=turn.user),)), model="m")
            found = cache.run(request, lambda turn=turn: CachedAnswer(text=turn.right))
            cache.flush()
            if found.hit is not None:
                assert turn.is_said_by(found.answer.text), turn.user
                kinds[found.hit.kind] += 1
    return kinds


def test_the_cache_serves_repeated_and_rephrased_questions_and_no_look_alike(folder: Path, tmp_path: Path) -> None:
    embedder = CachedEmbedder(SentenceTransformerEmbedder(folder))
    kinds = served(f"sqlite:///{tmp_path / 'cache.sqlite'}", embedder, HELP_BOX)
    assert kinds["exact"] >= 14
    assert kinds["semantic"] >= 4


def test_another_embedders_entries_are_found_by_their_words_alone(folder: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'cache.sqlite'}"
    asked, rephrased = (
        next(turn for turn in HELP_BOX if turn.user == text)
        for text in ("How do I reset a Hub 3 to factory settings?", "How can I reset a Hub 3 to factory settings?")
    )
    theirs = SentenceTransformerEmbedder(folder)
    assert served(url, default_embedder(), [asked]) == {}
    assert served(url, theirs, [asked]) == {"exact": 1}
    assert served(url, theirs, [rephrased]) == {}  # no vector of one model is compared with the other's


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_demo_runs_on_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOKENWISE_STORE")
    assert main(["demo", "--embedder", f"sentence-transformers:{folder}", "--framework", "langchain"]) == 0
    printed = capsys.readouterr().out
    row = next(
        line.split() for line in printed.splitlines() if line.startswith(" langchain help box ") and "%" not in line
    )
    asked, exact, semantic, joined, _, wrong, _, wrong_look_alikes = map(int, row[3:])
    assert asked == sum(turn.at_once for turn in HELP_BOX)
    assert exact + joined == 22
    assert semantic >= 4
    assert wrong == wrong_look_alikes == 0
    assert (tmp_path / "tokenwise-report.html").is_file()
