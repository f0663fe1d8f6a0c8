"""The tables of the long conversations: what is compared, and at which price."""

from __future__ import annotations

from tokenwise_core.cli.demo_memory import Run, memory_table, read_run, savings_table
from tokenwise_core.demo.runner import DemoAnswer
from tokenwise_core.demo.workload import load_workload
from tokenwise_core.scoping import Scope
from tokenwise_core.testing import REPLAY_PRICES
from tokenwise_core.usage.events import Cost, Usage, UsageEvent
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.savings import Saving, Spend
from tokenwise_core.usage.store import MemoryStore, Query

PRICE = PriceBook(overrides=REPLAY_PRICES).price("replay-strong")
SESSION = "c26 langchain chain"
TURN = next(turn for turn in load_workload().long[1].turns if turn.kind == "recall")


def call(id: str, tokens: int, cached: int, *, variant: str = "kept", **more: object) -> UsageEvent:
    """Return a call of the strong model, priced with its prompt cache: $1.25 and $0.125 a million."""
    scope = Scope(session=SESSION, variant=variant, agent=more.pop("agent", None))  # type: ignore[arg-type]
    return UsageEvent(
        id=id,
        ts=1.0,
        scope=scope,
        usage=Usage(input_tokens=tokens, input_uncached=tokens - cached, cache_read=cached),
        cost=Cost(nano=(tokens - cached) * 1250 + cached * 125),
        **more,  # type: ignore[arg-type]
    )


def answer(text: str) -> DemoAnswer:
    return DemoAnswer(conversation="c26", turn=TURN.id, text=text, framework="langchain", path="chain")


def runs() -> tuple[Run, Run]:
    """Return a run of 10,000 tokens, 8,000 of them cached, and one of 4,000 and a summary of 1,000, none cached."""
    store = MemoryStore()
    saving = Saving(
        lever="memory",
        counterfactual=Spend(input_tokens=10_000, nano=9_000),
        actual=Spend(input_tokens=4_000, nano=5_000),
        overhead=Spend(nano=1_000),
    )
    store.add([
        call("a", 10_000, 8_000, variant="plain"),
        call("b", 4_000, 0, savings=(saving,)),
        call("c", 1_000, 0, agent="tokenwise:summary"),
        call("d", 77, 0, operation="embedding"),
        call("e", 9_999, 0, variant="another"),
    ])  # fmt: skip
    return (
        read_run(store, Query(), "plain", [answer(TURN.right)]),
        read_run(store, Query(), "kept", [answer(TURN.dont_know)]),
    )


def test_summaries_are_part_of_the_cost_and_embeddings_are_not() -> None:
    (row,) = memory_table(*runs()).rows
    assert row[1:4] == ("10,000", "5,000", "-50.0 %")
    assert row[4:7] == ("$0.00350", "$0.00625", "+78.6 %")  # a cut that the prompt cache punishes is shown as such


def test_where_nothing_is_cached_each_token_has_its_full_price() -> None:
    (row,) = memory_table(*runs(), uncached=PRICE).rows
    assert row[4:7] == ("$0.0125", "$0.00625", "-50.0 %")


def test_a_lost_fact_is_a_wrong_answer() -> None:
    table = memory_table(*runs())
    assert table.rows[0][7:] == ("1 of 1", "0 of 1")
    assert table.sums[0][7:] == ("1 of 1", "0 of 1")


def test_what_memory_saved_is_told_less_its_summaries() -> None:
    plain, kept = runs()
    (row,) = savings_table(plain, kept).rows
    assert row == (SESSION, "1", "1", "$0.00000300", "$0.00000100", "80.0 %", "0.0 %")
    (row,) = savings_table(kept, plain).rows
    assert row[1:3] == ("left alone", "0")
