from __future__ import annotations

import json

import pytest

from tests.core.memory.replaying import words
from tokenwise_core.memory.conversation import Conversation, message_counter
from tokenwise_core.memory.cutting import whole
from tokenwise_core.memory.economics import Account
from tokenwise_core.memory.plan import Keep, Plan, Put, Swap
from tokenwise_core.memory.prefix import marks
from tokenwise_core.memory.view import Block, Slot, Summary, View, evicting, planned, without
from tokenwise_core.messages import Message


def talk(*texts: str) -> Conversation:
    """A system message, then user and assistant in turn."""
    conversation = Conversation("c", message_counter(words))
    roles = ("user", "assistant")
    said = [Message(role=roles[n % 2], text=text) for n, text in enumerate(texts)]  # type: ignore[arg-type]
    conversation.sync(0, [Message(role="system", text="be kind"), *said])
    return conversation


def summary(conversation: Conversation, start: int, stop: int, text: str = "- facts") -> Summary:
    return Summary(start=start, stop=stop, text=text, tokens=9, digest=conversation.digest(stop))


def plan(view: View, conversation: Conversation) -> Plan:
    return planned(view, conversation, swap=lambda at, kind: Swap(at, kind, 2))


CHAT = talk(*(f"turn {n}" for n in range(10)))
ONE = View(summaries=(summary(CHAT, 1, 5),), evicted=((1, 5),)).seen(CHAT)


def test_an_empty_view_shows_everything() -> None:
    assert plan(View(), CHAT).parts == (Keep(0, 11),)
    assert plan(View(), CHAT).tokens == CHAT.total


def test_a_summary_stands_behind_what_it_follows() -> None:
    kinds = [part if isinstance(part, Keep) else "summary" for part in plan(ONE, CHAT).parts]
    assert kinds == [Keep(0, 1), "summary", Keep(5, 11)]


def test_the_slot_stands_before_the_question() -> None:
    asked = CHAT.last_user
    assert asked is not None
    slot = Slot(turn=asked, digest=CHAT.digest(asked + 1), text="User: in May", tokens=5)
    view = View(slot=slot)
    assert [part for part in plan(view, CHAT).parts if isinstance(part, Keep)] == [Keep(0, asked), Keep(asked, 11)]


def test_the_slot_of_another_turn_is_not_shown() -> None:
    view = View(slot=Slot(turn=3, digest="", text="User: in May", tokens=5))
    assert plan(view, CHAT).parts == (Keep(0, 11),)


def test_swapped_results_stand_where_they_were() -> None:
    parts = plan(View(swapped={4: "clear", 7: "trim"}), CHAT).parts
    assert parts == (Keep(0, 4), Swap(4, "clear", 2), Keep(5, 7), Swap(7, "trim", 2), Keep(8, 11))


def test_a_note_says_how_many_messages_are_missing() -> None:
    assert Summary(start=1, stop=9, text="", tokens=0, digest="").shown == "[8 earlier messages are not shown]"
    assert Summary(start=1, stop=9, text="", tokens=0, digest="", hidden=1).shown == "[An earlier message is not shown]"


def test_a_view_reads_back_as_it_was_written() -> None:
    view = View(
        summaries=(Summary(start=1, stop=5, text="- facts", tokens=9, digest="d", pins=("7 May",), hidden=3, place=2),),
        evicted=((1, 5), (7, 8)),
        swapped={9: "clear"},
        pending=Block(start=5, stop=9, digest="e", merges=1, spared=6),
        failures=2,
        slot=Slot(turn=10, digest="f", text="User: hi", tokens=3, positions=(1, 2)),
        account=Account(ours=1.5, everything=2.5, requests=3, full=99, at=7.0),
        last=marks([Keep(0, 1), Put("- facts", "summary", 9)]),  # type: ignore[arg-type]
        length=11,
        digest="g",
    )
    assert View.from_dict(json.loads(json.dumps(view.to_dict()))) == view


@pytest.mark.parametrize("data", [None, {}, {"v": 99}, {"v": 1}, {"v": 1, "summaries": 3}, {"v": 1, "slot": []}])
def test_a_view_of_another_release_or_none_is_an_empty_one(data: dict[str, object] | None) -> None:
    assert View.from_dict(data) == View()


def test_a_history_that_only_grew_holds_the_view() -> None:
    longer = talk(*(f"turn {n}" for n in range(14)))
    assert ONE.holding(longer) is ONE


def test_of_a_rewritten_history_the_summaries_before_the_change_hold() -> None:
    forked = talk(*(f"turn {n}" for n in range(8)), "another", "way")
    held = ONE.holding(forked)
    assert held.summaries == ONE.summaries
    assert held.evicted == ONE.evicted


def test_a_summary_of_what_was_rewritten_is_gone_with_what_it_replaced() -> None:
    forked = talk("turn 0", "another", *(f"turn {n}" for n in range(2, 10)))
    assert ONE.holding(forked).evicted == ()
    assert plan(ONE.holding(forked), forked).parts == (Keep(0, 11),)


def test_of_a_rewritten_history_what_both_begin_with_counts_as_sent() -> None:
    sent = View(summaries=ONE.summaries, evicted=ONE.evicted, last=marks(plan(ONE, CHAT).parts)).seen(CHAT)
    forked = talk(*(f"turn {n}" for n in range(8)), "another", "way")
    held = sent.holding(forked)
    assert held.length == 5
    assert held.last == marks(plan(ONE, CHAT).parts[:2])


def test_a_question_that_is_the_last_one_again_is_shown_again() -> None:
    shorter = talk(*(f"turn {n}" for n in range(4)))  # cut back to where the summary ends
    view = whole(ONE.holding(shorter), shorter)
    assert shorter.last_user in plan(view, shorter).positions


def test_ranges_are_joined_where_they_touch_and_taken_from_one_another() -> None:
    assert evicting([(4, 6)], (1, 3), (3, 4), (9, 9)) == ((1, 6),)
    assert without([(0, 10)], [(2, 3), (5, 7), (9, 12)]) == ((0, 2), (3, 5), (7, 9))
    assert without([(2, 4), (6, 8)], [(0, 1), (4, 6)]) == ((2, 4), (6, 8))
    assert without([(2, 4)], [(0, 9)]) == ()


def test_what_is_not_shown_leaves_nothing_in_the_view_for_its_place() -> None:
    conversation = Conversation("s", message_counter(len))
    conversation.sync(0, [Message(role="tool", text=str(n), tool_call_id=str(n)) for n in range(6)])
    view = View(evicted=((0, 2), (3, 4)), swapped=dict.fromkeys(range(6), "clear")).seen(conversation)
    assert sorted(view.swapped) == [2, 4, 5]
