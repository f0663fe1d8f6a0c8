"""What every usage store must do: in memory, in SQLite, in PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.events import START, events, make_event
from tests.postgres import postgres_server, postgres_url
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import Status
from tokenwise_core.usage.savings import Saving, Spend
from tokenwise_core.usage.store import MemoryStore, Metric, Query, Retention, Store, open_store

__all__ = ["postgres_server", "postgres_url"]  # fixtures

_FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
_BACKENDS = ["memory", "sqlite", "postgres"]


@pytest.fixture(params=_BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "memory":
        opened = open_store("memory://")
    elif request.param == "sqlite":
        opened = open_store(f"sqlite:///{tmp_path / 'usage.db'}")
    else:
        opened = open_store(request.getfixturevalue("postgres_url"))
    yield opened
    opened.close()


class TestWriting:
    @_FEW
    @given(batch=st.lists(events, max_size=5, unique_by=lambda event: event.id))
    def test_an_event_comes_back_as_it_went_in(self, store: Store, batch) -> None:
        assert store.add(batch) == len(batch)
        back = {event.id: event for event in store.events()}
        assert [back[event.id] for event in batch] == batch

    def test_an_event_is_added_once_however_often_it_is_sent(self, store: Store) -> None:
        first, second = make_event(1), make_event(2)
        assert store.add([first, first]) == 1
        assert store.add([first, second]) == 1
        assert store.totals()[0].totals.calls == 2
        assert [event.id for event in store.events()] == ["call-1", "call-2"]
