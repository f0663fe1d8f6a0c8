"""What memory saved is booked with the call, also where only tools' results were shortened: in both frameworks."""

from __future__ import annotations

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, MessageRole

from tokenwise_core.memory import Keep, Plan, Put, Swap
from tokenwise_core.messages import Message
from tokenwise_core.usage.components import Component
from tokenwise_langchain.convert import snapshot, to_message
from tokenwise_langchain.memory.applied import applied
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.convert import to_prompt
from tokenwise_llamaindex.memory.messages import shown

MARK = "memory#0123456789abcdef"
SHORTENED = Plan(parts=(Keep(0, 2), Swap(2, "short", 5), Swap(3, "short too", 6), Keep(4, 5)))
SUMMARISED = Plan(parts=(Put("[Summary]", Component.SUMMARY, 4), Swap(2, "short", 5), Keep(3, 5)))


def in_langchain(plan: Plan) -> list[Message]:
    call = {"name": "look", "args": {}, "id": "c1"}
    messages = [
        HumanMessage("look"), AIMessage("", tool_calls=[call, {**call, "id": "c2"}]),
        ToolMessage("a long result", tool_call_id="c1"), ToolMessage("another", tool_call_id="c2"), AIMessage("done"),
    ]  # fmt: skip
    return [to_message(snapshot(message)) for message in applied(plan, messages, mark=MARK, copies={})]


def in_llamaindex(plan: Plan) -> list[Message]:
    messages = [
        ChatMessage("look"), ChatMessage("", role=MessageRole.ASSISTANT),
        ChatMessage("a long result", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": "c1"}),
        ChatMessage("another", role=MessageRole.TOOL, additional_kwargs={"tool_call_id": "c2"}),
        ChatMessage("done", role=MessageRole.ASSISTANT),
    ]  # fmt: skip
    return list(to_prompt(map(snapshots.of_message, shown(plan, messages, MARK)), {}).messages)


def sources(messages: list[Message]) -> list[str | None]:
    return [tag.source for message in messages for tag in message.tags if tag.source == MARK]


def test_the_first_shortened_result_bears_the_mark_where_nothing_else_can() -> None:
    for messages in (in_langchain(SHORTENED), in_llamaindex(SHORTENED)):
        assert sources(messages) == [MARK]
        assert next(m for m in messages if m.tags).text == "short"
        assert next(m for m in messages if m.tags).tool_call_id == "c1"


def test_a_mark_is_borne_once_where_a_summary_bears_it() -> None:
    for messages in (in_langchain(SUMMARISED), in_llamaindex(SUMMARISED)):
        assert sources(messages) == [MARK]
        assert next(m for m in messages if m.tags).text == "[Summary]"
