from __future__ import annotations

import json

from tokenwise_core.memory import Memory, Recall, View
from tokenwise_core.messages import Message, ToolCall

ROWS = [{"reservation": f"R{n:04}", "passenger": f"person {n}", "price": n} for n in range(2_000)]


def found(memory: Memory, text: str, query: str) -> str:
    said = [
        Message(role="user", text="Show me all reservations."),
        Message(role="assistant", tool_calls=(ToolCall(name="list", id="c1"),)),
        Message(role="tool", tool_call_id="c1", text=text),
        Message(role="assistant", text="There they are."),
        Message(role="user", text="Thanks, now something else."),
    ]
    with memory.using("s") as conversation:
        conversation.sync(0, said)
        view = View(evicted=((0, 4),)).seen(conversation)
        return memory.recalled(conversation, view, query)


def test_what_stands_late_in_a_long_result_is_found_and_shown() -> None:
    memory = Memory(recall=Recall(embedder=None))
    assert "R0301" in found(memory, json.dumps(ROWS[:400]), "reservation R0301")
    assert "R0301" in found(memory, "\n".join(map(json.dumps, ROWS[:400])), "reservation R0301")


def test_a_long_result_takes_no_more_of_the_slot_than_its_telling_lines() -> None:
    memory = Memory(recall=Recall(embedder=None))
    text = found(memory, json.dumps(ROWS), "reservation R0007")
    assert "R0007" in text
    assert memory.counter.text(text) < 400
