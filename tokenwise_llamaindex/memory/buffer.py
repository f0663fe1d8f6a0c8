"""`SummaryBufferMemory`: the memory of an agent or a chat engine, kept whole in a session and shown as it pays."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self
from uuid import uuid4

from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import (
    Field,
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from llama_index.core.llms.llm import LLM
from llama_index.core.memory.types import BaseMemory
from typing_extensions import override

from tokenwise_core.errors import BadInput
from tokenwise_core.memory import Memory, MemoryUsage, Plan
from tokenwise_core.outcome import Outcome
from tokenwise_core.tokens import TokenCounter
from tokenwise_llamaindex.memory.messages import written
from tokenwise_llamaindex.memory.turns import Asked, Turns

log = logging.getLogger("tokenwise.memory")

TARGET_TOKENS = 8_000
"""The soft limit where the hard one is far above it."""
TARGET_SHARE = 0.5
"""Else its share of the hard limit: room for a summary to be made behind the requests, while the tail grows."""
WINDOW_SHARE = 0.75
"""What of a model's window is the hard limit where nobody says another: that of LlamaIndex's own buffers."""

Tokenizer = Callable[[str], Sequence[Any]]


class SummaryBufferMemory(BaseMemory):
    """Keeps every message, and shows the model summaries of the oldest ones where that costs less.

    >>> memory = SummaryBufferMemory.from_defaults(llm=llm, token_limit=16_000)
    >>> agent = FunctionAgent(tools=tools, llm=llm)
    >>> await agent.run("…", memory=memory)

    *token_limit* is never exceeded; a summary is begun above the soft limit below it (half of it, 8,000 tokens at
    most), behind the requests, when an answer is put. Let *llm* be the `TokenwiseLLM` that answers, and its summaries
    are asked behind what it was just sent, at the price of the provider's prompt cache; at the full price a summary
    seldom pays, and sentences of the conversation stand in. *fixed_tokens* is what your application sends before the
    messages beside what a chat engine says itself: an agent's system prompt and tools. `outcome` says what the last
    request left out. All that is put can be read with `get_all`, whatever was shown.
    """

    session_id: str = Field(default_factory=lambda: uuid4().hex, description="Name of the session in its store.")
    token_limit: int | None = Field(default=None, description="Tokens that are never exceeded.")
    fixed_tokens: int = Field(default=0, ge=0, description="Tokens sent before the messages, on each request.")
    tokenizer_fn: Tokenizer = Field(exclude=True, description="From a text to its tokens; only their number counts.")
    _turns: Turns = PrivateAttr()

    def __init__(
        self,
        *,
        session_id: str | None = None,
        token_limit: int | None = None,
        fixed_tokens: int = 0,
        llm: LLM | None = None,
        tokenizer_fn: Tokenizer | None = None,
        memory: Memory | None = None,
        dumped: Mapping[str, Any] | None = None,
        class_name: str = "",
    ) -> None:
        """Open a session; *dumped* and *class_name* are what a serialised memory holds."""
        living = Turns.living(dumped) if dumped and memory is None else None
        if living is not None:
            memory, token_limit = living.memory, None
        if memory is None:
            memory = _memory(llm, token_limit, tokenizer_fn)
        elif token_limit is not None and token_limit != memory.limits.max_tokens:
            raise BadInput(f"token_limit={token_limit} beside memory=: give max_tokens={token_limit} to that Memory")
        fields: dict[str, Any] = {
            "session_id": session_id or uuid4().hex,
            "token_limit": memory.limits.max_tokens,
            "fixed_tokens": fixed_tokens,
            "tokenizer_fn": tokenizer_fn or _Tokens(memory.counter),
        }
        super().__init__(**fields)
        if living is not None:
            self._turns = living
            return
        if dumped and dumped["summarised"]:
            llm = _restored(llm)
        self._turns = Turns(memory, self.session_id, llm=llm)
        if dumped:
            self._turns.restore(dumped)

    @classmethod
    def class_name(cls) -> str:
        return "TokenwiseSummaryBufferMemory"

    @classmethod
    @override
    def from_defaults(
        cls,
        chat_history: list[ChatMessage] | None = None,
        llm: LLM | None = None,
        token_limit: int | None = None,
        tokenizer_fn: Tokenizer | None = None,
        memory: Memory | None = None,
        session_id: str | None = None,
        fixed_tokens: int = 0,
        **kwargs: Any,
    ) -> Self:
        """Return a memory for *session_id*, a new one by default, beginning with *chat_history* if that is given.

        *llm* makes summaries, and its window bounds them where *token_limit* does not; None makes them of the
        conversation's own sentences. Give one core *memory* to all sessions of an application: it holds the limits,
        the strategy, the store that sessions are kept in, and the threads. Other keywords, which LlamaIndex passes to
        memories of its own, do nothing.
        """
        made = cls(
            session_id=session_id,
            token_limit=token_limit,
            fixed_tokens=fixed_tokens,
            llm=llm,
            tokenizer_fn=tokenizer_fn,
            memory=memory,
        )
        if chat_history:
            made.set(chat_history)
        return made

    # What it is made of -----------------------------------------------------------------------------------------------

    @property
    def memory(self) -> Memory:
        """The core memory that decides."""
        return self._turns.memory

    @property
    def llm(self) -> LLM | None:
        """The model that makes summaries; may be set, after a memory was restored."""
        return self._turns.llm

    @llm.setter
    def llm(self, llm: LLM | None) -> None:
        self._turns.llm = llm

    @property
    def outcome(self) -> Outcome[Plan] | None:
        """What the last request showed and left out, and why; None before the first."""
        return self._turns.outcome

    def usage(self) -> MemoryUsage:
        """Return what the session holds and shows: tokens in all, by role, of summaries, of the stable prefix."""
        return self._turns.session.usage()

    # A request --------------------------------------------------------------------------------------------------------

    @override
    def get(
        self, input: str | ChatMessage | None = None, initial_token_count: int = 0, **kwargs: Any
    ) -> list[ChatMessage]:
        """Return what to send: copies of messages and, where that pays, summaries in the place of the oldest.

        *initial_token_count* tokens stand before them. *input* is the question, where it is put only with its answer.
        """
        try:
            return self._turns.show(self._asked(input, initial_token_count))
        except Exception as error:  # fail-open
            return self._whole(error)

    @override
    async def aget(
        self, input: str | ChatMessage | None = None, initial_token_count: int = 0, **kwargs: Any
    ) -> list[ChatMessage]:
        """Return the same without blocking the event loop."""
        try:
            return await self._turns.ashow(self._asked(input, initial_token_count))
        except Exception as error:  # fail-open
            return self._whole(error)

    def _asked(self, input: str | ChatMessage | None, initial_token_count: int) -> Asked:
        query = input.content if isinstance(input, ChatMessage) else input
        return Asked(query=query or None, fixed_tokens=self.fixed_tokens + initial_token_count)

    def _whole(self, error: Exception) -> list[ChatMessage]:
        log.warning("memory failed (%s): all messages are sent", type(error).__name__, exc_info=error)
        return self._turns.history()

    @override
    def get_all(self) -> list[ChatMessage]:
        """Return copies of all messages that were ever put."""
        return self._turns.history()

    @override
    async def aget_all(self) -> list[ChatMessage]:
        """Return the same without blocking the event loop."""
        return await self._turns.work(self._turns.history)

    def recall(self, id: str) -> str:
        """Return the whole of a result by the id in its shortened text, else the turns that left the context and say
        something to these words; "" where none does. `recall_tool(memory)` lets the model ask.
        """
        return self._turns.recall(id)

    def offer_recall(self) -> None:
        """Say that the model has the tool `recall`: shortened results name it from now on."""
        self._turns.offers_recall = True

    # Messages ---------------------------------------------------------------------------------------------------------

    @override
    def put(self, message: ChatMessage) -> None:
        """Append a message; a model's answer begins the summary that is due."""
        self.put_messages([message])

    @override
    async def aput(self, message: ChatMessage) -> None:
        """Do the same without blocking the event loop."""
        await self.aput_messages([message])

    @override
    def put_messages(self, messages: list[ChatMessage]) -> None:
        """Append messages at once."""
        data = [written(message) for message in messages]
        self._turns.append(data)
        self._turns.answered(data)

    @override
    async def aput_messages(self, messages: list[ChatMessage]) -> None:
        """Do the same without blocking the event loop."""
        data = [written(message) for message in messages]
        await self._turns.work(lambda: self._turns.append(data))
        await self._turns.aanswered(data)

    @override
    def set(self, messages: list[ChatMessage]) -> None:
        """Put *messages* in the place of all."""
        self._turns.replace([written(message) for message in messages])

    @override
    async def aset(self, messages: list[ChatMessage]) -> None:
        """Do the same without blocking the event loop."""
        data = [written(message) for message in messages]
        await self._turns.work(lambda: self._turns.replace(data))

    @override
    def reset(self) -> None:
        """Forget the session."""
        self._turns.clear()

    @override
    async def areset(self) -> None:
        """Do the same without blocking the event loop."""
        await self._turns.work(self._turns.clear)

    # Copies, and what outlives the process ----------------------------------------------------------------------------

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # contexts copy their state, and go on with the copy: there is one conversation

    def __copy__(self) -> Self:
        return self

    @model_serializer(mode="wrap")
    def custom_model_dump(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Return strict JSON: settings, messages, view; no model, no key, no address."""
        data: dict[str, Any] = handler(self)
        return {**data, "class_name": self.class_name(), "dumped": self._turns.dump()}

    def to_string(self) -> str:
        """Return the memory as a text, from which `from_string` makes another."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_string(cls, text: str, **kwargs: Any) -> Self:
        """Return the memory that `to_string` wrote; *llm* and *memory* as `from_defaults` takes them."""
        return cls.from_dict(json.loads(text), **kwargs)

    @classmethod
    @override
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Return the memory that `to_dict` wrote; *llm* and *memory* as `from_defaults` takes them.

        A session that the store of *memory* knows goes on as it is there.
        """
        left_out = ("token_limit",) if kwargs.get("memory") is not None else ()  # that memory has its own
        return cls(**{**{name: value for name, value in data.items() if name not in left_out}, **kwargs})

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.to_dict(), "llm": self.llm, "memory": self.memory}

    def __setstate__(self, state: dict[str, Any]) -> None:
        data = {name: value for name, value in state["data"].items() if name != "token_limit"}
        self.__init__(**{**data, "llm": state["llm"], "memory": state["memory"]})  # type: ignore[misc]  # opened anew


class _Tokens:
    """What stands in for a tokeniser where only the number of tokens is asked for."""

    def __init__(self, counter: TokenCounter) -> None:
        self._counter = counter

    def __call__(self, text: str) -> range:
        return range(self._counter.text(text))


def _memory(llm: LLM | None, token_limit: int | None, tokenizer_fn: Tokenizer | None) -> Memory:
    """Return a core memory with these limits."""
    if token_limit is None and llm is not None:
        token_limit = round(llm.metadata.context_window * WINDOW_SHARE)
    if token_limit is not None and token_limit < 1:
        raise BadInput(f"token_limit={token_limit}: give the tokens that are never to be exceeded, such as 16000")
    target = TARGET_TOKENS if token_limit is None else min(TARGET_TOKENS, max(round(token_limit * TARGET_SHARE), 1))
    return Memory(target_tokens=target, max_tokens=token_limit, counter=_counter(llm, tokenizer_fn))


def _counter(llm: LLM | None, tokenizer_fn: Tokenizer | None) -> TokenCounter | None:
    if tokenizer_fn is None:
        name = "" if llm is None else llm.metadata.model_name
        return TokenCounter.for_model(name) if name and name != "unknown" else None
    tokenizer = tokenizer_fn
    return TokenCounter(lambda text: len(tokenizer(text)))


def _restored(llm: LLM | None) -> LLM | None:
    """Return the model for a memory that had one, which was not written down: the application's, where it is set."""
    model = llm or Settings._llm  # noqa: SLF001  the getter would make one
    if model is None:
        log.warning("a memory was restored without its model: set .llm, until then summaries are its own sentences")
    return model
