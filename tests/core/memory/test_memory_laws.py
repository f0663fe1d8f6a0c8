"""Laws that hold for every strategy, over random histories that grow, are cut back and rewritten."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.memory.histories import random_history
from tests.core.memory.replaying import STRATEGIES, Life, live, memory_of, summariser
from tokenwise_core.memory import Recall, View
from tokenwise_core.messages import Message

SEEDS = st.integers(0, 2**32)
FEWER = settings(max_examples=settings().max_examples // 4)
"""For laws over long conversations, or over two at once."""
EVERY = pytest.mark.parametrize("strategy", STRATEGIES)


def pinned(message: Message) -> bool:
    return "ORD-1234 never" in message.text


def chat(chance: random.Random, *, turns: int, tokens: int = 60) -> list[Message]:
    """Return an ordinary chat: turns of *tokens* words or fewer, tools now and then."""
    messages = []
    while len(messages) < turns:
        messages += random_history(chance.getrandbits(32), 6, well_formed=True)[:8]
    return [
        message if message.tool_calls else Message(
            role=message.role,
            tool_call_id=message.tool_call_id and f"{message.tool_call_id}",
            text=" ".join([message.text, *(f"word{chance.randint(0, 400)}" for _ in range(chance.randint(1, tokens)))]),
        )
        for message in messages
        if message.role != "system"
    ]  # fmt: skip


@EVERY
@given(SEEDS)
def test_nothing_is_torn_dropped_too_long_or_broken_without_a_reason(strategy: str, seed: int) -> None:
    chance = random.Random(seed)
    recall = Recall(embedder=None, when="always") if chance.random() < 0.5 else None
    pin = pinned if chance.random() < 0.3 else None
    memory = memory_of(STRATEGIES[strategy](), chance, pin=pin, recall=recall, deadline_ms=60_000)
    life = Life(memory, ask=summariser(chance))
    live(life, random_history(seed, chance.randint(5, 60), well_formed=chance.random() < 0.4), chance)
    assert life.problems == []
    assert not memory.stats().failures


@EVERY
@FEWER
@given(SEEDS)
def test_below_the_hard_limit_no_strategy_spends_more_than_the_guard_allows(strategy: str, seed: int) -> None:
    chance = random.Random(seed)
    memory = memory_of(STRATEGIES[strategy](), chance, target_tokens=chance.choice((1_000, 2_000)), max_tokens=None)
    life = Life(memory, fixed=chance.choice((0, 300, 1_500)), ask=summariser(chance))
    live(life, chat(chance, turns=100), chance, cut_back=False)
    assert life.problems == []


@EVERY
@FEWER
@given(SEEDS)
def test_the_same_history_always_gives_the_same_plans(strategy: str, seed: int) -> None:
    lives = []
    for _ in range(2):
        chance = random.Random(seed)
        memory = memory_of(STRATEGIES[strategy](), chance, summaries="inline", clock=lambda: 0.0)
        life = Life(memory, ask=lambda ask: f"- said {len(ask.prompt)}")
        live(life, random_history(seed, 40), chance)
        lives.append(life)
    assert [one.plan for one in lives[0].requests] == [one.plan for one in lives[1].requests]
    assert [one.view for one in lives[0].requests] == [one.view for one in lives[1].requests]


@EVERY
@FEWER
@given(SEEDS)
def test_a_view_that_went_through_json_goes_on_identically(strategy: str, seed: int) -> None:
    lives = []
    for trips in (False, True):
        chance = random.Random(seed)
        memory = memory_of(STRATEGIES[strategy](), chance, summaries="inline", clock=lambda: 0.0)
        life = Life(memory, ask=lambda ask: f"- said {len(ask.prompt)}", trips_over_json=trips)
        live(life, random_history(seed, 40), chance)
        lives.append(life)
    assert [one.plan for one in lives[0].requests] == [one.plan for one in lives[1].requests]
    assert View.from_dict(lives[0].view.to_dict()) == lives[0].view


@EVERY
@FEWER
@given(SEEDS)
def test_asking_again_shows_the_same_again(strategy: str, seed: int) -> None:
    chance = random.Random(seed)
    memory = memory_of(STRATEGIES[strategy](), chance)
    life, messages = Life(memory), random_history(seed, 40)
    live(life, messages, chance, cut_back=False)
    before = life.request(messages)
    again = life.request(messages)
    if not again.outcome.reason:
        assert again.plan == before.plan
        assert again.prefix.stable_tokens == again.prefix.total_tokens
