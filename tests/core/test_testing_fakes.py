"""The clock, and the window on recorded usage."""

from tokenwise_core.testing import REPLAY_PRICES, FakeClock, capture_usage
from tokenwise_core.usage.events import Usage, UsageEvent
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.recorder import Recorder


def test_a_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock(100.0)
    assert (clock(), clock()) == (100.0, 100.0)
    clock.advance(2.5)
    assert clock() == 102.5


def test_usage_is_captured_only_inside_the_block() -> None:
    with Recorder(None) as recorder:
        recorder.submit(UsageEvent(id="before", ts=0))
        with capture_usage(recorder) as events:
            recorder.submit(UsageEvent(id="a", ts=1))
            recorder.submit(lambda: UsageEvent(id="b", ts=2))
        recorder.submit(UsageEvent(id="after", ts=3))
        recorder.flush()
    assert [event.id for event in events] == ["a", "b"]


def test_the_shared_recorder_is_captured_by_default() -> None:
    from tokenwise_core.usage.runtime import shared_runtime

    with capture_usage() as events:
        shared_runtime().recorder.submit(UsageEvent(id="x", ts=0))
    assert [event.id for event in events] == ["x"]


def test_the_replayed_models_have_prices_a_strong_one_five_times_a_cheap_one() -> None:
    book = PriceBook(overrides=REPLAY_PRICES)
    usage = Usage(input_tokens=1000, input_uncached=600, cache_read=400, output_tokens=100, output_text=100)
    cheap, strong = (book.cost(usage, model=f"replay-{tier}") for tier in ("cheap", "strong"))
    assert cheap is not None
    assert strong is not None
    assert cheap.nano == 600 * 250 + 400 * 25 + 100 * 2000
    assert strong.nano == 5 * cheap.nano
