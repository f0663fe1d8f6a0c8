from __future__ import annotations

import asyncio
import copy
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.core.memory.replaying import RATES, WORDS, Life
from tokenwise_core.errors import StoreError
from tokenwise_core.flow import Flow
from tokenwise_core.memory import BlockSummary, Importance, Memory, Rates, Request, View, Window
from tokenwise_core.memory.sessions import MemorySessions
from tokenwise_core.memory.situation import Arranged, Situation
from tokenwise_core.memory.view import Block
from tokenwise_core.messages import Message
from tokenwise_core.tokens import TokenCounter
from tokenwise_core.usage.components import CountSource
from tokenwise_core.usage.events import Usage

SYSTEM = Message(role="system", text="You help with orders.")
FILL = "and so on " * 18


def turn(n: int) -> tuple[Message, Message]:
    return (
        Message(role="user", text=f"ask {n} {FILL}"),
        Message(role="assistant", text=f"say {n} {FILL}"),
    )  # fmt: skip


def chat(turns: int) -> list[Message]:
    return [SYSTEM, *(m for n in range(turns) for m in turn(n))]


def memory(**options: Any) -> Memory:
    given = {"rates": RATES["A"], "recall": None, "counter": WORDS, "target_tokens": 800}
    return Memory(**{**given, **options})


def life(**options: Any) -> Life:
    return Life(memory(**options), fixed=0, ask=lambda ask: "- they spoke of orders")


class Raising:
    """A strategy that is broken."""

    name = "raising"

    def arrange(self, situation: Situation) -> Flow[Arranged]:
        raise ZeroDivisionError

    def summary(self, situation: Situation, block: Block) -> Flow[Mapping[str, Any] | None]:
        raise ZeroDivisionError


class Down(MemorySessions):
    """A store that is down."""

    def results(self, *_: object, **__: object) -> Any:
        raise StoreError("it is down", url=self.url)

    lease = finish = release = forget = keep = original = results  # type: ignore[assignment]


# It never fails -------------------------------------------------------------------------------------------------------


def test_where_the_strategy_is_broken_the_request_goes_out_as_it_was_last_shown() -> None:
    talk = life(strategy=Window(), rates=RATES["C"])
    messages = chat(20)
    before = talk.request(messages)
    talk.memory.strategy = Raising()
    longer = [*messages, *turn(20)]
    now = talk.request(longer)
    assert now.outcome.reason == "failed"
    assert now.plan.positions == (*before.plan.positions, 41, 42)
    assert talk.memory.stats().failures == {"prepare": 1}
    talk.memory.strategy = Window()
    assert talk.request([*longer, *turn(21)]).outcome.reason != "failed"


def test_where_the_strategy_is_broken_an_awaited_request_goes_out_too() -> None:
    broken = memory(strategy=Raising())
    with broken.using("c") as conversation:
        conversation.replace(chat(3))
        prepared = asyncio.run(broken.aprepare(conversation, View()))
    assert prepared.plan.changes_nothing
    broken.answered(prepared)


def test_while_the_store_is_down_conversations_are_summarised_all_the_same() -> None:
    talk = life(sessions=Down())
    for n in range(100):
        talk.answer(talk.request([*chat(n), turn(n)[0]]))
        talk.memory.drain()
    assert talk.view.summaries
    assert talk.problems == []


def test_a_store_that_hangs_holds_up_no_request_beyond_its_deadline() -> None:
    go = threading.Event()

    class Hanging(MemorySessions):
        def results(self, session: str) -> dict[str, dict[str, Any]]:
            go.wait(20)
            return {}

    slow = memory(sessions=Hanging(), deadline_ms=20)
    view = View(pending=Block(start=1, stop=3, digest="d"))
    with slow.using("c") as conversation:
        conversation.replace(chat(3))
        prepared = slow.prepare(conversation, view)
    assert not go.is_set()
    assert prepared.plan.changes_nothing
    assert prepared.view.pending == view.pending
    go.set()


def test_an_answer_whose_usage_makes_no_sense_is_no_failure() -> None:
    talk = life()
    prepared = talk.request(chat(3))
    talk.memory.answered(prepared, usage=Usage())
    talk.memory.answered(prepared, usage=Usage(input_tokens=0, output_tokens=3))
    assert talk.memory.stats().failures == {}


# What it costs --------------------------------------------------------------------------------------------------------


