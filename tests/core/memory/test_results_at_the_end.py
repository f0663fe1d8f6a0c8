"""Results that the model asked for and has not seen yet are shown, shortened if need be."""

from __future__ import annotations

import pytest

from tokenwise_core.memory import Memory, Request, View
from tokenwise_core.messages import Message, ToolCall


@pytest.mark.parametrize("length", [20, 400])
def test_results_at_the_end_are_never_left_out_whatever_the_hard_limit(length: int) -> None:
    memory = Memory(target_tokens=200, max_tokens=300, recall=None, deadline_ms=5_000)
    said = [
        Message(role="assistant" if n % 2 else "user", text=f"Message {n}. " + "And so on. " * 10) for n in range(20)
    ]
    said += [
        Message(role="user", text="Look."),
        Message(role="assistant", tool_calls=(ToolCall(name="look", id="c"),)),
        Message(role="tool", tool_call_id="c", text="much and more " * length),
    ]
    with memory.using("s") as conversation:
        conversation.replace(said)
        prepared = memory.prepare(conversation, View(), Request(summariser=None))
    assert set(prepared.plan.positions) >= {20, 21, 22}
    assert prepared.outcome.after <= 300
