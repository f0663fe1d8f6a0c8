from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.core.memory.replaying import RATES, WORDS, Life
from tokenwise_core.flow import Ask
from tokenwise_core.memory import BlockSummary, Memory, Put, View
from tokenwise_core.memory.buffer import EXTRACT_TOKENS, GIVEN_UP
from tokenwise_core.messages import Message

SYSTEM = Message(role="system", text="You help with orders.")
FILL = "and so on " * 18


def life(*, ask: Callable[[Ask], str] | None = None, target: int = 800, **options: object) -> Life:
    given = {"rates": RATES["A"], "recall": None, "counter": WORDS, "target_tokens": target}
    memory = Memory(options.pop("strategy", None) or BlockSummary(), **{**given, **options})  # type: ignore[arg-type]
    return Life(memory, fixed=0, ask=ask)


def grow(talk: Life, turns: int, *, first: int = 0, say: str = "") -> list[Message]:
    """Let a chat grow, each summary ready before the next request."""
    messages = [SYSTEM, *(m for n in range(first) for m in turn(n, say))]
    for n in range(first, first + turns):
        messages = [*messages, turn(n, say)[0]]
        talk.answer(talk.request(messages))
        assert talk.memory.drain()
        messages = [*messages, turn(n, say)[1]]
    return messages


def turn(n: int, say: str = "") -> tuple[Message, Message]:
    return (
        Message(role="user", text=f"ask {n} {say} {FILL}"),
        Message(role="assistant", text=f"say {n} {FILL}"),
    )  # fmt: skip


def summarise(ask: Ask) -> str:
    return "- they spoke of orders"


def test_nothing_happens_until_it_pays_then_one_block_is_summarised_behind_the_request() -> None:
    talk = life(ask=summarise)
    grow(talk, 100)
    reasons = [one.outcome.reason for one in talk.requests]
    first = reasons.index("summary")
    assert talk.requests[first - 1].plan.changes_nothing
    assert 20 < first < 90
    assert talk.view.account.relative is not None
    assert talk.view.account.relative < 1.0
    assert talk.problems == []


def test_a_summary_once_written_stays_byte_for_byte_until_it_is_merged() -> None:
    talk = life(ask=summarise)
    grow(talk, 200)
    texts = [[part.text for part in one.plan.parts if isinstance(part, Put)] for one in talk.requests]
    for before, after in pairwise(texts):
        assert after[: len(before)] == before or len(after) < len(before)


def test_the_request_waits_for_no_summary() -> None:
    talk = life(ask=summarise)
    for one in range(100):
        messages = [SYSTEM, *(m for n in range(one) for m in turn(n)), turn(one)[0]]
        talk.request(messages)  # no answer, no summary
    assert talk.view.pending is not None
    assert talk.view.summaries == ()
    assert talk.problems == []


def test_inline_summaries_are_made_before_the_request() -> None:
    talk = life(ask=summarise, summaries="inline")
    grow(talk, 100)
    assert any("summary" in one.outcome.reason for one in talk.requests)
    assert all(one.block is None for one in talk.requests)
    assert talk.problems == []


@pytest.mark.parametrize("summaries", ["background", "after_answer", "inline"])
def test_a_failed_or_empty_summary_changes_nothing_and_is_tried_again(summaries: str) -> None:
    now, tries = [0.0], []

    def ask(question: Ask) -> str:
        tries.append(question)
        if len(tries) == 1:
            raise ConnectionError("no line")
        return "" if len(tries) == 2 else "- at last"

    talk = life(ask=ask, summaries=summaries, clock=lambda: now[0])
    messages = [SYSTEM]
    for n in range(300):  # what failed was paid for: the guard waits until a third try is affordable
        messages = [*messages, turn(n)[0]]
        prepared = talk.request(messages)
        if len(tries) < 3:
            assert prepared.plan.changes_nothing
        talk.answer(prepared)
        talk.memory.drain()
        now[0] += 30.0
        messages = [*messages, turn(n)[1]]
    assert "at last" in talk.view.summaries[0].text
    assert talk.problems == []


def test_a_block_that_keeps_failing_is_given_up_until_the_conversation_has_grown() -> None:
    now, tries = [0.0], []

    def ask(question: Ask) -> str:
        tries.append(question)
        raise ConnectionError("no line")

    talk = life(ask=ask, clock=lambda: now[0])
    messages = [SYSTEM]
    for n in range(200):
        messages = [*messages, turn(n)[0]]
        talk.answer(talk.request(messages))
        talk.memory.drain()
        now[0] += 1_000.0
        messages = [*messages, turn(n)[1]]
    assert GIVEN_UP <= len(tries) <= 200 // 2
    assert all(one.plan.changes_nothing for one in talk.requests)


