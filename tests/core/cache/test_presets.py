from __future__ import annotations

import inspect

import pytest

from tokenwise_core.cache import CachedAnswer, CacheRequest, MemoryEntries, SemanticCache
from tokenwise_core.cache.presets import PRESETS, seed_preset
from tokenwise_core.errors import BadInput
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.testing import FakeClock


def ask(text: str) -> CacheRequest:
    return CacheRequest(prompt=Prompt(messages=(Message(role="user", text=text),)), model="m")


@pytest.mark.parametrize("row", PRESETS)
def test_a_preset_sets_only_options_that_there_are(row: str) -> None:
    options = inspect.signature(SemanticCache).parameters
    assert seed_preset(row).keys() <= options.keys()
    with SemanticCache(**seed_preset(row), namespace="acme", entries=MemoryEntries()):
        pass


@pytest.mark.parametrize(("row", "life_s"), [("S1-25", 3_600), ("S2-07", 24 * 3_600)])
def test_answers_live_as_long_as_the_seed_says(row: str, life_s: float) -> None:
    clock = FakeClock()
    options = {"embedder": None, "deadline_ms": 30_000, **seed_preset(row)}
    with SemanticCache(**options, namespace="acme", entries=MemoryEntries(), clock=clock) as cache:
        assert cache.ready()
        cache.put(ask("When do you open?"), CachedAnswer(text="At nine."))
        clock.advance(life_s - 1)
        assert cache.lookup(ask("When do you open?")).hit is not None
        clock.advance(2)
        assert cache.lookup(ask("When do you open?")).hit is None


def test_the_exact_preset_serves_no_paraphrase() -> None:
    assert seed_preset("S2-07")["embedder"] is None
    assert seed_preset("S2-07")["max_error"] == 0


def test_a_preset_can_be_changed_without_changing_it_for_others() -> None:
    seed_preset("S1-25")["ttl_s"] = 1
    assert seed_preset("S1-25")["ttl_s"] == 3_600


def test_an_unknown_preset_names_those_that_there_are() -> None:
    with pytest.raises(BadInput, match="S1-25, S2-07"):
        seed_preset("S9-99")
