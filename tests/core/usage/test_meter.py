from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tokenwise_core import scope, switch
from tokenwise_core.messages import Answer, Message, Prompt
from tokenwise_core.scoping import Scope
from tokenwise_core.tokens import TokenCounter
from tokenwise_core.usage.accountant import Accountant
from tokenwise_core.usage.call import Answered, CallDetails
from tokenwise_core.usage.components import Component, CountSource
from tokenwise_core.usage.events import Status, Usage
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.recorder import Recorder
from tokenwise_core.usage.runtime import CALIBRATION_KEY, make_runtime
from tokenwise_core.usage.store import MemoryStore

SECRET = "the customer's secret is marmalade"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def meter(store: MemoryStore) -> Iterator[Meter]:
    with Recorder(store, interval_s=0) as recorder:
        yield Meter(recorder, Accountant(prices=PriceBook()), framework="test")


def asked(text: str = SECRET, **fields: object) -> Callable[[], CallDetails]:
    prompt = Prompt(messages=(Message(role="system", text="Be brief."), Message(role="user", text=text)))
    return lambda: CallDetails(prompt=prompt, model="gpt-4o", provider="openai", **fields)  # type: ignore[arg-type]


def answered(tokens: int = 20, output: int = 5, **fields: object) -> Callable[[], Answered]:
    usage = Usage(input_tokens=tokens, input_uncached=tokens, output_tokens=output, output_text=output)
    return lambda: Answered(answer=Answer(text="Yes."), usage=usage, **fields)  # type: ignore[arg-type]


def test_a_finished_call_becomes_one_event_that_sums_to_the_report(meter: Meter, store: MemoryStore) -> None:
    with scope(session="s-1", agent="billing"):
        meter.start("run", asked())
    meter.end("run", answered())
    [event] = meter.events()
    assert (event.breakdown.input_tokens, event.breakdown.output_tokens) == (20, 5)
    assert (event.scope.session, event.scope.agent, event.framework) == ("s-1", "billing", "test")
    assert event.cost is not None
    assert [stored.id for stored in store.events()] == ["run"]


def test_a_call_inside_a_call_is_counted_once_at_the_leaf(meter: Meter) -> None:
    meter.start("outer", asked())
    meter.start("chain", asked(), parent="outer")
    meter.traces.enter("step", "chain")
    meter.start("leaf", asked(), parent="step")
    for run in ("leaf", "chain", "outer"):
        meter.end(run, answered())
    assert [event.id for event in meter.events()] == ["leaf"]


def test_an_end_without_a_start_and_a_second_end_are_ignored(meter: Meter) -> None:
    meter.end("never", answered())
    meter.start("run", asked())
    meter.end("run", answered())
    meter.end("run", answered())
    assert len(meter.events()) == 1


def test_the_stable_prefix_is_in_tokens_of_the_provider_and_never_longer_than_the_prompt(meter: Meter) -> None:
    long = Message(role="system", text="Answer from the handbook. " * 40)
    for run, question in (("first", "And now?"), ("second", "And then?")):
        prompt = Prompt(messages=(long, Message(role="user", text=question)))
        meter.start(run, lambda prompt=prompt: CallDetails(prompt=prompt, model="of-our-own", scope=Scope(session="s")))
        meter.end(run, answered(tokens=60))
    first, second = meter.events()
    assert first.stable_prefix_tokens == 0
    assert second.estimate_before is not None
    assert second.estimate_before > 60  # our count is far too high, the reported one is the measure
    assert second.stable_prefix_tokens is not None
    assert 40 < second.stable_prefix_tokens < 60
    assert second.prefix_break == "user_input"


def test_a_model_that_we_do_not_know_is_counted_with_the_counter_given_for_it(store: MemoryStore) -> None:
    ours = TokenCounter(lambda text: 100 * len(text.split()), model="of-our-own")
    runtime = make_runtime(store, counters={"of-our-own": ours})
    with runtime.recorder:
        meter = Meter(runtime.recorder, runtime.accountant, framework="test")
        prompt = Prompt(messages=(Message(role="user", text="three whole words"),))
        for model in ("of-our-own", "gpt-4o"):
            meter.start(model, lambda model=model: CallDetails(prompt=prompt, model=model))
            meter.end(model, lambda: Answered(answer=Answer(text="Yes.")))
        mine, other = meter.events()
    assert mine.breakdown[Component.USER_INPUT] == 300
    assert other.breakdown[Component.USER_INPUT] == 3


