"""What `usage` says is shown is what was shown: cuts, summaries, shortened results and what was recalled included."""

from __future__ import annotations

import pytest

from tests.core.memory.replaying import RATES, WORDS, Life
from tokenwise_core.memory import Memory, Recall, ToolResults, View
from tokenwise_core.memory.usage import MemoryUsage, usage_of
from tokenwise_core.memory.view import Slot
from tokenwise_core.messages import Message, ToolCall

FILL = "and so on " * 18
LONG = "\n".join(f"row {n}: nothing to see here, really" for n in range(2_000))


def history(turns: int) -> list[Message]:
    found = [Message(role="system", text="be kind")]
    for n in range(turns):
        call = ToolCall(name="look", id=f"c{n}")
        found += [
            Message(role="user", text=f"ask {n}: what about the blue kettle of Anna {n}? {FILL}"),
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", tool_call_id=call.id, text=LONG if n % 3 == 0 else f"found {n} {FILL}"),
            Message(role="assistant", text=f"say {n} {FILL}"),
        ]
    return found


def used(life: Life, memory: Memory) -> MemoryUsage:
    with memory.using(life.id) as conversation:
        return usage_of(conversation, life.view, memory)


@pytest.mark.parametrize("tools", [None, ToolResults(max_tokens=200)], ids=["whole results", "shortened results"])
def test_what_is_said_to_be_shown_is_what_was_shown(tools: ToolResults | None) -> None:
    memory = Memory(
        rates=RATES["A"], recall=Recall(), counter=WORDS, target_tokens=3_000, tool_results=tools, deadline_ms=60_000
    )
    life, messages = Life(memory, fixed=0), history(30)
    for n in range(30):
        asked = messages[: 2 + 4 * n]
        prepared = life.request(asked)
        usage = used(life, memory)
        assert usage.shown_tokens == prepared.plan.tokens
        assert usage.messages == len(asked)
        assert usage.total_tokens == sum(usage.by_role.values())
        life.answer(prepared)
        assert memory.drain()


def test_what_is_stable_ends_where_something_was_recalled() -> None:
    memory = Memory(counter=WORDS)
    with memory.using("s") as conversation:
        conversation.sync(0, [Message(role="user", text=f"ask {n} {FILL}") for n in range(30)])
        slot = Slot(turn=29, digest=conversation.digest(30), text="ask 3", tokens=7)
        usage = usage_of(conversation, View(evicted=((0, 20),), slot=slot).seen(conversation), memory)
        assert usage.stable_tokens == conversation.tokens(20, 29)
        assert usage.shown_tokens == conversation.tokens(20, 30) + 7
