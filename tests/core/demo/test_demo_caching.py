"""Whose answers the demo shares, what its cache notes, and what counts as served wrongly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenwise_core.cache import CachedAnswer, CacheRequest, MemoryEntries
from tokenwise_core.demo.caching import Decision, WatchedCache, demo_cache, whose
from tokenwise_core.demo.runner import DemoAnswer, DemoContext, play
from tokenwise_core.demo.scoring import cache_scores, refusals, score, turns_of, wrong_hits
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.scoping import Scope, scope
from tokenwise_core.testing import HashEmbedder
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore

WORKLOAD = load_workload()
TURNS = turns_of(WORKLOAD)


@pytest.fixture
def cache() -> Iterator[WatchedCache]:
    with demo_cache(MemoryEntries(), embedder=HashEmbedder(), prices=PriceBook()) as made:
        yield made


def asked(question: str) -> CacheRequest:
    return CacheRequest(prompt=Prompt(messages=(Message(role="user", text=question),)), model="m")


def answered(turn: str, text: str, *decisions: Decision, path: str = "p") -> DemoAnswer:
    return DemoAnswer(conversation="c", turn=turn, text=text, framework="f", path=path, decisions=decisions)


HIT = Decision(asked="?", kind="semantic", near="?", similarity=0.99, hit_id="h")
MISS = Decision(asked="?", reason="cold")


def test_customers_keep_their_answers_visitors_share_and_nobody_gets_none() -> None:
    assert whose(Scope(user="C-1001")) == "C-1001"
    assert whose(Scope(user="visitor-31")) == whose(Scope(user="visitors-monday")) == "handbook"
    assert whose(Scope()) is None


def test_a_customer_never_gets_another_customers_answer(cache: WatchedCache) -> None:
    for user, expected in (("C-1001", "one"), ("C-1002", "two"), ("C-1001", "one")):
        with scope(user=user):
            served = cache.run(asked("When will my order arrive?"), lambda text=expected: CachedAnswer(text=text))
        assert served.answer.text == expected


def test_each_decision_is_noted_with_what_was_compared(cache: WatchedCache) -> None:
    with scope(user="visitor"):
        for question in ("How do I reset Hub 3?", "How do I reset Hub 2?", "How do I reset Hub 3?"):
            cache.run(asked(question), lambda question=question: CachedAnswer(text=question))
            cache.flush()
    first, second, third = cache.taken()
    assert (first.kind, first.reason, first.is_refusal) == (None, "cold", False)
    assert (second.reason, second.near, second.is_refusal) == ("veto:number", "How do I reset Hub 3?", True)
    assert (third.kind, third.asked) == ("exact", "How do I reset Hub 3?")
    assert cache.taken() == ()


def test_people_who_ask_at_once_cost_one_call_and_each_has_an_answer(cache: WatchedCache) -> None:
    conversation = next(c for c in WORKLOAD.styled("faq") if any(turn.at_once > 1 for turn in c.turns))
    busy = next(turn for turn in conversation.turns if turn.at_once > 1)
    context = DemoContext(workload=WORKLOAD, embedder=HashEmbedder(), runtime=make_runtime(MemoryStore()), cache=cache)
    calls: list[str] = []

    def ask(question: str) -> str:
        return cache.run(asked(question), lambda: calls.append(question) or CachedAnswer(text=busy.right)).answer.text

    answers = list(play(context, [conversation], lambda _: ask, framework="f", path="p", only=lambda t: t is busy))
    assert [answer.text for answer in answers] == [busy.right] * busy.at_once
    assert len(calls) == 1
    assert sum(answer.is_served for answer in answers) == busy.at_once - 1


def test_a_served_answer_without_an_expected_fact_is_wrong() -> None:
    turn = next(turn for turn in TURNS.values() if turn.facts)
    answers = [answered(turn.id, turn.right, HIT), answered(turn.id, turn.wrong, HIT), answered(turn.id, "?", MISS)]
    assert wrong_hits(answers, WORKLOAD) == [answers[1]]


def test_a_mistake_that_the_model_makes_itself_is_not_the_caches() -> None:
    turn = next(turn for turn in TURNS.values() if turn.facts)
    served = [answered(turn.id, turn.wrong, HIT)]
    assert not wrong_hits(served, WORKLOAD, without=[answered(turn.id, turn.wrong)])
    assert wrong_hits(served, WORKLOAD, without=[answered(turn.id, turn.right)]) == served
    assert wrong_hits(served, WORKLOAD, without=[answered(turn.id, turn.wrong, path="another")]) == served


def test_the_scores_of_a_path_count_answers_hits_and_look_alikes() -> None:
    alike = next(turn for turn in TURNS.values() if turn.unlike and turn.facts)
    refused = Decision(asked="a", reason="veto:number", near="b", similarity=0.98)
    answers = [
        answered(alike.id, alike.right, refused),
        answered(alike.id, alike.wrong, HIT),
        answered(alike.id, alike.right, MISS, HIT),
    ]
    (quality,) = score(answers, WORKLOAD)
    assert (quality.turns, quality.answerable, quality.right) == (3, 3, 2)
    (counted,) = cache_scores(answers, WORKLOAD)
    assert (counted.asked, counted.hits, counted.refused) == (4, {"semantic": 2}, 1)
    assert (counted.look_alikes, counted.wrong, counted.wrong_look_alikes) == (3, 1, 1)


def test_refusals_come_by_reason_the_nearest_case_first() -> None:
    near, nearer = (
        Decision(asked="a", reason="below", near=name, similarity=cosine) for name, cosine in (("x", 0.7), ("y", 0.8))
    )
    veto = Decision(asked="a", reason="veto:number", near="z", similarity=0.99)
    turn = next(iter(TURNS))
    found = refusals([answered(turn, "", near, MISS), answered(turn, "", veto, HIT), answered(turn, "", nearer)])
    assert found == {"below": [nearer, near], "veto:number": [veto]}
