from __future__ import annotations

from tests.core.memory.replaying import words
from tokenwise_core.memory.conversation import Conversation, message_counter
from tokenwise_core.memory.cutting import cut_after, going, going_of, least_first, leaving, left_out, whole
from tokenwise_core.memory.fitting import fit
from tokenwise_core.memory.situation import Limits, Situation
from tokenwise_core.memory.view import Block, View
from tokenwise_core.messages import Message, ToolCall

SYSTEM = Message(role="system", text="be kind")
TEXT = "word " * 40


def user(text: str = TEXT) -> Message:
    return Message(role="user", text=text)


def said(text: str = TEXT) -> Message:
    return Message(role="assistant", text=text)


def call(*ids: str) -> Message:
    return Message(role="assistant", tool_calls=tuple(ToolCall(name="look", id=name) for name in ids))


def result(id: str, text: str = TEXT) -> Message:
    return Message(role="tool", tool_call_id=id, text=text)


def situation(*messages: Message, view: View | None = None, hard: int | None = None, **options: object) -> Situation:
    conversation = Conversation("c", message_counter(words))
    conversation.sync(0, messages)
    return Situation(
        conversation=conversation,
        view=view or View(),
        limits=Limits(target=100, max_tokens=hard),
        count=words,
        **options,  # type: ignore[arg-type]
    )


def ranges(units: list[object]) -> list[tuple[int, int]]:
    return [(unit.start, unit.stop) for unit in units]  # type: ignore[attr-defined]


def test_a_cut_falls_before_a_question_where_one_is_near() -> None:
    now = situation(SYSTEM, user(), said(), user(), said(), user(), said(), user())
    assert cut_after(now, tail=170, start=1) == 5
    assert cut_after(now, tail=120, start=1) == 7  # two would fit, but the first of them is an answer


def test_a_cut_never_falls_between_a_call_and_its_results() -> None:
    now = situation(SYSTEM, user(), said(), user(), call("a", "b"), result("a"), result("b"), said())
    for tail in range(0, 500, 7):
        assert cut_after(now, tail=tail, start=1) not in (5, 6)


def test_a_call_that_waits_for_its_result_stays_with_all_behind_it() -> None:
    now = situation(SYSTEM, user(), said(), user(), call("a", "b"), result("a"))
    assert cut_after(now, tail=0, start=1) <= 4


def test_a_call_that_the_user_left_behind_is_taken_for_abandoned() -> None:
    now = situation(SYSTEM, user(), call("a"), user("never mind"), said(), user(), said(), user())
    assert cut_after(now, tail=0, start=1) > 3
    assert (2, 3) in ranges(leaving(now, keep=0))  # type: ignore[arg-type]


def test_system_pinned_and_last_user_messages_never_go() -> None:
    now = situation(
        SYSTEM, user("pin me"), said(), SYSTEM, said(), user(), said(), is_pinned=lambda m: m.text == "pin me"
    )
    assert going(now, 0, 7) == ((2, 3), (4, 5), (6, 7))


def test_a_unit_that_reaches_over_the_end_of_a_block_stays_whole() -> None:
    now = situation(SYSTEM, user(), call("a"), result("a"), said(), user())
    assert going(now, 1, 3) == ((1, 2),)


def test_what_was_the_last_question_when_a_summary_was_begun_is_not_taken_out_with_it() -> None:
    now = situation(SYSTEM, user("the task"), said(), said(), said(), user("next"), said(), user("and now?"))
    block = Block(start=1, stop=5, digest="", spared=1)
    assert going(now, 1, 5) == ((1, 5),)
    assert going_of(now, block) == ((2, 5),)


def test_the_newest_messages_that_are_to_stay_are_none_of_those_that_leave() -> None:
    now = situation(SYSTEM, user(), said(), user(), said(), user())
    assert ranges(leaving(now, keep=2)) == [(1, 2), (2, 3), (3, 4)]  # type: ignore[arg-type]
    assert ranges(leaving(now, keep=0)) == [(1, 2), (2, 3), (3, 4), (4, 5)]  # type: ignore[arg-type]


def test_what_has_left_does_not_leave_again() -> None:
    now = situation(SYSTEM, user(), said(), user(), said(), user(), view=View(evicted=((1, 3),)))
    assert ranges(leaving(now, keep=0)) == [(3, 4), (4, 5)]  # type: ignore[arg-type]


def test_as_many_go_as_must() -> None:
    now = situation(SYSTEM, user(), said(), user(), said(), user())
    total = now.conversation.total
    assert len(least_first(now, leaving(now, keep=0), total)) == 0
    assert len(least_first(now, leaving(now, keep=0), total - 1)) == 1


def test_a_note_counts_all_that_is_missing_and_stands_behind_the_first() -> None:
    now = situation(SYSTEM, user(), said(), user(), said(), user(), said(), user())
    units = leaving(now, keep=0)
    view = left_out(now, [units[0], units[3]])
    assert view.evicted == ((1, 2), (4, 5))
    assert [(one.shown, one.stands, one.stop) for one in view.summaries] == [
        ("[2 earlier messages are not shown]", 2, 5)
    ]


def test_a_late_result_brings_back_all_of_its_unit() -> None:
    before = (SYSTEM, user(), call("a"), user("never mind"), said(), user())
    now = situation(*before)
    view = left_out(now, leaving(now, keep=0))
    assert view.evicted == ((1, 5),)
    later = situation(*before, result("a"))
    held = whole(view, later.conversation)
    assert held.evicted == ((1, 2),)
    assert [one.stands for one in held.summaries] == [2]


def test_where_nothing_may_go_results_are_shortened_and_the_notes_say_so() -> None:
    now = situation(SYSTEM, user("look"), call("a"), result("a", "line\n" * 4_000), hard=300)
    view, notes = fit(now, [])
    assert now.total(now.plan(view)) <= 300
    assert "1 tool results of this turn were shortened to fit the context" in notes


def test_what_cannot_be_shortened_exceeds_the_limit_by_what_the_note_says() -> None:
    now = situation(SYSTEM, user("word " * 4_000), hard=300)
    view, notes = fit(now, [])
    over = now.total(now.plan(view)) - 300
    assert over > 0
    assert f"by {over}:" in notes[-1]
