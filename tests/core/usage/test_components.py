from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.usage.components import INPUTS, OUTPUTS, Breakdown, Component, CountSource, worst_source

counts = st.dictionaries(st.sampled_from(list(Component)), st.integers(1, 10**7))
breakdowns = st.builds(
    lambda tokens, calls, source: Breakdown(tokens=tokens, calls=calls, source=source),
    counts,
    st.integers(0, 9),
    st.sampled_from(list(CountSource)),
)


@given(breakdowns)
def test_a_breakdown_sums_to_its_totals(breakdown: Breakdown) -> None:
    assert breakdown.total_tokens == breakdown.input_tokens + breakdown.output_tokens
    assert breakdown.total_tokens == sum(breakdown[c] for c in Component)


@given(st.lists(breakdowns, max_size=5))
def test_the_sum_of_breakdowns_has_the_sum_of_every_component(parts: list[Breakdown]) -> None:
    total = sum(parts, Breakdown())
    for component in Component:
        assert total[component] == sum(part[component] for part in parts)
    assert total.calls == sum(part.calls for part in parts)


@given(breakdowns, breakdowns)
def test_subtraction_undoes_addition(left: Breakdown, right: Breakdown) -> None:
    assert (left + right - right).tokens == {c: left[c] for c in Component if left[c]}


@given(breakdowns)
def test_percentages_sum_to_a_hundred(breakdown: Breakdown) -> None:
    shares = breakdown.percentages()
    assert not shares or abs(sum(shares.values()) - 100) < 1e-6


@given(breakdowns)
def test_a_breakdown_survives_json(breakdown: Breakdown) -> None:
    assert Breakdown.from_dict(json.loads(json.dumps(breakdown.to_dict()))) == breakdown


def test_the_worst_source_is_the_one_that_a_sum_admits_to() -> None:
    assert worst_source([CountSource.REPORTED, CountSource.ESTIMATED, CountSource.EXACT]) is CountSource.ESTIMATED
    assert worst_source([]) is CountSource.REPORTED


def test_every_component_is_either_input_or_output() -> None:
    assert set(INPUTS) | set(OUTPUTS) == set(Component)
    assert not set(INPUTS) & set(OUTPUTS)
