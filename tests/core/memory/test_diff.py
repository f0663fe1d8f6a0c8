"""State diffs: what changed, nothing else, and enough of it to get the new state."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from tokenwise_core.memory.diff import Changed, apply, diff, render

BEFORE = {"goal": "refund", "order": {"id": "A-1", "total": 12.5}, "steps": ["asked", "checked"], "draft": "hm"}
AFTER = {"goal": "refund", "order": {"id": "A-1", "total": 10.0}, "steps": ["asked", "checked", "paid"], "by": "Ana"}


def test_it_names_what_was_added_modified_and_removed() -> None:
    changes = diff(BEFORE, AFTER)
    assert changes.added == {("steps", 2): "paid", ("by",): "Ana"}
    assert changes.modified == {("order", "total"): Changed(12.5, 10.0)}
    assert changes.removed == {("draft",): "hm"}


def test_unchanged_counts_equal_values_only() -> None:
    assert diff(BEFORE, AFTER).unchanged_count == 4, "goal, order.id, two steps; not the modified total"
    assert diff({"a": 1, "b": 2}, {"a": 1, "b": 3}).unchanged_count == 1


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0, False), ("1", 1), (None, ""), ({}, [])])
def test_values_of_another_type_are_other_values(old: Any, new: Any) -> None:
    assert diff({"v": old}, {"v": new}).modified == {("v",): Changed(old, new)}
    assert diff([[old]], [[new]]).modified


def test_a_list_that_changed_altogether_is_replaced_whole() -> None:
    assert diff({"todo": [1, 2, 3]}, {"todo": [7, 8, 9]}).modified == {("todo",): Changed([1, 2, 3], [7, 8, 9])}


def test_a_changed_record_in_a_list_shows_its_field_only() -> None:
    assert diff([{"id": 1, "ok": False}], [{"id": 1, "ok": True}]).modified == {(0, "ok"): Changed(False, True)}


def test_it_reads_as_one_line_a_change() -> None:
    assert render(diff(BEFORE, AFTER)) == snapshot("""\
~ order.total: 12.5 → 10.0
+ by = "Ana"
+ steps.2 = "paid"
- draft
4 unchanged""")


def test_odd_keys_are_quoted_and_long_values_say_that_they_are_cut() -> None:
    text = render(diff({}, {"a.b": "x" * 100}), max_characters=20)
    assert text == '+ "a.b" = "xxxxxxxxx[… 82 characters]xxxxxxxxx"\n0 unchanged'
    assert render(diff({"k": 0}, {"k": 0, "a.b": 1})) == '+ "a.b" = 1\n1 unchanged'


def test_equal_states_make_an_empty_diff() -> None:
    assert not diff(BEFORE, deepcopy(BEFORE))
    assert diff(BEFORE, AFTER)


states = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)),
    max_leaves=20,
)


def same(a: Any, b: Any) -> bool:
    """Compare as JSON does: Python holds 1, 1.0 and True for one."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@given(states, states)
def test_applied_to_the_old_state_a_diff_gives_the_new_one(before: Any, after: Any) -> None:
    kept = deepcopy(before)
    assert same(apply(before, diff(before, after)), after)
    assert same(before, kept), "the old state is left as it is"


@given(states)
def test_a_state_has_no_difference_from_itself(state: Any) -> None:
    changes = diff(state, deepcopy(state))
    assert not changes
    assert changes.unchanged_count >= 1
