from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.tokens import AnswerCount
from tokenwise_core.usage.components import INPUTS, Component, CountSource
from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.reconcile import Part, cached_split, reconcile, shares

parts = st.lists(
    st.builds(lambda c, n: Part(component=c, tokens=n), st.sampled_from(INPUTS), st.integers(1, 5000)), max_size=12
)
answers = st.builds(AnswerCount, response=st.integers(0, 500), tool_calls=st.integers(0, 500), reasoning=st.just(0))


@given(parts, st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**5), answers,
       st.sampled_from(list(CountSource)), st.sampled_from([None, Component.MEDIA]))  # fmt: skip
def test_a_breakdown_always_sums_to_what_was_reported(
    counted: list[Part], reported: int, output: int, reasoning: int, answer: AnswerCount, source: CountSource,
    unknown: Component | None,
) -> None:  # fmt: skip
    usage = Usage(input_tokens=reported, output_tokens=output, reasoning=reasoning)
    breakdown = reconcile(counted, usage, answer, source, unknown=unknown)
    assert breakdown.input_tokens == reported
    assert breakdown.output_tokens == output
    assert all(n >= 0 for n in breakdown.tokens.values())


@given(parts, st.integers(0, 10**6), st.integers(0, 10**6), answers)
def test_cached_tokens_fill_no_component_beyond_its_size(
    counted: list[Part], reported: int, cached: int, answer: AnswerCount
) -> None:
    cached = min(cached, reported)
    usage = Usage(input_tokens=reported, output_tokens=0, cache_read=cached)
    breakdown = reconcile(counted, usage, answer, CountSource.EXACT)
    assert breakdown.cached_tokens == cached
    assert all(breakdown.cached.get(c, 0) <= breakdown[c] for c in INPUTS)


def test_the_cache_holds_a_prefix_so_it_fills_in_wire_order() -> None:
    wire = [
        Part(component=Component.SYSTEM_PROMPT, tokens=100),
        Part(component=Component.HISTORY, tokens=50),
        Part(component=Component.USER_INPUT, tokens=10),
    ]
    assert cached_split(wire, 120) == {Component.SYSTEM_PROMPT: 100, Component.HISTORY: 20}


def test_a_difference_of_two_percent_is_overhead_and_a_larger_one_scales_all_parts() -> None:
    counted = [Part(component=Component.SYSTEM_PROMPT, tokens=900), Part(component=Component.USER_INPUT, tokens=100)]
    near = reconcile(counted, Usage(input_tokens=1010, output_tokens=0), AnswerCount(), CountSource.EXACT)
    assert (near[Component.SYSTEM_PROMPT], near[Component.OVERHEAD]) == (900, 10)
    far = reconcile(counted, Usage(input_tokens=2000, output_tokens=0), AnswerCount(), CountSource.EXACT)
    assert (far[Component.SYSTEM_PROMPT], far[Component.OVERHEAD]) == (1800, 0)


def test_tools_that_a_server_does_not_show_to_the_model_take_nothing_from_the_rest() -> None:
    counted = [
        Part(component=Component.TOOL_DEFINITIONS, tokens=80),
        Part(component=Component.USER_INPUT, tokens=20),
        Part(component=Component.OVERHEAD, tokens=7),
    ]
    breakdown = reconcile(counted, Usage(input_tokens=27, output_tokens=0), AnswerCount(), CountSource.EXACT)
    assert breakdown.tokens == {Component.USER_INPUT: 20, Component.OVERHEAD: 7}


def test_what_only_the_provider_can_count_takes_the_rest() -> None:
    counted = [Part(component=Component.USER_INPUT, tokens=10)]
    usage = Usage(input_tokens=1115, output_tokens=0)
    breakdown = reconcile(counted, usage, AnswerCount(), CountSource.EXACT, unknown=Component.MEDIA)
    assert (breakdown[Component.USER_INPUT], breakdown[Component.MEDIA]) == (10, 1105)


def test_unreported_totals_are_our_own_count() -> None:
    counted = [Part(component=Component.USER_INPUT, tokens=10)]
    usage = Usage(source=CountSource.ESTIMATED)
    breakdown = reconcile(counted, usage, AnswerCount(response=4), CountSource.ESTIMATED)
    assert (breakdown.input_tokens, breakdown.output_tokens) == (10, 4)
    assert breakdown.source is CountSource.ESTIMATED


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**4), min_size=1, max_size=20))
def test_shares_sum_to_the_whole_and_stay_within_one_of_their_proportion(total: int, weights: list[int]) -> None:
    split = shares(total, weights)
    assert sum(split) == total
    if sum(weights):
        assert all(abs(n - total * w / sum(weights)) < 1 + 1e-6 for n, w in zip(split, weights, strict=True))
