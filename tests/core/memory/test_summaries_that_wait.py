from __future__ import annotations

from dataclasses import replace

from tokenwise_core.memory import BlockSummary, Memory, Rates, Request, View
from tokenwise_core.memory.request import Prepared
from tokenwise_core.memory.view import Block
from tokenwise_core.messages import Message, Prompt, Tag
from tokenwise_core.usage.noted import announced_in

CLAUDE = Rates(read=0.1, write=1.25)


def memory() -> Memory:
    return Memory(BlockSummary(summary_tokens=60), target_tokens=1_500, recall=None, rates=CLAUDE, clock=lambda: 0.0)


def send(kept: Memory, said: list[Message], view: View, *, summarises: bool = True) -> Prepared:
    with kept.using("s") as conversation:
        conversation.replace(said)
        prepared = kept.prepare(conversation, view, Request(fixed_tokens=800))
    kept.answered(prepared, ask=(lambda ask: "- a fact") if summarises else None)
    kept.drain()
    return prepared


def talk(turns: int) -> list[Message]:
    pairs = [
        (
            Message(role="user", text=f"Question {n}: what became of the parcel number {n} to Lisbon, please?"),
            Message(
                role="assistant", text=f"Parcel {n} left the depot on its way and was delivered the day after. " * 2
            ),
        )
        for n in range(turns)
    ]
    return [message for pair in pairs for message in pair]


def test_what_the_first_summary_cost_is_booked_with_the_first_request_that_shows_it() -> None:
    kept, view, booked = memory(), View(), []
    said = talk(260)
    for at in range(1, len(said), 2):
        prepared = send(kept, said[:at], view)
        view = prepared.view
        if prepared.mark is not None:
            tag = Tag(component="summary", source=prepared.mark)
            booked += announced_in(Prompt(messages=(Message(role="user", text="x", tags=(tag,)),)))
    assert view.summaries
    assert booked[0].overhead_cost > 0
    assert view.account.unbooked == 0
    costs, would = sum(b.costs + b.overhead_cost for b in booked), sum(b.would_cost for b in booked)
    assert costs < would


def test_a_summary_in_the_making_is_awaited_though_the_end_of_the_history_was_rewritten() -> None:
    said = talk(30)
    kept = memory()
    with kept.using("s") as conversation:
        conversation.replace(said)
        block = Block(start=0, stop=20, digest=conversation.digest(20))
        view = replace(View(), pending=block).seen(conversation)
        conversation.replace([*said[:40], Message(role="user", text="put in before the question"), *said[40:]])
        assert view.holding(conversation).pending == block
        conversation.replace([Message(role="user", text="another beginning"), *said[1:]])
        assert view.holding(conversation).pending is None


def test_a_paid_summary_that_the_guard_has_long_held_back_may_cost_a_little_more() -> None:
    strategy = BlockSummary()
    block = Block(start=0, stop=2, digest="", since=10)
    waiting = replace(View(), pending=block)
    early = replace(waiting, account=replace(waiting.account, requests=12))
    late = replace(waiting, account=replace(waiting.account, requests=30))
    assert strategy._patience_for(early) == strategy.epsilon
    assert strategy._patience_for(late) == 2 * strategy.epsilon
