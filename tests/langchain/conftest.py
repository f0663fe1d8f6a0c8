"""Handlers on a store of their own, and models whose answers and usage a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from tokenwise_core.demo.workload import RecordedCall, Turn
from tokenwise_core.testing import Replay
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore
from tokenwise_langchain import ReplayChatModel, TokenBreakdownHandler

QUESTION = "How long does a refund of order A-17 take?"
ANSWER = "A refund of order A-17 takes five working days."


@pytest.fixture
def new_handler() -> Iterator[Callable[[], TokenBreakdownHandler]]:
    runtimes = []

    def make() -> TokenBreakdownHandler:
        runtimes.append(make_runtime(MemoryStore()))
        return TokenBreakdownHandler(runtime=runtimes[-1])

    yield make
    for runtime in runtimes:
        runtime.recorder.close()


@pytest.fixture
def handler(new_handler: Callable[[], TokenBreakdownHandler]) -> TokenBreakdownHandler:
    return new_handler()


@pytest.fixture
def turns() -> list[Turn]:
    """One answered at once, one that needs a tool."""
    plain = {"kind": "statement", "wrong": "No.", "dont_know": "I don't know."}
    return [
        Turn(id="t1", user=QUESTION, right=ANSWER, **plain),
        Turn(
            id="t2", user="What is the weather in Rome today?", right="It is sunny in Rome.",
            steps=((RecordedCall(name="get_weather", arguments={"city": "Rome"}),),), **plain,
        ),
    ]  # fmt: skip


@pytest.fixture
def model(turns: list[Turn]) -> ReplayChatModel:
    return ReplayChatModel(replay=Replay(turns, tier="strong"))


def says(*answers: AIMessage | str, **fields: Any) -> GenericFakeChatModel:
    """A model of LangChain's own that gives these answers, again and again."""

    def forever() -> Iterator[AIMessage | str]:
        while True:
            for answer in answers:
                yield answer.model_copy(deep=True) if isinstance(answer, AIMessage) else answer

    return GenericFakeChatModel(messages=forever(), **fields)


class Refusing(GenericFakeChatModel):
    """A provider that cannot be reached."""

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError


@pytest.fixture
def refusing() -> GenericFakeChatModel:
    return Refusing(messages=iter(()))


@pytest.fixture(name="says")
def _says() -> Callable[..., GenericFakeChatModel]:
    return says


def reply(text: str = "Fine.", *, usage: dict[str, Any] | None = None, **fields: Any) -> AIMessage:
    """An answer with the usage that a provider would report; any shape, as integrations hand on any shape."""
    message = AIMessage(content=text, **fields)
    message.usage_metadata = usage  # type: ignore[assignment]  # past validation, as `model_construct` would
    return message


@pytest.fixture(name="reply")
def _reply() -> Callable[..., AIMessage]:
    return reply


class Silent(BaseCallbackHandler):
    """Does nothing, in the caller's thread: what ours is compared with."""

    run_inline = True