def test_the_account_is_the_sum_of_what_was_sent_and_of_what_everything_would_have_been() -> None:
    talk = life(strategy=Window(), rates=RATES["A"])
    for n in range(60):
        talk.request([*chat(n), turn(n)[0]])
    ours = sum(one.situation.rates.request(one.prefix.total_tokens, one.prefix.stable_tokens) for one in talk.requests)
    everything, last = 0.0, 0
    for one in talk.requests:
        full = one.view.account.full
        everything, last = everything + one.situation.rates.request(full, last), full
    assert talk.view.account.ours == pytest.approx(ours)
    assert talk.view.account.everything == pytest.approx(everything)
    assert talk.view.account.requests == 60
    assert ours < everything


def test_a_summary_is_paid_when_it_is_begun() -> None:
    talk = life()
    for n in range(100):
        before = talk.view.account
        prepared = talk.request([*chat(n), turn(n)[0]])
        cost = prepared.situation.rates.request(prepared.prefix.total_tokens, prepared.prefix.stable_tokens)
        if prepared.block is not None:
            assert talk.view.account.ours - before.ours > cost + 100
            return
    raise AssertionError("no summary was begun")


def test_after_a_pause_longer_than_the_cache_lives_nothing_counts_as_sent_before() -> None:
    now = [0.0]
    talk = life(clock=lambda: now[0], rates=Rates(ttl_seconds=300.0))
    messages = chat(5)
    talk.request(messages)
    now[0] = 100.0
    assert talk.request(messages).prefix.stable_tokens > 0
    now[0] = 1_000.0
    assert talk.request(messages).prefix.stable_tokens == 0


def test_counts_follow_what_the_provider_reports() -> None:
    talk = life(strategy=Window(), rates=RATES["C"], max_tokens=1_000)
    prepared = talk.request(chat(6))
    assert prepared.plan.changes_nothing
    talk.memory.answered(prepared, usage=Usage(input_tokens=2 * prepared.prefix.total_tokens))
    assert talk.request([*chat(6), turn(6)[0]]).outcome.after <= 500
    assert talk.problems == []


# Who does what --------------------------------------------------------------------------------------------------------


def test_two_workers_on_one_store_make_each_summary_once_and_either_commits_it(tmp_path: Path) -> None:
    asked: list[str] = []
    url = f"sqlite:///{tmp_path}/s.db"
    workers = [memory(sessions=url) for _ in range(2)]
    view, messages, commits = View(), [SYSTEM], set()
    for n in range(220):
        messages = [*messages, turn(n)[0]]
        number = n % 2
        with workers[number].using("c") as conversation:
            conversation.replace(messages)
            prepared = workers[number].prepare(conversation, view)
        for worker in workers:  # both have seen the request and try
            worker.answered(prepared, ask=lambda ask: asked.append(ask.prompt) or "- facts")  # type: ignore[func-returns-value]
        for worker in workers:
            assert worker.drain()
        if prepared.outcome.reason == "summary":
            commits.add(number)
        view = prepared.view
        messages = [*messages, turn(n)[1]]
    assert len(asked) == len(set(asked)) >= 3
    assert commits == {0, 1}


def test_committed_summaries_do_not_stay_in_the_store() -> None:
    talk = life()
    for n in range(220):
        talk.answer(talk.request([*chat(n), turn(n)[0]]))
        talk.memory.drain()
    assert sum("summary" in one.outcome.reason for one in talk.requests) >= 3
    assert talk.memory._summariser._workers.rest(5)
    assert len(talk.memory.sessions.results("c")) <= 1


def test_a_summary_whose_block_is_gone_from_the_history_does_not_stay_in_the_store() -> None:
    talk = life()
    for n in range(220):
        prepared = talk.request([*chat(n), turn(n)[0]])
        talk.answer(prepared)
        talk.memory.drain()
        if talk.memory.sessions.results("c"):
            break
    assert talk.memory.sessions.results("c")
    talk.answer(talk.request([Message(role="user", text="All anew.")]))
    assert talk.memory._summariser._workers.rest(5)
    assert not talk.memory.sessions.results("c")


def test_what_is_in_the_making_can_be_awaited() -> None:
    go = threading.Event()
    talk = life()
    talk.ask = lambda ask: "- facts" if go.wait(10) else ""
    for n in range(100):
        prepared = talk.request([*chat(n), turn(n)[0]])
        talk.answer(prepared)
        if prepared.block is not None:
            break
    assert not talk.memory.drain(0.05)
    go.set()
    assert asyncio.run(talk.memory.adrain())
    assert talk.memory.stats().summaries == {"made": 1}


