"""Views of conversations that a framework keeps: known here, saved for others, never in the way."""

from __future__ import annotations

import pytest

from tokenwise_core.errors import StoreError
from tokenwise_core.memory import Memory, View
from tokenwise_core.memory.sessions import MemorySessions, StoredView
from tokenwise_core.memory.views import Views


class Broken(MemorySessions):
    def view(self, session: str) -> StoredView | None:
        raise StoreError("it is down", url=self.url)

    def save_view(self, *_: object, **__: object) -> bool:
        raise StoreError("it is down", url=self.url)


@pytest.fixture
def store() -> MemorySessions:
    return MemorySessions()


def settled(memory: Memory) -> Memory:
    assert memory._workers.rest(5)
    return memory


def test_a_view_that_one_process_keeps_is_read_by_another(store: MemorySessions) -> None:
    memory = Memory(sessions=store)
    Views(memory).keep("c", View(length=3))
    settled(memory)
    assert Views(Memory(sessions=store)).read("c").length == 3


def test_a_view_that_comes_too_late_gives_way_to_the_one_that_another_process_saved(store: MemorySessions) -> None:
    memory = Memory(sessions=store)
    late = Views(memory)
    late.read("c")
    store.save_view("c", View(length=7).to_dict(), expected=0)
    late.keep("c", View(length=3))
    settled(memory)
    assert late.read("c").length == 7


def test_views_are_kept_in_their_order_and_the_newest_stands(store: MemorySessions) -> None:
    memory = Memory(sessions=store)
    views = Views(memory)
    for length in range(1, 30):
        views.keep("c", View(length=length))
    settled(memory)
    assert views.read("c").length == 29
    stored = store.view("c")
    assert stored is not None
    assert stored.data["length"] == 29


def test_a_store_that_is_down_leaves_the_view_in_this_process() -> None:
    memory = Memory(sessions=Broken())
    views = Views(memory)
    assert views.read("c") == View()
    views.keep("c", View(length=3))
    settled(memory)
    assert views.read("c").length == 3
