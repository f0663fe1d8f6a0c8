from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest
from pydantic import BaseModel
from rich.console import Console

from tokenwise_core import scope
from tokenwise_core.analytics.live import Reporting
from tokenwise_core.errors import BadInput
from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.usage.accountant import Accountant
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.components import Breakdown, Component
from tokenwise_core.usage.events import Status, Usage
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.recorder import Recorder
from tokenwise_core.usage.store import MemoryStore

PRICES = {"models": {"house-model": {"input": 1.00, "output": 2.00}}}


class Handler(Reporting):
    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._runs = 0

    def call(
        self, *, model: str = "house-model", tokens: int = 100, operation: str = "chat", hit: bool = False
    ) -> None:
        self._runs += 1
        run = f"run-{self._runs}"
        self.meter.start(run, self._asked(model, operation))
        usage = Usage(input_tokens=tokens, input_uncached=tokens, output_tokens=10, output_text=10)
        answered = Answered(answer=Answer(text="Yes."), usage=usage)
        self.meter.end(run, lambda: answered, status=Status.CACHE_HIT if hit else Status.OK)

    def _asked(self, model: str, operation: str) -> Callable[[], CallDetails]:
        prompt = Prompt(messages=(Message(role="system", text="Be brief."), Message(role="user", text="Is it <b>?")))
        return lambda: CallDetails(prompt=prompt, model=model, operation=operation)


@pytest.fixture
def handler() -> Iterator[Handler]:
    with Recorder(MemoryStore(), interval_s=0) as recorder:
        yield Handler(Meter(recorder, Accountant(prices=PriceBook(overrides=PRICES)), framework="test"))


def test_groups_sum_to_the_whole_and_the_nameless_stand_under_none(handler: Handler) -> None:
    with scope(agent="billing"):
        handler.call(tokens=100)
        handler.call(tokens=300)
    handler.call(tokens=50)
    by_agent = handler.breakdown(by="agent")
    assert {agent: part.total_tokens for agent, part in by_agent.items()} == {"billing": 420, None: 60}
    assert sum(by_agent.values(), Breakdown()).tokens == handler.breakdown().tokens


@pytest.mark.parametrize("by", ["agent", "model", "session", "node", "user", "task", "day", "application"])
def test_every_promised_grouping_covers_all_tokens(handler: Handler, by: str) -> None:
    handler.call()
    handler.call()
    assert sum(part.total_tokens for part in handler.breakdown(by=by).values()) == 220


def test_an_unknown_grouping_names_the_known_ones(handler: Handler) -> None:
    with pytest.raises(BadInput, match=r"'colour'.*agent.*session"):
        handler.breakdown(by="colour")


def test_the_cost_is_that_of_the_calls_with_a_price(handler: Handler) -> None:
    handler.call(tokens=1_000_000)
    handler.call(model="nobody-sells-this")
    assert handler.cost() == Decimal("1.00002")
    assert "no price is known for 1 call, the cost leaves them out: nobody-sells-this (1)" in handler.report()


def test_without_any_price_the_cost_is_unknown_not_zero(handler: Handler) -> None:
    handler.call(model="nobody-sells-this")
    assert handler.cost() is None
    assert "cost                   –" in handler.report()


def test_embeddings_are_apart_from_the_breakdown_but_in_the_cost(handler: Handler) -> None:
    handler.call(tokens=100)
    handler.call(tokens=1_000_000, operation="embedding")
    assert handler.breakdown().input_tokens == 100
    assert handler.breakdown(by="model")["house-model"].input_tokens == 100
    assert handler.cost() is not None
    assert handler.cost() > 1  # type: ignore[operator]
    assert "embeddings, apart" in handler.report()


def test_a_cache_hit_is_booked_as_saved(handler: Handler) -> None:
    handler.call(tokens=500, hit=True)
    saved = handler.savings().by_lever()["llm_cache"].saved
    assert (saved.input_tokens, saved.output_tokens) == (500, 10)
    assert "not measured" in handler.report()
    assert handler.breakdown().total_tokens == 0


def test_the_report_names_components_models_and_money(handler: Handler) -> None:
    handler.call()
    report = handler.report()
    assert str(handler) == report
    for expected in ("system prompt", "user input", "house-model", "$0.000120"):
        assert expected in report


def test_a_rich_console_shows_the_tables(handler: Handler) -> None:
    handler.call()
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(handler)
    shown = console.export_text()
    assert "Where the tokens went" in shown
    assert "house-model" in shown


def test_a_notebook_shows_an_escaped_table(handler: Handler) -> None:
    with scope(agent="<script>alert(1)</script>"):
        handler.call()
    html = handler._repr_html_()
    assert "<table>" in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in html


def test_reset_forgets_what_was_seen(handler: Handler) -> None:
    handler.call()
    handler.reset()
    assert handler.breakdown().total_tokens == 0
    assert handler.events() == ()
    assert handler.cost() is None


def test_a_report_says_how_many_calls_it_no_longer_holds(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        handler.call()
    handler.events()
    handler.meter._events.popleft()
    assert "only the newest calls are in this report: the store has 1 call more" in handler.report()


async def test_flush_and_aflush_bring_calls_to_the_store(handler: Handler) -> None:
    store = handler.meter.recorder.store
    assert store is not None
    handler.call()
    handler.flush()
    assert len(list(store.events())) == 1
    handler.call()
    await handler.aflush()
    assert len(list(store.events())) == 2


def test_the_mixin_gives_pydantic_no_field() -> None:
    class Model(Reporting, BaseModel):
        name: str = "handler"

    assert set(Model.model_fields) == {"name"}


def test_a_breakdown_prints_itself(handler: Handler) -> None:
    handler.call(tokens=100)
    breakdown = handler.breakdown()
    lines = str(breakdown).splitlines()
    assert lines[0].split() == ["component", "tokens", "share", "cached"]
    assert lines[-1].startswith("1 call; totals reported")
    assert f"{breakdown[Component.SYSTEM_PROMPT]}" in str(breakdown)
    assert "<td>system prompt</td>" in breakdown._repr_html_()


def test_a_handler_says_in_one_line_how_much_it_has_seen(handler: Handler) -> None:
    handler.call()
    assert handler.flush(timeout_s=5)
    assert repr(handler).endswith(": 1 calls finished>")
