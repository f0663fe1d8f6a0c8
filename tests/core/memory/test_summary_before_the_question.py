"""A summary of what led to a question stands before the question, not between it and the tools' results."""

from __future__ import annotations

from tokenwise_core.memory import Keep, Memory, Put, Request, View
from tokenwise_core.messages import Message, ToolCall


def test_a_summary_stands_before_the_question_though_calls_follow_it() -> None:
    said = [
        Message(role="assistant" if n % 2 else "user", text=f"Message {n}. " + "And so on. " * 20, index=n)
        for n in range(20)
    ]
    asked = Message(role="user", text="What is the weather?", index=20)
    call = Message(role="assistant", tool_calls=(ToolCall(name="weather", id="c"),), index=21)
    result = Message(role="tool", text="Sunny.", tool_call_id="c", index=22)
    memory = Memory(target_tokens=300, max_tokens=600, recall=None, deadline_ms=5_000)
    with memory.using("s") as conversation:
        conversation.sync(0, [*said, asked, call, result])
        prepared = memory.prepare(conversation, View(), Request(summariser=None))
    parts = prepared.plan.parts
    assert isinstance(parts[0], Put)
    assert parts[1:] == (Keep(20, 23),)
    assert prepared.view.summaries[0].stop == 20