def test_usage_that_was_not_reported_is_counted_and_says_so(meter: Meter) -> None:
    meter.start("run", asked("Hello"))
    meter.end("run", lambda: Answered(answer=Answer(text="Good morning to you.")))
    [event] = meter.events()
    assert event.usage.source is CountSource.EXACT
    assert event.breakdown.input_tokens == event.estimate_before
    assert event.breakdown[Component.RESPONSE] > 0


@pytest.mark.parametrize(
    ("model", "status"), [("gpt-4o", Status.ABORTED), ("gpt-4o", Status.ERROR), ("o3-mini", Status.OK)]
)
def test_output_that_may_have_gone_on_unseen_is_estimated(meter: Meter, model: str, status: Status) -> None:
    """Broken off, or with reasoning that the provider hides."""
    prompt = Prompt(messages=(Message(role="user", text="Hello"),))
    meter.start("run", lambda: CallDetails(prompt=prompt, model=model, provider="openai"))
    meter.end("run", lambda: Answered(answer=Answer(text="Good morning")), status=status)
    [event] = meter.events()
    assert event.usage.source is CountSource.ESTIMATED
    assert event.breakdown.source is CountSource.ESTIMATED
    assert event.breakdown[Component.RESPONSE] == 2


def test_an_aborted_call_whose_output_was_reported_is_as_certain_as_our_count_of_its_input(meter: Meter) -> None:
    meter.start("run", asked("Hello"))
    partly = Usage(output_tokens=3, output_text=3)
    meter.end("run", lambda: Answered(answer=Answer(text="Good morning"), usage=partly), status=Status.ABORTED)
    [event] = meter.events()
    assert event.usage.source is CountSource.EXACT
    assert event.breakdown.output_tokens == 3


def test_an_aborted_stream_is_charged_for_what_arrived(meter: Meter) -> None:
    meter.start("run", asked())
    meter.first_token("run")
    meter.end("run", lambda: Answered(answer=Answer(text="Half an ans")), status=Status.ABORTED)
    [event] = meter.events()
    assert event.status is Status.ABORTED
    assert event.streamed
    assert event.ttft_ms is not None
    assert event.breakdown.output_tokens > 0
    assert event.usage.source is not CountSource.REPORTED


def test_a_refused_call_costs_nothing_and_is_there(meter: Meter) -> None:
    meter.start("run", asked())
    meter.end("run", None, status=Status.ERROR, error_type="RateLimitError")
    [event] = meter.events()
    assert (event.status, event.error_type, event.breakdown.total_tokens) == (Status.ERROR, "RateLimitError", 0)


def test_a_cache_hit_spends_nothing_and_saves_what_the_call_would_have_cost(meter: Meter) -> None:
    meter.start("run", asked())
    meter.end("run", answered(), status=Status.CACHE_HIT)
    [event] = meter.events()
    assert event.breakdown.total_tokens == 0
    [saving] = event.savings
    assert (saving.lever, saving.saved.tokens, saving.quality) == ("llm_cache", 25, None)
    assert saving.saved.nano is not None
    assert saving.saved.nano > 0


def test_the_same_response_seen_by_two_frameworks_is_booked_once(store: MemoryStore) -> None:
    with Recorder(store, interval_s=0) as recorder:
        accountant = Accountant(prices=PriceBook())
        for framework in ("one", "two"):
            meter = Meter(recorder, accountant, framework=framework)
            meter.start(framework, asked())
            meter.end(framework, answered(response_id="chatcmpl-7"))
        recorder.flush()
        assert len(list(store.events())) == 1


def test_a_broken_projection_loses_its_own_event_only(meter: Meter) -> None:
    def broken() -> CallDetails:
        raise RuntimeError(SECRET)

    meter.start("bad", broken)
    meter.start("good", asked())
    meter.end("bad", answered())
    meter.end("good", answered())
    assert [event.id for event in meter.events()] == ["good"]
    assert meter.recorder.stats().failed == 1


