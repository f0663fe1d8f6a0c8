"""LangChain's own ways to keep a history short, driven as LangChain does: what each would send for a request."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from langchain.agents.middleware import ContextEditingMiddleware, SummarizationMiddleware
from langchain.agents.middleware.context_editing import ClearToolUsesEdit
from langchain.agents.middleware.types import ModelRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage, trim_messages
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph.message import add_messages

from benchmarks.memory_texts import text_tokens
from tokenwise_core.messages import Message

Sent = tuple[str, str]
"""A message as a provider sees it: its role, and its text with its calls."""
Summarise = Callable[[Sequence[str]], str]
"""The summariser: what it answers to the messages of a summary request."""
AROUND = 4
CLASSIC = "pip install langchain-classic"


class Trim:
    """`trim_messages` before each request, as its documentation has it: the last messages, from a user's on."""

    def __init__(self, limit: int, summarise: Summarise) -> None:
        self._limit = limit
        self._messages: list[BaseMessage] = []

    def request(self, new: Sequence[Message]) -> list[Sent]:
        self._messages += map(to_langchain, new)
        kept = trim_messages(
            self._messages, max_tokens=self._limit, token_counter=tokens_of, strategy="last", start_on="human"
        )
        return [sent(message) for message in kept]


class SummaryMiddleware:
    """`SummarizationMiddleware` with its defaults, at a limit that holds everything; its state is the history."""

    def __init__(self, limit: int, summarise: Summarise) -> None:
        model = Summariser(answer=summarise)
        self._middleware = SummarizationMiddleware(model, trigger=("tokens", limit), token_counter=tokens_of)
        self._messages: Any = []

    def request(self, new: Sequence[Message]) -> list[Sent]:
        self._messages = add_messages(self._messages, [to_langchain(message) for message in new])
        update = self._middleware.before_model({"messages": self._messages}, None)  # type: ignore[arg-type,typeddict-item]
        if update is not None:
            self._messages = add_messages(self._messages, update["messages"])
        return [sent(message) for message in self._messages]


class ContextEditing:
    """`ContextEditingMiddleware`: above the limit, all tools' results but the last three are cleared."""

    def __init__(self, limit: int, summarise: Summarise) -> None:
        self._middleware = ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=limit)], token_counter=tokens_of)
        self._model = Summariser(answer=summarise)
        self._messages: list[Any] = []

    def request(self, new: Sequence[Message]) -> list[Sent]:
        self._messages += map(to_langchain, new)
        shown: list[BaseMessage] = []

        def model(request: Any) -> Any:
            shown.extend(request.messages)
            return AIMessage("")

        self._middleware.wrap_model_call(ModelRequest(model=self._model, messages=self._messages), model)
        return [sent(message) for message in shown]


class SummaryBuffer:
    """`ConversationSummaryBufferMemory`: it prunes when an answer is saved; summary and buffer fill the limit."""

    def __init__(self, limit: int, summarise: Summarise) -> None:
        from langchain_classic.memory import ConversationSummaryBufferMemory

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.memory = ConversationSummaryBufferMemory(
                llm=Summariser(answer=summarise), max_token_limit=limit, return_messages=True
            )
        self._waiting: list[BaseMessage] = []

    def request(self, new: Sequence[Message]) -> list[Sent]:
        answered = 1 + max((at for at, message in enumerate(new) if message.role == "assistant"), default=-1)
        if answered:
            self.memory.chat_memory.add_messages([*self._waiting, *map(to_langchain, new[:answered])])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.memory.prune()
            self._waiting = []
        self._waiting += map(to_langchain, new[answered:])
        history = self.memory.load_memory_variables({})["history"]
        return [sent(message) for message in (*history, *self._waiting)]


class Summariser(BaseChatModel):
    """A chat model that makes summaries."""

    answer: Summarise

    @property
    def _llm_type(self) -> str:
        return "summariser"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        text = self.answer([message.text for message in messages])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    def get_num_tokens_from_messages(self, messages: Any, tools: Any = None) -> int:
        return tokens_of(messages)


def has_classic() -> bool:
    """Say whether the package of LangChain's former memories is installed."""
    return find_spec("langchain_classic") is not None


def to_langchain(message: Message) -> BaseMessage:
    """Return *message* as LangChain's; its calls keep the words in which the model wrote them."""
    if message.role == "user":
        return HumanMessage(message.text)
    if message.role == "system":
        return SystemMessage(message.text)
    if message.role == "tool":
        return ToolMessage(message.text, tool_call_id=message.tool_call_id or "")
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in message.tool_calls
    ]
    return AIMessage(message.text, additional_kwargs={"tool_calls": calls} if calls else {})


def sent(message: Any) -> Sent:
    """Return *message* as it is counted."""
    calls = message.additional_kwargs.get("tool_calls")
    return message.type, message.text + (json.dumps(calls) if calls else "")


def tokens_of(messages: Any) -> int:
    """Return o200k tokens and four a message: what the peers count by, exact, so that they fill their limit."""
    return sum(AROUND + text_tokens(sent(message)[1]) for message in messages)