def test_after_answer_the_summary_is_there_before_the_answer_is_handed_on() -> None:
    talk = life(summaries="after_answer")
    for n in range(100):
        prepared = talk.request([*chat(n), turn(n)[0]])
        talk.answer(prepared)
        if prepared.block is not None:
            assert talk.memory.sessions.results("c")
            return
    raise AssertionError("no summary was begun")


def test_above_the_soft_limit_an_event_loop_reads_no_long_texts_itself() -> None:
    threads: list[str] = []

    def score(message: Message) -> float:
        threads.append(threading.current_thread().name)
        return 0.0

    talk = memory(strategy=Importance(score=score), rates=RATES["C"])

    async def request() -> None:
        with talk.using("c") as conversation:
            conversation.replace(chat(50))
            prepared = await talk.aprepare(conversation, View())
            assert prepared.outcome.reason == "importance"

    asyncio.run(request())
    assert threads
    assert threading.main_thread().name not in threads


def test_awaited_and_plain_requests_decide_the_same() -> None:
    for strategy in (BlockSummary(), Window(), Importance()):
        plain, awaited = memory(strategy=strategy, clock=lambda: 0.0), memory(strategy=strategy, clock=lambda: 0.0)
        one, other = View(), View()
        for n in range(0, 120, 3):
            messages = [*chat(n), turn(n)[0]]
            with plain.using("c") as conversation:
                conversation.replace(messages)
                first = plain.prepare(conversation, one)
            with awaited.using("c") as conversation:
                conversation.replace(messages)
                second = asyncio.run(awaited.aprepare(conversation, other))
            assert first.plan == second.plan
            one, other = first.view, second.view


def test_who_borrows_a_conversation_that_is_lent_gets_one_of_its_own() -> None:
    shared = memory()
    with shared.using("c") as first:
        first.replace(chat(3))
        with shared.using("c") as second:
            assert second is not first
            assert len(second) == 0
    with shared.using("c") as again:
        assert again is first


# Copies ---------------------------------------------------------------------------------------------------------------


def test_a_deep_copy_is_the_same_memory() -> None:
    one = memory()
    assert copy.deepcopy({"memory": one})["memory"] is one


def test_a_pickled_memory_goes_on_with_the_same_settings_and_store(tmp_path: Path) -> None:
    one = memory(strategy=Window(keep_messages=4), sessions=f"sqlite:///{tmp_path}/s.db", rates=RATES["A"])
    one.counter = type(one.counter).for_model("gpt-4o")
    twin: Memory = pickle.loads(pickle.dumps(one))
    assert (twin.strategy, twin.limits, twin.rates) == (one.strategy, one.limits, one.rates)
    with twin.using("c") as conversation:
        conversation.replace(chat(3))
        assert twin.prepare(conversation, View(), Request()).plan.changes_nothing


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_memory_works_whatever_was_held_when_it_was_forked(tmp_path: Path) -> None:
    one = memory(sessions=f"sqlite:///{tmp_path}/s.db", strategy=Window(), rates=RATES["C"])
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with one._lock, one._learned._lock, one._counters._lock, one._summariser._changed:
            held.set()
            forked.wait(10)

    threading.Thread(target=hold, daemon=True).start()
    assert held.wait(5)
    pipe, end = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(one, end))
    child.start()
    forked.set()
    assert pipe.poll(20), "the child hangs"
    assert pipe.recv() == ("window", 1)
    child.join(10)


def _in_child(one: Memory, end: Any) -> None:
    with one.using("c") as conversation:
        conversation.replace(chat(20))
        prepared = one.prepare(conversation, View())
    one.answered(prepared, ask=lambda ask: "- facts")
    end.send((prepared.outcome.reason, one.stats().requests))


def test_close_waits_for_what_is_in_the_making() -> None:
    talk, done = life(), []

    def ask(_: object) -> str:
        time.sleep(0.05)
        done.append(True)
        return "- facts"

    talk.ask = ask
    for n in range(100):
        prepared = talk.request([*chat(n), turn(n)[0]])
        talk.answer(prepared)
        if prepared.block is not None:
            break
    talk.memory.close()
    assert done


class Loading(TokenCounter):
    """A counter that says when its tokeniser is loaded, and by whom."""

    def __init__(self) -> None:
        super().__init__(len)
        self.loaded_by: list[str] = []

    @property
    def source(self) -> CountSource:
        self.loaded_by.append(threading.current_thread().name)
        return CountSource.EXACT


def test_the_tokeniser_is_loaded_behind_when_a_memory_is_made_not_in_its_first_request() -> None:
    counter = Loading()
    made = memory(counter=counter)
    assert made._workers.rest(30)
    assert counter.loaded_by == ["tokenwise-memory"]