def test_the_scope_of_the_caller_follows_into_other_threads(meter: Meter) -> None:
    with scope(session="s-1"):
        meter.traces.enter("agent")

    def model() -> None:
        meter.start("run", asked(scope=Scope(session="thread-7", agent="from the framework")), parent="agent")
        meter.end("run", answered())

    with ThreadPoolExecutor(1) as pool:
        pool.submit(model).result()
    [event] = meter.events()
    assert (event.scope.session, event.scope.agent) == ("s-1", "from the framework")


def test_the_kill_switch_leaves_no_trace(meter: Meter, store: MemoryStore) -> None:
    switch.disable()
    try:
        meter.start("run", asked())
        meter.retrieved("run", ["page"])
        meter.end("run", answered())
    finally:
        switch.enable()
    assert meter.events() == ()
    assert list(store.events()) == []


def test_each_call_writes_one_record_without_any_text(meter: Meter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        meter.start("run", asked())
        meter.end("run", answered())
        meter.events()
    [record] = [record for record in caplog.records if record.name == "tokenwise.usage" and record.levelname == "INFO"]
    assert record.tokenwise["input_tokens"] == 20  # type: ignore[attr-defined]
    assert not [record for record in caplog.records if "marmalade" in record.getMessage()]


def test_text_is_kept_only_where_asked_for(store: MemoryStore) -> None:
    for keep in (False, True):
        with Recorder(store, interval_s=0, redact=lambda text: text.replace("marmalade", "█")) as recorder:
            meter = Meter(recorder, Accountant(prices=PriceBook(), keep_text=keep), framework="test")
            meter.start(keep, asked())
            meter.end(keep, answered())
            recorder.flush()
    texts = {event.id: event.text for event in store.events()}
    assert texts["False"] is None
    assert "█" in (texts["True"] or "")
    assert "marmalade" not in (texts["True"] or "")


def test_the_prefix_that_stays_the_same_is_reported_and_what_broke_it_named(meter: Meter) -> None:
    with scope(session="s-1"):
        for turn, text in enumerate(["first question", "another question"]):
            meter.start(turn, asked(text))
            meter.end(turn, answered())
    first, second = meter.events()
    assert first.stable_prefix_tokens == 0
    assert (second.stable_prefix_tokens or 0) > 0
    assert second.prefix_break == "user_input"


def test_what_is_learnt_from_reported_usage_is_kept_in_the_store() -> None:
    store = MemoryStore()
    prompt = Prompt(messages=(Message(role="user", text="How many tokens is this?"),), api="anthropic")

    def estimates(calls: int) -> list[int | None]:
        runtime = make_runtime(store)
        meter = Meter(runtime.recorder, runtime.accountant, framework="test")
        for turn in range(calls):
            meter.start(turn, lambda: CallDetails(prompt=prompt, model="claude-sonnet-4-5", provider="anthropic"))
            meter.end(turn, answered(tokens=40))
        runtime.recorder.flush()
        return [event.estimate_before for event in meter.events()]

    assert estimates(4)[0] != 40
    assert store.get_state(CALIBRATION_KEY)
    assert estimates(1) == [40]


@pytest.mark.parametrize(
    ("asked_for", "answered_by", "priced"),
    [("house", "house-2031-01-01", True), ("house", "another-model", False), ("unknown", "unknown-2031", False)],
)
def test_a_dated_version_has_the_price_of_its_model_and_another_model_has_none(
    asked_for: str, answered_by: str, priced: bool
) -> None:
    prices = PriceBook(overrides={"models": {"house": {"input": 1.0, "output": 2.0}}})
    with Recorder(MemoryStore(), interval_s=0) as recorder:
        meter = Meter(recorder, Accountant(prices=prices), framework="test")
        prompt = Prompt(messages=(Message(role="user", text="?"),))
        meter.start("run", lambda: CallDetails(prompt=prompt, model=asked_for))
        meter.end("run", answered(response_model=answered_by))
        [event] = meter.events()
    assert (event.cost is not None) is priced


def test_a_call_that_was_cancelled_without_a_word_ends_with_the_run_above_it(meter: Meter) -> None:
    meter.traces.enter("graph")
    meter.start("run", asked(), parent="graph")
    meter.start("elsewhere", asked())
    meter.abort_under("graph", error_type="CancelledError")
    [event] = meter.events()
    assert (event.id, event.status, event.error_type) == ("run", Status.ABORTED, "CancelledError")
    assert event.breakdown.input_tokens == event.estimate_before
    assert meter.is_open("elsewhere")
