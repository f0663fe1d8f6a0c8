from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from tokenwise_core import current_scope, scope
from tokenwise_core.flow import Ask, Flow, arun, run


def twice(text: str) -> Flow[str]:
    first = yield Ask(text, purpose="test")
    second = yield Ask(first, purpose="test")
    return f"{first}/{second}"


def side_by_side(texts: Sequence[str]) -> Flow[list[str]]:
    answers: list[str] = yield [Ask(text, purpose="test") for text in texts]
    return answers


def with_fallback(text: str) -> Flow[str]:
    try:
        answer: str = yield Ask(text, purpose="test")
    except ConnectionError:
        return text
    return answer


def shout(ask: Ask) -> str:
    return ask.prompt.upper() + "!"


async def ashout(ask: Ask) -> str:
    return shout(ask)


async def test_a_flow_takes_the_same_decisions_sync_and_async() -> None:
    assert run(twice("a"), shout) == await arun(twice("a"), ashout) == "A!/A!!"


async def test_questions_asked_at_once_are_answered_in_their_order() -> None:
    texts = [f"t{i}" for i in range(20)]
    assert (
        run(side_by_side(texts), shout) == await arun(side_by_side(texts), ashout) == [t.upper() + "!" for t in texts]
    )


async def test_a_models_exception_is_thrown_into_the_flow_that_may_go_on_without() -> None:
    def refuse(ask: Ask) -> str:
        raise ConnectionError

    async def arefuse(ask: Ask) -> str:
        raise ConnectionError

    assert run(with_fallback("kept"), refuse) == await arun(with_fallback("kept"), arefuse) == "kept"
    with pytest.raises(ConnectionError):
        run(twice("a"), refuse)
    with pytest.raises(ConnectionError):
        run(side_by_side(["a", "b"]), refuse)


def test_questions_asked_at_once_run_side_by_side_under_the_callers_scope() -> None:
    together = threading.Barrier(3, timeout=10)

    def ask(question: Ask) -> str:
        together.wait()
        return str(current_scope().session)

    with scope(session="s-1"):
        assert run(side_by_side(["a", "b", "c"]), ask) == ["s-1"] * 3
