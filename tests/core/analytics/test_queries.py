"""Questions over a store: what they answer, and which times they understand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tests.events import START, make_event
from tokenwise_core.analytics import queries
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import Status, Usage
from tokenwise_core.usage.savings import Saving, Spend
from tokenwise_core.usage.store import MemoryStore, Query, Store
from tokenwise_core.usage.store.protocol import DAY, HOUR

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def store() -> Store:
    made = MemoryStore()
    made.add([make_event(i) for i in range(8)])
    return made


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "moment"),
        [
            ("30m", NOW - 1800), ("24h", NOW - DAY), ("7d", NOW - 7 * DAY), (" 2w ", NOW - 14 * DAY),
            ("1.5h", NOW - 5400),
            ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC).timestamp()),
            ("2026-11-01T09:30", datetime(2026, 11, 1, 9, 30, tzinfo=UTC).timestamp()),
            ("2026-11-01T09:30:00+02:00", datetime(2026, 11, 1, 7, 30, tzinfo=UTC).timestamp()),
            ("2026-11-01T09:30Z", datetime(2026, 11, 1, 9, 30, tzinfo=UTC).timestamp()),
        ],
    )  # fmt: skip
    def test_ages_dates_and_times_are_understood(self, text: str, moment: float) -> None:
        assert queries.parse_time(text, now=NOW) == moment

    def test_a_date_is_in_the_time_zone_asked_for(self) -> None:
        midnight = datetime(2026, 6, 30, 22, tzinfo=UTC).timestamp()
        assert queries.parse_time("2026-07-01", now=NOW, tz=BERLIN) == midnight

    @pytest.mark.parametrize("text", ["", "yesterday", "24", "h", "-3h", "2026-13-01", "2026-02-30", "24 hours"])
    def test_anything_else_is_bad_input(self, text: str) -> None:
        with pytest.raises(BadInput, match="no time"):
            queries.parse_time(text, now=NOW)

    @pytest.mark.parametrize(
        "text",
        ["800000d", "99999999d", "999999999999d", "9" * 400 + "d", "0001-01-01", "0001-01-01T00:00+14:00",
         "9999-12-31T23:59-12:00"],
    )  # fmt: skip
    def test_a_time_that_no_calendar_can_say_is_bad_input(self, text: str) -> None:
        with pytest.raises(BadInput, match="outside the years"):
            queries.parse_time(text, now=NOW)

    def test_a_window_that_ends_before_it_begins_is_bad_input(self) -> None:
        assert queries.window("7d", "1d", now=NOW) == Query(since=NOW - 7 * DAY, until=NOW - DAY)
        with pytest.raises(BadInput, match="before it begins"):
            queries.window("1d", "7d", now=NOW)


class TestSums:
    def test_an_empty_store_answers_with_zeros_and_unknowns(self) -> None:
        empty = MemoryStore()
        assert queries.totals(empty).calls == 0
        assert queries.totals(empty).cost_usd is None
        assert queries.by_component(empty) == queries.by_name(empty, "agent") == queries.time_series(empty) == []
        assert queries.cache_use(empty) == queries.CacheUse(token_rate=None, answer_rate=None, calls=0, answered=0)

    def test_components_share_the_tokens_and_the_cost(self, store: Store) -> None:
        uses = queries.by_component(store)
        assert [use.component for use in uses] == [Component.SYSTEM_PROMPT, Component.USER_INPUT, Component.RESPONSE]
        assert sum(use.share for use in uses) == pytest.approx(1)
        assert sum(use.cost_usd or 0 for use in uses) == queries.totals(store).cost_usd == Decimal("0.000080028")
        assert uses[0].cached_tokens == 8 * 400

    def test_components_without_a_price_have_no_cost(self) -> None:
        store = MemoryStore()
        store.add([make_event(0, cost=None)])
        assert {use.cost_usd for use in queries.by_component(store)} == {None}

    def test_groups_come_with_their_share_of_all_tokens(self, store: Store) -> None:
        groups = queries.by_name(store, "agent")
        assert [group.name for group in groups] == ["agent-3", "agent-2", "agent-1", "agent-0"]
        assert sum(group.share for group in groups) == pytest.approx(1)
        assert queries.by_name(store, "agent", top=1) == groups[:1]

    def test_savings_are_net_and_say_what_was_not_measured(self) -> None:
        saving = Saving(
            lever="memory", counterfactual=Spend(input_tokens=90, nano=900), actual=Spend(input_tokens=40, nano=400),
            overhead=Spend(input_tokens=10, nano=100),
        )  # fmt: skip
        store = MemoryStore()
        store.add([make_event(0, savings=(saving, replace(saving, lever="routing")))])
        memory = queries.savings_by_lever(store)[0]
        assert (memory.lever, memory.saved.tokens, memory.saved_usd) == ("memory", 40, Decimal("0.0000004"))
        assert memory.quality is None

    def test_both_caches_are_told_apart(self) -> None:
        store = MemoryStore()
        store.add([
            make_event(0),
            make_event(1, usage=Usage(input_tokens=500)),  # this provider does not say what it cached
            make_event(2, status=Status.CACHE_HIT, usage=Usage(input_tokens=0)),
        ])  # fmt: skip
        use = queries.cache_use(store)
        assert (use.token_rate, use.calls, use.answered) == (0.4, 3, 1)
        assert use.answer_rate == pytest.approx(1 / 3)


class TestSeries:
    def test_hours_without_calls_are_points_too(self) -> None:
        store = MemoryStore()
        store.add([make_event(0, ts=START), make_event(1, ts=START + 3 * HOUR), make_event(2, ts=START + 3 * HOUR)])
        points = queries.time_series(store, step="hour")
        assert [point.totals.calls for point in points] == [1, 0, 0, 2]
        assert points[0].start == datetime(2026, 9, 21, 14, tzinfo=UTC)
        assert points[3].requests_per_minute == pytest.approx(2 / 60)

    def test_days_are_those_of_the_time_zone(self) -> None:
        store = MemoryStore()
        late = datetime(2026, 10, 24, 21, 59, tzinfo=UTC).timestamp()  # 23:59 in Berlin
        store.add([make_event(0, ts=late), make_event(1, ts=late + 120), make_event(2, ts=late + 26 * HOUR)])
        assert [point.totals.calls for point in queries.time_series(store)] == [2, 1]
        points = queries.time_series(store, tz=BERLIN)
        assert [(point.start.day, point.totals.calls) for point in points] == [(24, 1), (25, 1), (26, 1)]
        assert points[1].requests_per_minute == pytest.approx(1 / (25 * 60))  # the clocks go back

    def test_local_hours_are_as_many_as_there_are(self) -> None:
        store = MemoryStore()
        midnight = datetime(2026, 10, 25, tzinfo=BERLIN).timestamp()
        store.add([make_event(i, ts=midnight + i * HOUR) for i in range(25)])
        points = queries.time_series(store, step="hour", tz=BERLIN)
        assert [point.totals.calls for point in points] == [1] * 25

    def test_days_follow_a_fixed_offset(self) -> None:
        store = MemoryStore()
        store.add([make_event(0, ts=DAY * 20_000 + 23 * HOUR)])
        (point,) = queries.time_series(store, tz=timezone(timedelta(hours=2)))
        assert point.start.timestamp() == DAY * 20_000 + 22 * HOUR

    def test_the_rate_is_over_the_time_asked_for(self, store: Store) -> None:
        sums = queries.totals(store)
        assert queries.requests_per_minute(sums, Query(since=NOW - 4 * HOUR), now=NOW) == 8 / 240
        assert queries.requests_per_minute(sums, Query(since=NOW - 60, until=NOW + DAY), now=NOW) == 8
        assert queries.requests_per_minute(sums, Query(), now=NOW) is None
