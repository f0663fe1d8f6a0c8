"""Random conversations: parallel, interleaved, unanswered and orphaned calls among them."""

from __future__ import annotations

import random

from hypothesis import strategies as st

from tokenwise_core.messages import Message, ToolCall

WORDS = ("order", "refund", "£10.90", "Lisbon", "never", "ticket", "ORD-1234", "7 May", "please", "thanks", "why?")


@st.composite
def histories(draw: st.DrawFn, *, max_size: int = 40, well_formed: bool = False) -> list[Message]:
    """Draw a history; *well_formed* ones answer every call, in a row, as providers demand."""
    return random_history(draw(st.integers(0, 2**32)), draw(st.integers(0, max_size)), well_formed=well_formed)


def random_history(seed: int, size: int, *, well_formed: bool = False) -> list[Message]:
    """Return about *size* messages, the same for the same seed."""
    chance = random.Random(seed)
    messages: list[Message] = []
    waiting: list[str] = []
    if chance.random() < 0.7:
        messages.append(Message(role="system", text=_text(chance, 20)))
    while len(messages) < size:
        kind = chance.random()
        if kind < 0.35:
            messages.append(Message(role="user", text=_text(chance, 40)))
        elif kind < 0.6:
            messages.append(Message(role="assistant", text=_text(chance, 40)))
        else:
            ids = [f"c{len(messages)}-{n}" for n in range(chance.randint(1, 3))]
            messages.append(
                Message(
                    role="assistant", tool_calls=tuple(ToolCall(name="look", id=name, arguments="{}") for name in ids)
                )
            )
            waiting += ids
            if well_formed:
                chance.shuffle(ids)
                messages += [Message(role="tool", tool_call_id=name, text=_text(chance, 60)) for name in ids]
                continue
        while not well_formed and waiting and chance.random() < 0.6:
            name = waiting.pop(chance.randrange(len(waiting)))
            messages.append(Message(role="tool", tool_call_id=name, text=_text(chance, 60)))
        if not well_formed and chance.random() < 0.03:
            messages.append(Message(role="tool", tool_call_id="nobody", text="late"))
        if chance.random() < 0.02:
            messages.append(Message(role="system", text=_text(chance, 10)))
    return messages


def _text(chance: random.Random, most: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(1, most)))
