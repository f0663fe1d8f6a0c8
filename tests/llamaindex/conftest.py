"""An installed handler on a store of its own, and models whose answers, usage and failures a test chooses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, LLMMetadata
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.schema import TextNode

from tokenwise_core.cache import SemanticCache
from tokenwise_core.demo.workload import RecordedCall, Turn
from tokenwise_core.switch import disable, enable
from tokenwise_core.testing import HashEmbedder, Replay
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore
from tokenwise_llamaindex import ReplayLLM, TokenBreakdownHandler

QUESTION = "How long does a refund of order A-17 take?"
ANSWER = "A refund of order A-17 takes five working days."
USAGE = {
    "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64}, "completion_tokens_details": {"reasoning_tokens": 8},
}  # fmt: skip


@pytest.fixture
def new_handler() -> Iterator[Callable[..., TokenBreakdownHandler]]:
    """Handlers that are not installed yet."""
    made: list[TokenBreakdownHandler] = []

    def make(**options: Any) -> TokenBreakdownHandler:
        made.append(TokenBreakdownHandler(runtime=make_runtime(MemoryStore()), **options))
        return made[-1]

    yield make
    for handler in made:
        handler.uninstall()
        handler.meter.recorder.close()


@pytest.fixture
def tracker(new_handler: Callable[..., TokenBreakdownHandler]) -> Iterator[TokenBreakdownHandler]:
    """A handler that listens, and that had no trouble."""
    with new_handler() as handler:
        yield handler
    assert handler.errors == 0
    assert handler.meter.recorder.stats().failed == 0


@pytest.fixture
def turns() -> list[Turn]:
    """One turn that is answered at once, one that needs a tool."""
    plain = {"kind": "statement", "wrong": "No.", "dont_know": "I don't know."}
    return [
        Turn(id="t1", user=QUESTION, right=ANSWER, **plain),
        Turn(
            id="t2", user="What is the weather in Rome today?", right="It is sunny in Rome.",
            steps=((RecordedCall(name="get_weather", arguments={"city": "Rome"}),),), **plain,
        ),
    ]  # fmt: skip


@pytest.fixture
def replayed(turns: list[Turn]) -> ReplayLLM:
    return ReplayLLM(replay=Replay(turns, tier="strong"))


class Scripted(CustomLLM):
    """A chat model that calls no other decorated method, and answers with the object that it is given.

    *raw* and *extra* go onto each answer; of a list for *raw* each chunk gets its own. *error* is raised, in a stream
    after the first *error_after* chunks.
    """

    name: str = "gpt-4o-mini"
    text: str = ANSWER
    _raw: Any = PrivateAttr(default=None)
    _extra: dict[str, Any] = PrivateAttr(default_factory=dict)
    _error: BaseException | None = PrivateAttr(default=None)
    _error_after: int = PrivateAttr(default=0)

    def __init__(
        self,
        *,
        raw: Any = None,
        extra: dict[str, Any] | None = None,
        error: BaseException | None = None,
        error_after: int = 0,
        **fields: Any,
    ) -> None:
        super().__init__(**fields)
        self._raw, self._extra, self._error, self._error_after = raw, extra or {}, error, error_after

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, model_name=self.name)

    def _response(self, text: str, at: int = -1, delta: str | None = None) -> ChatResponse:
        raw = self._raw[at] if isinstance(self._raw, list) else self._raw
        message = ChatMessage(role="assistant", content=text)
        return ChatResponse(message=message, raw=raw, delta=delta, additional_kwargs=dict(self._extra))

    def _chunks(self) -> Iterator[ChatResponse]:
        words = self.text.split(" ")
        for at in range(len(words)):
            if self._error is not None and at == self._error_after:
                raise self._error
            last = at == len(words) - 1
            yield self._response(" ".join(words[: at + 1]), -1 if last else 0, words[at])

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        if self._error is not None:
            raise self._error
        return self._response(self.text)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        if self._error is not None:
            raise self._error
        return self._response(self.text)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        def pieces() -> Generator[ChatResponse, None, None]:
            yield from self._chunks()

        return pieces()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        async def pieces() -> AsyncGenerator[ChatResponse, None]:
            for chunk in self._chunks():
                yield chunk

        return pieces()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        if self._error is not None:
            raise self._error
        return CompletionResponse(text=self.text, raw=self._raw, additional_kwargs=dict(self._extra))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        def pieces() -> Generator[CompletionResponse, None, None]:
            for chunk in self._chunks():
                yield CompletionResponse(text=chunk.message.content or "", delta=chunk.delta, raw=chunk.raw)

        return pieces()


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture
def usage() -> dict[str, Any]:
    """Usage as OpenAI's chat API reports it."""
    return dict(USAGE)


PAGES = (
    "Refunds are paid out within five working days of the day on which the parcel reaches our warehouse in Leeds.",
    "A kettle may be returned within thirty days, unless its seal is broken; the sender pays for the parcel's way.",
    "The warranty covers the heating element for two years and the switch for one, from the day of the purchase.",
)


@pytest.fixture
def pages() -> tuple[str, ...]:
    return PAGES


@pytest.fixture
def index() -> VectorStoreIndex:
    """Three pages of a handbook; the retriever gives the first two, whatever is asked."""
    ids = ("page-2", "page-3", "page-1")  # all are alike to the retriever, which then goes by id
    nodes = [TextNode(id_=ids[n], text=page, metadata={"page": n}) for n, page in enumerate(PAGES)]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(8))


