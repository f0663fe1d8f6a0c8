from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.memory.plan import Keep, Part, Put, Swap, joined
from tokenwise_core.memory.prefix import before, compare, marks
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.prompt_cache import PrefixReport

SUMMARY = Put("they spoke of Lisbon", Component.SUMMARY, 7)
RECALLED = Put("User: in May", Component.MEMORY, 5)
FIXED = 100


def ten(start: int, stop: int) -> int:
    return 10 * (stop - start)


def compared(last: list[Part], now: list[Part]) -> PrefixReport:
    total = FIXED + sum(ten(p.start, p.stop) if isinstance(p, Keep) else p.tokens for p in now)
    return compare(marks(last), now, ten, total=total, fixed=FIXED)


def test_a_plan_that_grew_is_stable_up_to_its_last_end() -> None:
    report = compared([Keep(0, 3)], [Keep(0, 5)])
    assert (report.stable_tokens, report.broken_by) == (FIXED + 30, None)


def test_the_same_plan_is_stable_as_a_whole() -> None:
    parts: list[Part] = [Keep(0, 1), SUMMARY, Swap(4, "short", 3), Keep(5, 9)]
    report = compared(parts, parts)
    assert report.stable_tokens == report.total_tokens
    assert report.broken_by is None


def test_without_a_last_plan_nothing_is_stable() -> None:
    assert compared([], [Keep(0, 5)]).stable_tokens == 0


def test_a_summary_in_the_place_of_messages_breaks_it_where_it_stands() -> None:
    report = compared([Keep(0, 8)], [Keep(0, 1), SUMMARY, Keep(6, 8)])
    assert (report.stable_tokens, report.broken_by, report.broken_at) == (FIXED + 10, "summary", 1)


def test_a_slot_that_is_gone_breaks_it_where_it_stood() -> None:
    report = compared([Keep(0, 4), RECALLED, Keep(4, 6)], [Keep(0, 8)])
    assert (report.stable_tokens, report.broken_by) == (FIXED + 40, "history")


def test_a_slot_of_another_text_breaks_it() -> None:
    other = Put("User: in June", Component.MEMORY, 5)
    assert compared([Keep(0, 4), RECALLED], [Keep(0, 4), other]).broken_by == "memory"


def test_a_plan_that_was_cut_at_its_end_is_broken_by_nothing() -> None:
    report = compared([Keep(0, 8)], [Keep(0, 5)])
    assert (report.stable_tokens, report.broken_by) == (FIXED + 50, None)


def test_a_plan_that_begins_with_other_messages_shares_only_what_is_fixed() -> None:
    assert compared([Keep(0, 8)], [Keep(2, 8)]).stable_tokens == FIXED


def test_of_a_history_that_changed_the_part_before_the_change_is_remembered() -> None:
    last = marks([Keep(0, 1), SUMMARY, Keep(6, 9), RECALLED, Keep(9, 12)])
    assert before(last, 7) == marks([Keep(0, 1), SUMMARY, Keep(6, 7)])
    assert before(last, 0) == ()
    assert before(last, 12) == last


PARTS = st.lists(st.one_of(st.just(SUMMARY), st.just(RECALLED), st.integers(1, 4)), max_size=6)


def placed(pieces: list[Put | int]) -> list[Part]:
    """Lay ranges of these lengths one behind the other, with a message left out between two."""
    at, parts = 0, []
    for piece in pieces:
        if isinstance(piece, int):
            parts.append(Keep(at, at + piece))
            at += piece + 1
        else:
            parts.append(piece)
    return list(joined(parts))


def flat(parts: list[Part]) -> list[object]:
    return [
        item
        for part in parts
        for item in (range(part.start, part.stop) if isinstance(part, Keep) else [part.text])
    ]  # fmt: skip


@given(PARTS, PARTS)
def test_what_is_stable_is_the_common_beginning_message_by_message(a: list[Put | int], b: list[Put | int]) -> None:
    last, now = placed(a), placed(b)
    common = 0
    for one, other in zip(flat(last), flat(now), strict=False):
        if one != other:
            break
        common += 10 if isinstance(one, int) else {SUMMARY.text: 7, RECALLED.text: 5}[str(one)]
    assert compared(last, now).stable_tokens == (FIXED + common if last else 0)
