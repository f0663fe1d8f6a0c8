"""Texts that an earlier request of a session retrieved are known in the requests that follow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenwise_core import scope
from tokenwise_core.messages import Answer, Message, Prompt, ToolCall
from tokenwise_core.usage.accountant import Accountant
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.components import Breakdown, Component
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.recorder import Recorder
from tokenwise_core.usage.store import MemoryStore

PAGE = "Returns are accepted within thirty days of delivery, provided that the hub is complete and was not opened."

IN_HISTORY = (
    Message(role="user", text=f"From the handbook: {PAGE}\n\nHow long?"),
    Message(role="assistant", text="Thirty days."),
    Message(role="user", text="And then?"),
)
IN_A_TOOL_RESULT = (
    Message(role="user", text="How long?"),
    Message(role="assistant", tool_calls=(ToolCall(name="search"),)),
    Message(role="tool", text=f"found: {PAGE}"),
)


@pytest.fixture
def meter() -> Iterator[Meter]:
    with Recorder(MemoryStore(), interval_s=0) as recorder:
        yield Meter(recorder, Accountant(prices=PriceBook()), framework="test")


def ask(meter: Meter, run: str, session: str, messages: tuple[Message, ...], *, retrieved: bool) -> Breakdown:
    """Make one request, a trace of its own, and return what its model call took."""
    prompt = Prompt(messages=messages)
    with scope(session=session):
        meter.traces.enter(f"request {run}")
        if retrieved:
            meter.retrieved(f"request {run}", [PAGE])
        meter.start(run, lambda: CallDetails(prompt=prompt, model="gpt-4o"), parent=f"request {run}")
        meter.end(run, lambda: Answered(answer=Answer(text="Thirty days.")))
        meter.traces.leave(f"request {run}")
    return meter.events()[-1].breakdown


@pytest.mark.parametrize("messages", [IN_HISTORY, IN_A_TOOL_RESULT], ids=["history", "tool result"])
def test_a_page_of_an_earlier_request_is_still_retrieved_context(meter: Meter, messages: tuple[Message, ...]) -> None:
    ask(meter, "first", "s-1", IN_HISTORY[:1], retrieved=True)
    later = ask(meter, "later", "s-1", messages, retrieved=False)
    stranger = ask(meter, "stranger", "s-2", messages, retrieved=False)
    assert later[Component.RETRIEVED_CONTEXT] >= 15
    assert stranger[Component.RETRIEVED_CONTEXT] == 0
    assert later.input_tokens == stranger.input_tokens
