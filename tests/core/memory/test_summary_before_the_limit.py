"""Where no summary pays, one is there all the same before the hard limit forces a cut."""

from __future__ import annotations

from tokenwise_core.flow import Ask
from tokenwise_core.memory import Memory, Put, Request, View
from tokenwise_core.messages import Message

FACTS = "- The order is ORD-1234."


def said(number: int) -> Message:
    role = "assistant" if number % 2 else "user"
    return Message(role=role, text=f"Message {number}. " + "And so on. " * 20, index=number)


def test_a_summariser_that_is_too_dear_is_asked_before_the_limit_and_its_summary_is_what_stands_there_then() -> None:
    memory = Memory(target_tokens=500, max_tokens=1_500, summaries="after_answer", recall=None, deadline_ms=5_000)
    asked: list[int] = []

    def ask(question: Ask) -> str:
        asked.append(len(conversation))
        return FACTS

    view, reasons = View(), []
    for number in range(0, 40, 2):
        with memory.using("s") as conversation:
            conversation.sync(number, [said(number)])
            prepared = memory.prepare(conversation, view, Request(summariser="other"))
            assert prepared.outcome.after <= 1_500
            conversation.sync(number + 1, [said(number + 1)])
        memory.answered(prepared, ask=ask)
        view = prepared.view
        reasons += [prepared.outcome.reason] if prepared.outcome.reason else []
        if reasons:
            break
    assert asked
    assert reasons == ["summary"]
    assert any(FACTS in part.text for part in prepared.plan.parts if isinstance(part, Put))
