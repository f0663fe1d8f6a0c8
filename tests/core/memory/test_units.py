from __future__ import annotations

from hypothesis import given

from tests.core.memory.histories import histories
from tokenwise_core.memory.units import Units
from tokenwise_core.messages import Message, ToolCall


def call(*ids: str) -> Message:
    return Message(role="assistant", tool_calls=tuple(ToolCall(name="look", id=name) for name in ids))


def result(id: str) -> Message:
    return Message(role="tool", tool_call_id=id, text="found")


def borders(*messages: Message) -> list[tuple[int, int]]:
    units = Units(messages)
    return [(units[i].start, units[i].stop) for i in range(len(units))]


USER = Message(role="user", text="hello")
SAID = Message(role="assistant", text="hi")


def test_a_call_and_all_its_results_are_one_unit() -> None:
    assert borders(USER, call("a", "b"), result("b"), result("a"), SAID) == [(0, 1), (1, 4), (4, 5)]


def test_interleaved_calls_join_with_all_that_stands_between_them() -> None:
    assert borders(call("a"), call("b"), result("a"), USER, result("b"), SAID) == [(0, 5), (5, 6)]


def test_a_result_without_a_call_stays_with_the_message_before_it() -> None:
    assert borders(USER, result("x"), SAID) == [(0, 2), (2, 3)]


def test_results_without_ids_answer_the_calls_in_their_order() -> None:
    made = Message(role="assistant", tool_calls=(ToolCall(name="a"), ToolCall(name="b")))
    bare = Message(role="tool", text="found")
    assert borders(USER, made, bare, bare, SAID) == [(0, 1), (1, 4), (4, 5)]


def test_a_unit_is_open_until_its_last_result_has_come() -> None:
    units = Units([call("a", "b"), result("a")])
    assert units[0].is_open
    units.add(result("b"))
    assert not units[0].is_open


def test_a_unit_that_holds_a_system_message_is_pinned() -> None:
    units = Units([call("a"), Message(role="system", text="new rule"), result("a")])
    assert len(units) == 1
    assert units[0].is_pinned


@given(histories())
def test_every_border_leaves_each_result_with_its_call(messages: list[Message]) -> None:
    units = Units(messages)
    where = {}
    for number in range(len(units)):
        for position in range(units[number].start, units[number].stop):
            where[position] = number
    assert sorted(where) == list(range(len(messages)))
    called = {made.id: at for at, message in enumerate(messages) for made in message.tool_calls if made.id}
    for at, message in enumerate(messages):
        if message.tool_call_id in called and called[message.tool_call_id] < at:
            assert where[called[message.tool_call_id]] == where[at]


@given(histories())
def test_a_border_at_or_before_any_position_is_a_start_of_a_unit(messages: list[Message]) -> None:
    units = Units(messages)
    starts = {units[i].start for i in range(len(units))} | {0, len(messages)}
    for position in range(len(messages) + 1):
        assert units.border(position) in starts
        assert units.border(position) <= position
