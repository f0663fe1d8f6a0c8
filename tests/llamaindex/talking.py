"""A model that answers and summarises as a test tells it, conversations, and what is true of what is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock

from tests.llamaindex.conftest import Clerk
from tokenwise_core.memory import Memory, Rates
from tokenwise_llamaindex import SummaryBufferMemory

FACTS = "- The customer's order is ORD-1234; it costs £10.90."
UNCACHED = Rates(read=1.0, write=1.0)
"""Under these a cut pays soon: tests need few words."""


def is_summary_request(messages: Sequence[ChatMessage]) -> bool:
    return "List the facts of" in (messages[-1].content or "") or "Merge these lists" in (messages[-1].content or "")


class Talker(Clerk):
    """Answers "Yes, that is so." and summarises as FACTS, unless it is told otherwise."""

    def __init__(self, say: Any = "Yes, that is so. " * 10, *, facts: Any = FACTS, **fields: Any) -> None:
        def said(messages: Sequence[ChatMessage], params: dict[str, Any]) -> Any:
            what = facts if is_summary_request(messages) else say
            if isinstance(what, Exception):
                raise what
            return what(messages, params) if callable(what) else what

        super().__init__(said, **fields)

    def _answered(self, messages: Sequence[ChatMessage], params: dict[str, Any]) -> Any:
        answered = super()._answered(messages, params)
        answered.raw = {name: value for name, value in answered.raw.items() if name != "usage"}
        return answered

    @property
    def summary_requests(self) -> list[list[ChatMessage]]:
        return [messages for messages, _ in self.calls if is_summary_request(messages)]

    @property
    def requests(self) -> list[list[ChatMessage]]:
        return [messages for messages, _ in self.calls if not is_summary_request(messages)]


def core_memory(**options: Any) -> Memory:
    """A memory that cuts early, and whose summaries are there when `put` returns."""
    given = {
        "target_tokens": 400, "max_tokens": 900, "summaries": "after_answer", "rates": UNCACHED, "recall": None,
        "deadline_ms": 5_000,
    }  # fmt: skip
    return Memory(**{**given, **options})


def summing(llm: Any = None, **options: Any) -> SummaryBufferMemory:
    return SummaryBufferMemory.from_defaults(llm=llm, memory=core_memory(**options))


def user(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.USER, content=text)


def answer(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.ASSISTANT, content=text)


def system(text: str) -> ChatMessage:
    return ChatMessage(role=MessageRole.SYSTEM, content=text)


def call(*ids: str, text: str = "") -> ChatMessage:
    blocks = [ToolCallBlock(tool_call_id=one, tool_name="look", tool_kwargs={"what": one}) for one in ids]
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[*answer(text).blocks, *blocks]) if text else message


def result(id: str, text: str = "found") -> ChatMessage:
    return ChatMessage(role=MessageRole.TOOL, content=text, additional_kwargs={"tool_call_id": id})


def words(number: int, count: int = 8) -> str:
    return f"Message {number} is about order ORD-{1000 + number}, and goes on: " + "and so on " * count


def talk(memory: SummaryBufferMemory, turns: int, *, start: int = 0) -> list[list[str]]:
    """Hold a conversation of *turns*; return what each request showed, as texts."""
    shown = []
    for number in range(start, start + turns):
        memory.put(user(words(2 * number)))
        shown.append(texts(memory.get()))
        memory.put(answer(words(2 * number + 1)))
    return shown


def texts(messages: Sequence[ChatMessage]) -> list[str]:
    return [message.content or "" for message in messages]


def called(messages: Sequence[ChatMessage]) -> list[str]:
    blocks = (block for message in messages for block in message.blocks)
    return [str(block.tool_call_id) for block in blocks if isinstance(block, ToolCallBlock)]


def answered(messages: Sequence[ChatMessage]) -> list[str]:
    return [one.additional_kwargs["tool_call_id"] for one in messages if one.role is MessageRole.TOOL]


def tokens(memory: SummaryBufferMemory, messages: Sequence[ChatMessage]) -> int:
    """Count what is shown as core does: texts, calls, and the marks around them."""
    from tokenwise_core.memory.conversation import message_counter
    from tokenwise_llamaindex.memory.messages import view_of

    count = message_counter(memory.memory.counter.text)
    return sum(count(view_of(message, 0)) for message in messages)
