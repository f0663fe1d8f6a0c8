"""Recall on a request's path: once a user's turn, the same over all its steps, gone afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.core.memory.replaying import WORDS, Life, words
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.memory import Memory, Put, Rates, Recall, Window
from tokenwise_core.memory.request import Prepared
from tokenwise_core.messages import Message, ToolCall

FILL = "we spoke of this and that and of the weather " * 4


class Broken:
    """An embedder that fails."""

    dimensions = 8
    model = "broken"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise RuntimeError("out of memory")


def life(**recall: Any) -> Life:
    given = {"embedder": None, "when": "always", "max_tokens": 200}
    memory = Memory(
        Window(), target_tokens=800, recall=Recall(**{**given, **recall}), counter=WORDS,
        rates=Rates(read=1.0, write=1.0), deadline_ms=60_000,
    )  # fmt: skip
    return Life(memory, fixed=0)


def chat(turns: int, *told: str) -> list[Message]:
    said = [f"{text} {FILL}" for text in told] + [f"turn {n} {FILL}" for n in range(2 * turns - len(told))]
    return [Message(role="user" if n % 2 == 0 else "assistant", text=text) for n, text in enumerate(said)]


FACT = "My sister Ingrid keeps bees near Ljubljana."
ASKED = Message(role="user", text="Where does Ingrid keep her bees?")


def slot(prepared: Prepared) -> str:
    return next((part.text for part in prepared.plan.parts if isinstance(part, Put) and part.component == "memory"), "")


def test_what_left_the_context_comes_back_for_the_question_that_needs_it() -> None:
    prepared = life().request([*chat(15, FACT), ASKED])
    assert 0 not in prepared.plan.positions
    assert "Ljubljana" in slot(prepared)
    assert [part.component for part in prepared.plan.parts if isinstance(part, Put)] == ["summary", "memory"]


def test_the_slot_stands_before_the_question_and_within_its_budget() -> None:
    talk = life(max_tokens=120)
    messages = [*chat(15, FACT), ASKED]
    prepared = talk.request(messages)
    shown = [part.text if message is None else message.text for part, message in prepared.plan.shown(messages)]
    assert shown[-1] == ASKED.text
    assert shown[-2] == slot(prepared)
    assert words(slot(prepared)) <= 120


def test_over_all_steps_of_a_turn_the_slot_stays_byte_for_byte_and_is_searched_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = life()
    messages = [*chat(15, FACT), ASKED]
    found = talk.memory._recaller
    assert found is not None
    searched: list[str] = []
    find: Callable[..., Any] = found.find

    def counted(*given: Any, **more: Any) -> Any:
        searched.append(given[2])
        return find(*given, **more)

    monkeypatch.setattr(found, "find", counted)
    slots = []
    for n in range(4):
        slots.append(slot(talk.request(messages)))
        messages = [
            *messages,
            Message(role="assistant", tool_calls=(ToolCall(name="look", id=f"c{n}", arguments="{}"),)),
            Message(role="tool", tool_call_id=f"c{n}", text="nothing yet"),
        ]
    assert len(set(slots)) == 1
    assert len(searched) == 1
    assert all(one.prefix.broken_by is None for one in talk.requests[1:])
    assert talk.problems == []


def test_the_slot_is_gone_after_its_turn() -> None:
    talk = life(when="questions")
    messages = [*chat(15, FACT), ASKED]
    assert slot(talk.request(messages))
    after = [*messages, Message(role="assistant", text="Near Ljubljana."), Message(role="user", text="Thanks a lot.")]
    assert slot(talk.request(after)) == ""


def test_only_questions_are_searched_for_unless_asked_otherwise() -> None:
    told = Message(role="user", text="Ingrid is my sister, and she keeps bees, as I told you, in her garden.")
    history = chat(15, FACT)
    assert slot(life(when="questions").request([*history, told])) == ""
    assert slot(life(when="always").request([*history, told]))
    assert slot(life(when=lambda text: "bees" in text).request([*history, told]))


def test_without_evictions_nothing_is_recalled() -> None:
    assert slot(life().request([*chat(2, FACT), ASKED])) == ""


def test_an_embedder_that_fails_leaves_the_words_to_search_by() -> None:
    talk = life(embedder=Broken())
    for _ in range(3):
        prepared = talk.request([*chat(15, FACT), ASKED])
        talk.memory.answered(prepared)
        assert talk.memory.drain()
        talk.view = type(talk.view)()
    assert "Ljubljana" in slot(talk.requests[-1])
    assert talk.memory.stats().lexical_only >= 1
    assert talk.memory.stats().failures == {}


def test_with_an_embedder_what_is_meant_is_found_in_other_words() -> None:
    talk = life(embedder=default_embedder(), max_tokens=100)
    history = chat(15, "The physician told me to avoid peanuts.", "Noted.")
    talk.memory.answered(talk.request([*history, Message(role="user", text="And now?")]))
    assert talk.memory.drain(60)
    asked = Message(role="user", text="Which food did the doctor forbid?")
    assert "peanuts" in slot(talk.request([*history, Message(role="assistant", text="So."), asked]))


def test_at_the_hard_limit_what_was_recalled_gives_way() -> None:
    talk = life()
    messages = [*chat(15, FACT), ASKED]
    talk.request(messages)
    talk.memory.limits = type(talk.memory.limits)(target=100, max_tokens=120)
    step = [
        Message(role="assistant", tool_calls=(ToolCall(name="look", id="c", arguments="{}"),)),
        Message(role="tool", tool_call_id="c", text="no " * 60),
    ]
    prepared = talk.request([*messages, *step])
    assert slot(prepared) == ""
    assert prepared.outcome.after <= 120
    assert talk.problems == []
