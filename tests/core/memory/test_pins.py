"""Pins: what a summary lost is carried on as values, within its bound, and nothing twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.memory_identifiers_regex import identifiers, kept, normalised
from tokenwise_core.memory.pins import SHARE, SOFT_PART, Pins, merge, pinned, render
from tokenwise_core.messages import Message
from tokenwise_core.tokens import TokenCounter

count = TokenCounter.for_model("gpt-4o").text
ROOM = 400


def said(*texts: str) -> list[Message]:
    return [Message(role="assistant" if i % 2 else "user", text=text) for i, text in enumerate(texts)]


def values(*texts: str, summary: str = "", carried: tuple[str, ...] = (), max_tokens: int = ROOM) -> tuple[str, ...]:
    return pinned(said(*texts), summary=summary, carried=carried, count=count, max_tokens=max_tokens).values


def test_what_the_summary_lost_is_pinned_as_values_in_the_order_said() -> None:
    assert values(
        "My order ORD-1234 cost £10.90 on 7 May.", "I see it; it ships to Lisbon in 20 minutes.", "It is /etc/hosts."
    ) == ("ORD-1234", "£10.90", "7 May", "Lisbon", "20 minutes", "/etc/hosts")


def test_what_the_summary_or_an_earlier_pin_says_is_not_said_again() -> None:
    text = "Order ORD-1234 of Ana Ruiz cost £10.90 on 7 May."
    assert values(text, summary="- ana ruiz ordered ord-1234", carried=("£10.90",)) == ("7 May",)


@pytest.mark.parametrize("summary", ["in 2022", "20.5 km", "at 20:15", "A20", "5-20", "1,020", "20-30 km"])
def test_a_number_inside_another_is_not_the_number(summary: str) -> None:
    assert values("gate 20", summary=summary) == ("20",)


@pytest.mark.parametrize("summary", ["20 minutes", "(20)", "gate 20.", "20, or", "may 20"])
def test_a_number_that_stands_by_itself_is_there(summary: str) -> None:
    assert values("gate 20", summary=summary) == ()


def test_a_number_with_its_unit_covers_the_bare_one_but_not_the_reverse() -> None:
    assert values("It took 20 minutes. The room is 20.") == ("20 minutes",)
    assert values("It took 20 minutes.", summary="The room is 20.") == ("20 minutes",)


def test_values_are_told_apart_in_whatever_case_they_were_written() -> None:
    assert values("ORD-77 or ord-77?") == ("ORD-77",)


def test_tool_results_and_system_prompts_are_not_read() -> None:
    messages = [Message(role="system", text="Limit $99"), Message(role="tool", text="id X-99", tool_call_id="c")]
    assert pinned(messages, count=count, max_tokens=ROOM) == Pins()


def test_decisions_constraints_and_errors_are_carried_as_short_clauses() -> None:
    found = values("Well, we decided to use Postgres. The weather is nice.", "Never call the old API, it is slow.")
    assert found == ("we decided to use Postgres", "Never call the old API")
    long = values(f"We decided to write {'more and ' * 30}more tests")
    assert len(long[0].split()) == 14
    assert long[0].endswith("…")


def test_a_clause_that_the_summary_says_in_other_words_is_not_repeated() -> None:
    assert values("We decided to use the blue theme.", summary="- decided: blue theme, to use everywhere") == ()


def test_a_clause_whose_words_are_strewn_over_other_facts_is_not_said() -> None:
    summary = "- decided on a date\n- blue is her colour\n- the theme was rain"
    assert values("We decided to use the blue theme.", summary=summary) == ("We decided to use the blue theme",)


def test_a_question_settles_nothing() -> None:
    assert values("must we confirm the deadline?") == ()


def test_when_the_bound_bites_identifiers_go_before_numbers_and_these_before_clauses_and_names() -> None:
    texts = ("Mel said 17 or 18 at ORD-1234 and x_99 for $20. We decided to stay with Carla.",)
    everything = pinned(said(*texts), count=count, max_tokens=ROOM)
    tight = pinned(said(*texts), count=count, max_tokens=14)
    assert {"ORD-1234", "x_99", "$20"} <= set(tight.values)
    assert not {"17", "Carla"} & set(tight.values)
    assert set(tight.values) | set(tight.left_out) >= set(everything.values)
    assert tight.left_out


def test_names_and_clauses_fill_only_their_part_and_rare_names_come_first() -> None:
    texts = [f"Hello {name}, and {name} with Mel." for name in ("Anna", "Boris", "Carla", "Dmitri", "Elena", "Farid")]
    pins = pinned(said(*texts, "And then Zoe called."), count=count, max_tokens=60)
    assert pins.tokens <= SOFT_PART * 60
    assert "Zoe" in pins.values
    assert "Mel" in pins.left_out


def test_the_default_bound_is_a_share_of_the_block() -> None:
    messages = said("; ".join(f"code-{i}x" for i in range(300)))
    pins = pinned(messages, count=count)
    assert 0.8 * SHARE < pins.tokens / count(messages[0].text) <= SHARE


def test_they_are_rendered_on_one_compact_line() -> None:
    assert render(Pins(values=("2022", "£10.90", "ORD-1234", "A7", "7 May", "Mel", "20"))) == (
        "Also said: 2022;£10.90 ORD-1234 A7;7 May; Mel;20"
    )
    assert render(Pins()) == ""


def test_merging_keeps_each_value_once_and_drops_what_the_merged_summary_says() -> None:
    first, second = Pins(values=("ORD-1", "7 May")), Pins(values=("7 May", "$20", "Mel"), left_out=("99",))
    merged = merge(first, second, summary="Mel was there", count=count)
    assert merged == Pins(
        values=("ORD-1", "7 May", "$20"), tokens=count("Also said: ORD-1;7 May;$20"), left_out=("99",)
    )
    assert merge(count=count) == Pins()


def test_a_merger_within_a_bound_says_what_it_leaves_out() -> None:
    both = merge(Pins(values=tuple(f"A-{i}" for i in range(40))), Pins(values=("B-1",)), count=count, max_tokens=30)
    assert both.tokens <= 30
    assert len(both.values) + len(both.left_out) == 41


@pytest.mark.parametrize("order", [1, -1])
def test_a_merger_within_a_bound_lets_names_and_clauses_go_first(order: int) -> None:
    parts = [Pins(values=("Mel", "we decided to stay")), Pins(values=("ORD-1234", "$20", "7 May"))][::order]
    assert set(merge(*parts, count=count, max_tokens=16).values) == {"ORD-1234", "$20", "7 May"}


WORDS = (
    "we decided so.|ORD-1234|x_1|$20|20|20 minutes|May 7, 2023|7 May|10:30 am|Mel|New York|must not|a|the|src/a.py|2022"
    "|3.5|1,000|Error: no.|ana@b.org|99%|\n|and|https://b.org/c?d=1|HAT084|12/31/2024|card 9725:|v1.2.3"
)
words = st.sampled_from(WORDS.split("|"))
texts = st.lists(st.lists(words, max_size=12).map(" and ".join), max_size=5)


@given(texts, st.lists(words, max_size=4).map(" ".join), st.integers(0, 80))
def test_pins_hold_their_bound_and_account_for_everything(block: list[str], summary: str, max_tokens: int) -> None:
    pins = pinned(said(*block), summary=summary, count=count, max_tokens=max_tokens)
    free = pinned(said(*block), summary=summary, count=count, max_tokens=10_000)
    assert pins.tokens == count(render(pins)) <= max_tokens or not pins.values
    assert sorted((*pins.values, *pins.left_out)) == sorted(free.values)
    assert pinned(said(*block), summary=summary, count=count, max_tokens=max_tokens) == pins


@given(texts)
def test_with_room_every_identifier_that_an_independent_reader_finds_stays(block: list[str]) -> None:
    context = normalised(render(pinned(said(*block), count=count, max_tokens=10_000)))
    assert [value for text in block for value in identifiers(text) if not kept(value, context)] == []


@given(texts)
def test_what_is_carried_is_never_pinned_again(block: list[str]) -> None:
    once = pinned(said(*block), count=count, max_tokens=10_000)
    assert pinned(said(*block), carried=once.values, count=count, max_tokens=10_000) == Pins()
