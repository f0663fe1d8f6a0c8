"""What left the context is found by words, for the tool `recall`."""

from __future__ import annotations

import pytest

from tokenwise_core.memory import Memory, Recall, Request, View
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.messages import Message


def told(memory: Memory, count: int = 30) -> Conversation:
    with memory.using("s") as conversation:
        said = [Message(role="user", text=f"Order A-{n} goes to street {n} in Rome.", index=n) for n in range(count)]
        conversation.sync(0, said)
    return conversation


def test_turns_that_left_the_context_are_found_by_words() -> None:
    memory = Memory(recall=Recall(embedder=None))
    conversation = told(memory)
    view = View(evicted=((0, 20),)).seen(conversation)
    assert "Order A-7 goes to street 7" in memory.recalled(conversation, view, "Where does order A-7 go?")


def test_nothing_is_recalled_of_what_is_still_shown() -> None:
    memory = Memory(recall=Recall(embedder=None))
    conversation = told(memory)
    assert memory.recalled(conversation, View(), "Where does order A-7 go?") == ""


def test_a_search_that_fails_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(recall=Recall(embedder=None))
    conversation = told(memory)
    view = View(evicted=((0, 20),)).seen(conversation)

    def broken(_: Conversation) -> View:
        raise RuntimeError

    monkeypatch.setattr(View, "holding", lambda self, _: broken(_))
    assert memory.recalled(conversation, view, "order A-7") == ""
    assert memory.stats().failures == {"recalled": 1}


def test_what_is_going_to_leave_is_indexed_while_its_summary_is_made() -> None:
    memory = Memory(recall=Recall(embedder=None), target_tokens=200)
    view, requests = View(), 0
    while view.pending is None:
        requests += 1
        conversation = told(memory, 30 + 2 * requests)
        prepared = memory.prepare(conversation, view, Request())
        memory.answered(prepared, ask=lambda ask: "They order.")
        view = prepared.view
    assert memory.drain()
    assert not view.evicted
    assert memory._recaller is not None
    assert len(memory._recaller._of(conversation).index) >= view.pending.stop


def test_without_an_embedder_no_thread_is_woken_for_what_is_indexed(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(recall=Recall(embedder=None))
    conversation, recaller = told(memory), memory._recaller
    assert recaller is not None
    recaller.prepare(conversation, 20)
    assert recaller.drain()

    def submit(_: object) -> bool:
        raise AssertionError

    monkeypatch.setattr(recaller._workers, "submit", submit)
    recaller.prepare(conversation, 20)