class Clerk(ReplayLLM):
    """A function-calling model that does what a test tells it, and writes down what it was asked.

    *say* makes its message of the messages and parameters; the first *errors* calls fail, in a stream after the first
    word. Each answer has an id of its own and the usage of 100 and 20 tokens.
    """

    temperature: float = 0.1
    api_key: str = "sk-very-secret"
    default_headers: dict[str, str] = Field(default_factory=lambda: {"X-Tenant-Token": "very-secret"})
    calls: list[Any] = Field(default_factory=list, exclude=True)
    finish: str = "stop"
    delay_s: float = 0.0
    errors: int = 0
    _say: Callable[[Sequence[ChatMessage], dict[str, Any]], ChatMessage | str] = PrivateAttr()

    def __init__(self, say: Any = ANSWER, **fields: Any) -> None:
        super().__init__(**fields)
        self._say = say if callable(say) else lambda _messages, _params: say

    @classmethod
    def class_name(cls) -> str:
        return "Clerk"

    def _answered(self, messages: Sequence[ChatMessage], params: dict[str, Any]) -> ChatResponse:
        self.calls.append((list(messages), params))
        said = self._say(messages, params)
        message = ChatMessage(role="assistant", content=said) if isinstance(said, str) else said
        choices = [{"index": 0, "finish_reason": self.finish}]
        raw = {
            "id": f"clerk-{id(self)}-{len(self.calls)}",
            "model": "clerk-1",
            "choices": choices,
            "usage": dict(USAGE),
        }
        return ChatResponse(message=message, raw=raw)

    def _fails(self) -> bool:
        return len(self.calls) <= self.errors

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        response = self._answered(messages, kwargs)
        time.sleep(self.delay_s)
        if self._fails():
            raise ConnectionError
        return response

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        response = self._answered(messages, kwargs)
        await asyncio.sleep(self.delay_s)
        if self._fails():
            raise ConnectionError
        return response

    def _chunks(self, whole: ChatResponse) -> Generator[ChatResponse, None, None]:
        """Stream as OpenAI does: why it stopped stands in the last chunk but one, the usage in the last."""
        words = (whole.message.content or "").split(" ")
        fails = self._fails()
        for at, word in enumerate(words):
            if fails and at == 1:
                raise ConnectionError
            message = ChatMessage(role="assistant", content=" ".join(words[: at + 1]))
            yield ChatResponse(message=message, delta=word if at == 0 else f" {word}", raw={"choices": [{}]})
        raw = {name: value for name, value in whole.raw.items() if name != "usage"}
        for last in (raw, {**whole.raw, "choices": []}):
            yield ChatResponse(message=whole.message.model_copy(deep=True), delta="", raw=last)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        return self._chunks(self._answered(messages, kwargs))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        whole = self._answered(messages, kwargs)
        await asyncio.sleep(self.delay_s)

        async def pieces() -> AsyncGenerator[ChatResponse, None]:
            for chunk in self._chunks(whole):
                yield chunk
                await asyncio.sleep(0)

        return pieces()

    def _completed(self, prompt: str, params: dict[str, Any]) -> CompletionResponse:
        whole = self._answered([ChatMessage(role="user", content=prompt)], params)
        return CompletionResponse(text=whole.message.content or "", raw=whole.raw)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self._completed(prompt, kwargs)

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self._completed(prompt, kwargs)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        whole = self._answered([ChatMessage(role="user", content=prompt)], kwargs)

        def pieces() -> Generator[CompletionResponse, None, None]:
            for chunk in self._chunks(whole):
                yield CompletionResponse(text=chunk.message.content or "", delta=chunk.delta, raw=chunk.raw)

        return pieces()

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        whole = self._answered([ChatMessage(role="user", content=prompt)], kwargs)

        async def pieces() -> AsyncGenerator[CompletionResponse, None]:
            for chunk in self._chunks(whole):
                yield CompletionResponse(text=chunk.message.content or "", delta=chunk.delta, raw=chunk.raw)

        return pieces()


@pytest.fixture
def clerk() -> type[Clerk]:
    return Clerk


@pytest.fixture
def new_cache(tmp_path: Path) -> Iterator[Callable[..., SemanticCache]]:
    """Caches over SQLite and FAISS that are open; questions that differ in punctuation are rephrased ones to them."""
    made: list[SemanticCache] = []

    def make(**options: Any) -> SemanticCache:
        if not {"namespace", "shared"} & set(options):
            options["shared"] = True
        file = tmp_path / f"cache-{len(made)}.sqlite"
        given = {
            "entries": f"sqlite:///{file}",
            "embedder": HashEmbedder(),
            "deadline_ms": 5_000,
            "explore": 0.0,
            **options,
        }
        made.append(SemanticCache(**given))
        assert made[-1].ready()
        return made[-1]

    yield make
    for cache in made:
        cache.close()


@pytest.fixture
def cache(new_cache: Callable[..., SemanticCache]) -> SemanticCache:
    return new_cache()


@pytest.fixture
def switched_off() -> Callable[[], AbstractContextManager[None]]:
    """A `with` inside which TokenWise does nothing."""

    @contextmanager
    def off() -> Generator[None, None, None]:
        disable()
        try:
            yield
        finally:
            enable()

    return off
