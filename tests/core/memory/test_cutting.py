from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.core.memory.histories import histories
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.cutting import going, may_go
from tokenwise_core.memory.situation import Limits, Situation
from tokenwise_core.memory.view import View, evicting
from tokenwise_core.messages import Message


@given(histories(), st.integers(0, 45), st.integers(0, 45))
def test_what_goes_of_a_range_are_the_units_that_may_go(messages: list[Message], start: int, stop: int) -> None:
    conversation = Conversation("talk", lambda message: 5)
    conversation.sync(0, messages)
    situation = Situation(conversation=conversation, view=View(), limits=Limits(target=10), count=len)
    units = may_go(situation, start, stop)
    assert going(situation, start, stop) == evicting([(unit.start, unit.stop) for unit in units])
