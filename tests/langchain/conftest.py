"""Handlers on a store of their own, and models whose answers and usage a test chooses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

from tokenwise_core.cache import MemoryEntries, SemanticCache
from tokenwise_core.demo.workload import RecordedCall, Turn
from tokenwise_core.testing import HashEmbedder, Replay
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore
from tokenwise_langchain import ReplayChatModel, TokenBreakdownHandler
from tokenwise_langchain.cache.served import message_chunks

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


class Counted(BaseChatModel):
    """Answers with *says* (or what it makes of the last message), slowly if told so, and counts how often it is asked.

    It is a LangChain-serialisable model, as the integrations are: its parameters' string is computed once.
    """

    says: Any = Field(default=None, exclude=True)
    temperature: float = 0.0
    model: str = "gpt-5-mini"
    seconds: float = Field(default=0.0, exclude=True)
    usage: dict[str, Any] | None = Field(
        default_factory=lambda: {"input_tokens": 90, "output_tokens": 10, "total_tokens": 100}, exclude=True
    )
    _asked: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    def calls(self) -> int:
        return len(self._asked)

    @property
    def _llm_type(self) -> str:
        return "counted"

    def _answer(self, messages: list[BaseMessage]) -> AIMessage:
        self._asked.append(messages)
        if self.seconds:
            time.sleep(self.seconds)
        answer = self.says(messages) if callable(self.says) else self.says
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, AIMessage):
            return answer.model_copy(deep=True)
        text = f"Answer to: {messages[-1].text}" if answer is None else answer
        metadata = {"model_name": self.model, "model_provider": "openai", "finish_reason": "stop", "id": "resp_1"}
        return reply(text, usage=self.usage, response_metadata=metadata)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in message_chunks(self._answer(messages)):
            yield ChatGenerationChunk(message=chunk)

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        if tool_choice:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)


@pytest.fixture
def counted() -> type[Counted]:
    return Counted


@pytest.fixture
def new_cache() -> Iterator[Callable[..., SemanticCache]]:
    """Make semantic caches for everybody, in memory, that embed by hashing; other settings as given."""
    made: list[SemanticCache] = []

    def make(**settings: Any) -> SemanticCache:
        if "namespace" not in settings:
            settings.setdefault("shared", True)
        settings = {"entries": MemoryEntries(), "embedder": HashEmbedder(), "explore": 0.0, **settings}
        cache = SemanticCache(**settings, deadline_ms=5_000)
        assert cache.ready()
        made.append(cache)
        return cache

    yield make
    for cache in made:
        cache.close()