def test_what_the_summary_lost_of_values_is_pinned_and_carried_on_by_every_later_summary() -> None:
    talk = life(ask=summarise, strategy=BlockSummary(merge_at=2, pin_share=0.1))
    messages = grow(talk, 1, say="my booking is ORD-4711 for £10.90 on 7 May 2026")
    for n in range(1, 250):
        messages = [*messages, turn(n)[0]]
        talk.answer(talk.request(messages))
        talk.memory.drain()
        messages = [*messages, turn(n)[1]]
    merges = [one for one in talk.requests if one.view.summaries and one.view.summaries[-1].merged > 1]
    assert merges
    for one in talk.requests:
        if one.view.summaries:
            shown = " ".join(part.text for part in one.plan.parts if isinstance(part, Put))
            assert "ORD-4711" in shown
            assert "£10.90" in shown


def test_a_summary_sees_all_that_it_replaces() -> None:
    asked: list[str] = []

    def ask(question: Ask) -> str:
        asked.append(question.prompt)
        return "- they spoke of orders"

    talk = life(ask=ask)
    messages = grow(talk, 120)
    seen = "\n".join(asked)
    for start, stop in talk.view.evicted:
        assert all(message.text.strip() in seen for message in messages[start:stop])


def test_a_question_that_was_the_last_when_its_block_was_begun_is_not_lost_with_it() -> None:
    asked: list[str] = []

    def ask(question: Ask) -> str:
        asked.append(question.prompt)
        return "- they worked"

    talk = life(ask=ask)
    messages = grow(talk, 40)
    task = Message(role="user", text="the task: find parcel 4711")
    messages = [*messages, task]
    for n in range(60):  # an agent at work on one task
        talk.answer(talk.request(messages))
        if n % 7 == 0:
            talk.memory.drain()
        messages = [*messages, Message(role="assistant", text=f"step {n} {FILL}")]
    for n in range(60):
        messages = [*messages, turn(n)[0]]
        prepared = talk.request(messages)
        talk.answer(prepared)
        talk.memory.drain()
        assert task in [message for _, message in prepared.plan.shown(messages)] or any(task.text in p for p in asked)
        messages = [*messages, turn(n)[1]]
    assert talk.problems == []


def test_at_the_hard_limit_a_summary_that_is_ready_is_used() -> None:
    talk = life(ask=summarise, max_tokens=1_600)
    grow(talk, 60)
    reasons = [one.outcome.reason for one in talk.requests if one.outcome.reason]
    assert any("summary" in reason for reason in reasons)
    assert all(one.outcome.after <= 1_600 for one in talk.requests)


def test_at_the_hard_limit_without_one_the_conversations_own_sentences_stand_in() -> None:
    talk = life(max_tokens=1_600)
    grow(talk, 60, say="we decided to pay £10.90 for order ORD-4711")
    cuts = [one for one in talk.requests if one.outcome.reason == "hard limit"]
    assert cuts
    assert any("own sentences" in note for note in cuts[0].outcome.notes)
    assert "ORD-4711" in cuts[0].view.summaries[0].shown
    assert talk.problems == []


def test_without_a_summariser_the_sentences_are_the_conversations_own() -> None:
    talk = life()
    messages = [SYSTEM]
    for n in range(100):
        messages = [*messages, *turn(n, "we decided to pay £10.90")]
        talk.request(messages, summariser=None)
    assert talk.view.summaries
    assert "decided" in talk.view.summaries[0].text
    assert talk.view.pending is None


def test_an_old_history_that_is_far_over_the_hard_limit_is_cut_without_reading_all_of_it() -> None:
    talk = life(target=4_000, max_tokens=8_000)
    messages = [SYSTEM, *(m for n in range(600) for m in turn(n)), turn(600)[0]]
    prepared = talk.request(messages)
    assert prepared.situation.full > 2 * EXTRACT_TOKENS
    assert prepared.outcome.after <= 8_000
    assert talk.problems == []


def test_a_question_between_blocks_goes_where_the_hard_limit_needs_it() -> None:
    talk = life(max_tokens=1_600)
    pasted = Message(role="user", text="please read this: " + "word " * 1_000)
    messages = [SYSTEM, pasted]
    for n in range(40):  # it is the last question, and stays
        messages = [*messages, Message(role="assistant", text=f"step {n} {FILL}")]
        assert 1 in talk.request(messages).plan.positions
    for n in range(20):
        messages = [*messages, *turn(n)]
        talk.request(messages)
    assert talk.requests[-1].outcome.after <= 1_600
    assert talk.problems == []


def test_chunks_of_a_long_block_are_asked_side_by_side() -> None:
    asked: list[Ask] = []

    def ask(question: Ask) -> str:
        asked.append(question)
        return f"- part {len(asked)}"

    talk = life(ask=ask, target=4_000, rates=RATES["C"])
    messages = [SYSTEM, *(m for n in range(200) for m in turn(n)), turn(200)[0]]
    talk.view = replace(View(), account=replace(View().account, everything=1e9))  # the guard allows all
    prepared = talk.request(messages, summariser="other")
    assert prepared.block is None or prepared.made is not None
    talk.view = replace(prepared.view, account=replace(prepared.view.account, requests=1_000))
    prepared = talk.request(messages, summariser="other")
    talk.answer(prepared)
    talk.memory.drain()
    assert len(asked) > 2
    assert asked[-1].prompt.startswith("Merge")
