"""What every usage store must do: in memory, in SQLite, in PostgreSQL."""

from __future__ import annotations

import copy
import pickle
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.events import START, events, make_event
from tests.postgres import postgres_server, postgres_url
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.components import Breakdown, Component
from tokenwise_core.usage.events import Cost, Status, Usage, UsageEvent
from tokenwise_core.usage.savings import Saving, Spend
from tokenwise_core.usage.store import MemoryStore, Metric, Query, Retention, Store, open_store
from tokenwise_core.usage.store.protocol import DAY, HOUR

__all__ = ["postgres_server", "postgres_url"]  # fixtures

_REUSED = settings(suppress_health_check=list(HealthCheck))  # one store for all examples
_NOON = START - START % DAY + 12 * HOUR
_CALLS = [make_event(i, ts=_NOON + 1187.0 * i) for i in range(300)]  # four days, with cut ends
_GROUPINGS: list[tuple[str, ...]] = [
    (), ("agent",), ("model", "provider"), ("status",), ("hour",), ("day", "agent"), ("component",),
    ("agent", "component"), ("session",), ("user", "hour"), ("user", "agent"), ("session", "component"),
]  # fmt: skip


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        opened = open_store("memory://")
    elif request.param == "sqlite":
        opened = open_store(f"sqlite:///{tmp_path / 'usage.db'}")
    else:
        opened = open_store(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


def _plain(rows: Any) -> list[tuple[Any, ...]]:
    """Return what can be compared with a sum of our own: key, calls, tokens, cost, cost by component."""
    return [
        (tuple(r.key.values()), r.totals.calls, dict(r.totals.tokens), r.totals.cost_nano, dict(r.totals.nano))
        for r in rows
    ]


class TestWriting:
    @_REUSED
    @given(drawn=st.lists(events, max_size=4))
    def test_an_event_comes_back_as_it_went_in(self, store: Store, drawn: list[UsageEvent]) -> None:
        batch = [replace(event, id=uuid.uuid4().hex) for event in drawn]
        assert store.add(batch) == len(batch)
        back = {event.id: event for event in store.events()}
        assert [back[event.id] for event in batch] == batch

    def test_an_event_is_added_once_however_often_it_is_sent(self, store: Store) -> None:
        first, second = make_event(1), make_event(2)
        assert store.add([first, first]) == 1
        assert store.add([first, second]) == 1
        assert store.totals()[0].totals.calls == 2
        assert [event.id for event in store.events()] == ["call-1", "call-2"]

    def test_a_batch_is_added_whole_or_not_at_all(self, store: Store) -> None:
        broken = make_event(2, breakdown=Breakdown(tokens={"colour": 1}))  # type: ignore[dict-item]
        with pytest.raises(KeyError):
            store.add([make_event(1), broken])
        assert list(store.events()) == []
        assert store.totals() == []

    @pytest.mark.parametrize("odd", ["\0", "\ud800", "\0\ud800"])
    def test_characters_that_a_database_cannot_keep_do_not_cost_the_event(self, store: Store, odd: str) -> None:
        store.add(
            [make_event(1), make_event(2, agent=f"a{odd}", session=f"b{odd}", run_name=f"c{odd}", text=f"d{odd}")]
        )
        assert [event.id for event in store.events()] == ["call-1", "call-2"]

    def test_writers_at_the_same_time_lose_nothing_and_count_nothing_twice(self, store: Store) -> None:
        batches = [[make_event(i) for i in range(start, start + 30)] for start in range(0, 120, 15)]  # they overlap
        writers = [threading.Thread(target=store.add, args=(batch,)) for batch in batches]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert store.totals()[0].totals.calls == len(list(store.events())) == 135


class TestEvents:
    def test_calls_come_in_order_of_their_start_however_many_there_are(self, store: Store) -> None:
        store.add([make_event(i, ts=START + (i % 7)) for i in range(2_500)])
        found = [(event.ts, event.id) for event in store.events()]
        assert len(found) == 2_500
        assert found == sorted(found)

    def test_a_query_names_any_of_the_names(self, store: Store) -> None:
        store.add([make_event(0), make_event(1), make_event(2, agent=None), make_event(3, status=Status.ERROR)])
        assert [e.id for e in store.events(Query(agent="agent-1"))] == ["call-1"]
        assert [e.id for e in store.events(Query(user="user-1", status="error"))] == ["call-3"]
        assert [e.id for e in store.events(Query(since=START + 10, until=START + 20))] == ["call-1"]


class TestTotals:
    @pytest.mark.parametrize(
        "query",
        [
            Query(),
            Query(since=_NOON + 100, until=_NOON + 80 * HOUR + 1),
            Query(since=_NOON + HOUR, until=_NOON + 3 * HOUR),
            Query(since=_NOON + 36 * HOUR, until=_NOON + 60 * HOUR),
            Query(since=_NOON + 50 * HOUR + 10.5),
            Query(until=_NOON + 20 * 60),
            Query(until=_NOON + 40 * HOUR, agent="agent-1"),
            Query(agent="agent-2", since=_NOON + 1),
            Query(user="user-1"),
            Query(session="session-9", agent="agent-1"),
        ],
    )
    def test_sums_are_those_of_the_calls_however_the_time_is_cut(self, store: Store, query: Query) -> None:
        store.add(_CALLS[:200])
        store.add(_CALLS[150:])
        reference = MemoryStore()
        reference.add(list(store.events(query)))
        for by in _GROUPINGS:
            assert _plain(store.totals(query, by)) == _plain(reference.totals(by=by)), by

    def test_a_row_says_all_that_is_known_of_its_calls(self, store: Store) -> None:
        store.add([make_event(0), make_event(1, cost=None, usage=Usage(input_tokens=1001, output_tokens=50))])
        totals = store.totals()[0].totals
        assert (totals.calls, totals.input_tokens, totals.output_tokens) == (2, 2001, 100)
        assert (totals.cost_nano, totals.priced_calls, totals.unpriced_calls) == (10_000, 1, 1)
        assert totals.cache_hit_rate == 400 / 1000  # of the one call whose provider said
        assert totals.breakdown.tokens == {
            Component.SYSTEM_PROMPT: 1000, Component.USER_INPUT: 1001, Component.RESPONSE: 100,
        }  # fmt: skip

    def test_what_has_no_price_has_no_cost(self, store: Store) -> None:
        store.add([make_event(0, cost=None)])
        assert store.totals()[0].totals.cost_usd is None

    def test_the_costs_of_the_components_sum_to_the_cost(self, store: Store) -> None:
        store.add([make_event(0, cost=Cost(nano=10_007, by_bucket={"input_uncached": 7_001, "cache_read": 999}))])
        totals = store.totals()[0].totals
        assert sum(totals.nano.values()) == 10_007
        assert totals.nano[Component.OVERHEAD] == 10_007 - 7_001 - 999  # what belongs to no bucket

    @_REUSED
    @given(
        milliseconds=st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60),
        cut=st.integers(0, 60),
        q=st.floats(0.01, 1),
    )
    def test_quantiles_are_right_within_one_percent_however_calls_are_batched(
        self, store: Store, milliseconds: list[float], cut: int, q: float
    ) -> None:
        name = uuid.uuid4().hex
        calls = [
            make_event(i, id=f"{name}-{i}", agent=name, latency_ms=ms) for i, ms in enumerate(milliseconds)
        ]  # fmt: skip
        store.add(calls[:cut])
        store.add(calls[cut:])
        exact = sorted(milliseconds)[max(0, -int(-q * len(milliseconds) // 1) - 1)]
        found = store.totals(Query(agent=name))[0].totals.milliseconds(Metric.LATENCY_US, q)
        assert found == pytest.approx(exact, rel=0.0101)

    def test_a_report_can_be_cut_to_the_groups_with_the_most_tokens(self, store: Store) -> None:
        store.add(_CALLS)
        every = store.totals(by=("session",))
        assert _plain(store.totals(by=("session",), top=3)) == _plain(every[:3])
        assert store.totals(by=("agent",), top=1) == store.totals(by=("agent",))[:1]
        assert _plain(store.totals(by=("agent", "session"), top=5_000)) == _plain(store.totals(by=("agent", "session")))
        assert store.totals(Query(agent="nobody"), by=("session",), top=3) == []

    def test_calls_without_a_name_are_a_group_of_their_own(self, store: Store) -> None:
        store.add([make_event(0, agent=None), make_event(1)])
        assert {row.key["agent"]: row.totals.calls for row in store.totals(by=("agent",))} == {None: 1, "agent-1": 1}

    def test_hours_and_days_begin_where_utc_does(self, store: Store) -> None:
        store.add([make_event(0, ts=DAY * 20_000 - 0.5), make_event(1, ts=DAY * 20_000 + 0.5)])
        assert [row.key["day"] for row in store.totals(by=("day",))] == [DAY * 19_999, DAY * 20_000]
        assert [row.key["hour"] for row in store.totals(by=("hour",))] == [DAY * 20_000 - HOUR, DAY * 20_000]

    def test_a_group_that_does_not_exist_is_named(self, store: Store) -> None:
        with pytest.raises(BadInput, match="colour"):
            store.totals(by=("colour",))


class TestSavings:
    def test_what_each_lever_saved_is_net_of_its_overhead(self, store: Store) -> None:
        cut = Saving(
            lever="memory", counterfactual=Spend(input_tokens=900, nano=900), actual=Spend(input_tokens=400, nano=400),
            overhead=Spend(input_tokens=50, output_tokens=10, nano=100), quality=-0.5,
        )  # fmt: skip
        hit = Saving(lever="cache", counterfactual=Spend(input_tokens=1000, output_tokens=50), actual=Spend(nano=0))
        store.add([make_event(i, savings=(cut, hit)) for i in range(3)])
        cache, memory = store.savings()
        assert (cache.key, cache.totals.bookings, cache.totals.saved.tokens) == ({"lever": "cache"}, 3, 3150)
        assert cache.totals.saved.nano is None  # no price, hence no money
        assert cache.totals.quality is None
        assert memory.totals.saved == Spend(input_tokens=1350, output_tokens=-30, nano=1200)
        assert memory.totals.quality == -0.5

    def test_savings_are_told_apart_by_any_name_and_time(self, store: Store) -> None:
        saving = Saving(lever="cache", counterfactual=Spend(input_tokens=10, nano=10), actual=Spend(nano=0))
        store.add([make_event(i, ts=_NOON + 1800.0 * i, savings=(saving,)) for i in range(8)])
        by_user = store.savings(Query(since=_NOON + 900), ("user", "lever"))
        assert {(row.key["user"], row.totals.bookings) for row in by_user} == {("user-1", 4), ("user-0", 3)}
        by_agent = store.savings(Query(until=_NOON + 2 * HOUR + 1), ("agent",))
        assert Counter({row.key["agent"]: row.totals.bookings for row in by_agent}) == {
            "agent-0": 2, "agent-1": 1, "agent-2": 1, "agent-3": 1,
        }  # fmt: skip


class TestState:
    def test_state_is_kept_and_replaced(self, store: Store) -> None:
        assert store.get_state("calibration") is None
        store.set_state("calibration", {"version": 1, "claude": [1.1, 5]})
        store.set_state("calibration", {"version": 2, "unknown to us": {"é": None}})
        assert store.get_state("calibration") == {"version": 2, "unknown to us": {"é": None}}


class TestPurging:
    @pytest.mark.parametrize(
        "names",
        [
            {"user": "user-1"}, {"session": "session-9"}, {"application": "desk"},
            {"user": "user-0", "session": "session-3"}, {"user": "user-0", "application": "desk"},
        ],
    )  # fmt: skip
    def test_nothing_is_left_of_what_was_purged_and_all_else_stays(self, store: Store, names: dict[str, str]) -> None:
        saving = Saving(lever="cache", counterfactual=Spend(input_tokens=9, nano=9), actual=Spend(nano=0))
        calls = [replace(call, savings=(saving,)) for call in _CALLS]
        store.add([*calls, make_event(999, application="other", user="somebody", session="else")])
        gone = store.purge(**names)

        reference = MemoryStore()
        reference.add(list(store.events()))
        assert gone["event"] == 301 - len(list(store.events())) > 0
        assert list(store.events(Query(**names))) == []  # type: ignore[arg-type]
        for by in ((), ("agent", "hour"), ("session",), ("user",), ("component",), ("application",)):
            assert _plain(store.totals(by=by)) == _plain(reference.totals(by=by))
            assert store.totals(by=by) == reference.totals(by=by) or {"session", "user"} & set(by)
        for by in (("lever",), ("agent", "day")):
            assert store.savings(by=by) == reference.savings(by=by)

    def test_a_purge_names_somebody(self, store: Store) -> None:
        with pytest.raises(BadInput):
            store.purge()


class TestRetention:
    def test_old_calls_go_and_a_newer_report_is_untouched(self, store: Store) -> None:
        store.add(_CALLS)
        recent = Query(since=_NOON + 60 * HOUR)
        before = store.totals(recent, ("agent",))
        deleted = store.retain(Retention(raw_days=1.5, rollup_days=1.5), now=_NOON + 96 * HOUR)
        assert deleted["event"] > 0
        assert all(event.ts >= _NOON + 60 * HOUR for event in store.events())
        assert store.totals(recent, ("agent",)) == before


class TestHandles:
    def test_a_store_can_be_closed_and_used_again(self, store: Store) -> None:
        store.add([make_event(0)])
        store.close()
        store.add([make_event(1)])
        assert store.totals()[0].totals.calls == 2

    def test_a_deep_copy_is_the_same_store(self, store: Store) -> None:
        other = copy.deepcopy(store)
        other.add([make_event(0)])
        assert store.totals()[0].totals.calls == 1
        other.close()

    def test_a_pickle_opens_what_the_original_holds(self, store: Store) -> None:
        store.add([make_event(0)])
        other = pickle.loads(pickle.dumps(store))
        assert [event.id for event in other.events()] == ["call-0"]
        other.close()

    def test_every_store_is_a_store(self, store: Store) -> None:
        assert isinstance(store, Store)
