from __future__ import annotations

from tokenwise_core.memory.plan import Keep, Plan, Put, Swap, joined
from tokenwise_core.usage.components import Component

NOTE = Put("[2 earlier messages are not shown]", Component.SUMMARY, 9)


def test_neighbouring_ranges_become_one_and_empty_ones_go() -> None:
    assert joined([Keep(0, 2), Keep(2, 2), Keep(2, 5), NOTE, Keep(5, 6)]) == (Keep(0, 5), NOTE, Keep(5, 6))


def test_a_plan_names_the_positions_that_are_shown_in_order() -> None:
    plan = Plan(parts=(Keep(0, 2), NOTE, Swap(4, "…", 3), Keep(6, 8)))
    assert plan.positions == (0, 1, 4, 6, 7)


def test_a_plan_that_keeps_all_changes_nothing() -> None:
    assert Plan(parts=(Keep(0, 9),)).changes_nothing
    assert Plan().changes_nothing
    assert not Plan(parts=(Keep(1, 9),)).changes_nothing
    assert not Plan(parts=(Keep(0, 9), NOTE)).changes_nothing


def test_walking_over_a_plan_gives_each_message_and_what_stands_between_or_instead() -> None:
    plan = Plan(parts=(Keep(0, 2), NOTE, Swap(3, "short", 3), Keep(4, 5)))
    walked = [(type(part).__name__, message) for part, message in plan.shown("abcde")]
    assert walked == [("Keep", "a"), ("Keep", "b"), ("Put", None), ("Swap", "d"), ("Keep", "e")]
