"""What recall may cost: in a chat of nothing but questions, no more than sending everything would have."""

from __future__ import annotations

from typing import Any

import pytest

from tokenwise_core.memory import Memory, Prepared, Recall, Request, View
from tokenwise_core.messages import Message
from tokenwise_core.testing import FakeClock

MADE_UP = ("river", "kettle", "copper", "ladder", "velvet", "harbour", "candle", "saddle", "meadow", "anchor")


def question(turn: int) -> str:
    word, other = MADE_UP[turn % 10], MADE_UP[turn // 10 % 10]
    return f"What did we say about the {word} and the {other}, the long one of the two, and who is to look after it?"


def answer(turn: int) -> str:
    word, other = MADE_UP[turn % 10], MADE_UP[turn * 3 // 10 % 10]
    return f"The {word} stays with the {other} until somebody has time, which nobody will have before the holidays."


def talk(turns: int, **settings: Any) -> list[Prepared]:
    """Return the requests of a chat in which each message of the user is a question."""
    defaults: dict[str, Any] = {"target_tokens": 2_000, "deadline_ms": 60_000, "summaries": "after_answer"}
    memory = Memory(recall=Recall(embedder=None), clock=FakeClock(), **{**defaults, **settings})
    messages: list[Message] = []
    requests: list[Prepared] = []
    view = View()
    for turn in range(turns):
        messages.append(Message(role="user", text=question(turn), index=len(messages)))
        with memory.using("s") as conversation:
            conversation.replace(messages)
            prepared = memory.prepare(conversation, view, Request(fixed_tokens=1_500))
        memory.answered(prepared, ask=lambda _: "- Things were said about a river and a kettle.")
        requests.append(prepared)
        view = prepared.view
        messages.append(Message(role="assistant", text=answer(turn), index=len(messages)))
    assert not memory.stats().failures
    return requests


@pytest.fixture(scope="module")
def requests() -> list[Prepared]:
    return talk(220)


def recalls(requests: list[Prepared]) -> list[Prepared]:
    return [one for one in requests if one.view.slot is not None and one.view.slot.text]


def test_a_chat_of_questions_never_costs_more_than_the_guard_allows(requests: list[Prepared]) -> None:
    assert recalls(requests)
    assert max(one.view.account.relative or 0.0 for one in requests) <= 1.05


def test_recall_leaves_room_for_the_next_summary(requests: list[Prepared]) -> None:
    assert len(requests[-1].view.summaries) >= 2
    last = requests[-1].view.account.relative
    assert last is not None
    assert last < 1


def test_where_everything_would_not_fit_recall_is_not_compared_with_sending_it() -> None:
    requests = talk(120, max_tokens=3_200, target_tokens=3_000)
    last = requests[-1]
    assert last.outcome.before > 3_200
    assert last.view.account.relative is not None
    assert recalls(requests[-20:])
