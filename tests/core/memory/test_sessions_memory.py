"""Sessions of this process are bounded: the default store of a long-lived server must not grow with its users."""

from __future__ import annotations

import pickle

from tokenwise_core.memory.sessions import LogItem, MemorySessions


def _append(store: MemorySessions, name: str, id: str = "1") -> None:
    store.append(name, [LogItem(id=id, data={"text": id}, at=0.0)])


def _names(store: MemorySessions) -> set[str]:
    return {info.session for info in store.sessions()}


def test_the_session_that_has_not_changed_for_the_longest_time_goes_first() -> None:
    store = MemorySessions(max_sessions=3)
    for name in ("a", "b", "c"):
        _append(store, name)
    _append(store, "a", "2")
    _append(store, "d")
    assert _names(store) == {"a", "c", "d"}
    assert store.changes("b", epoch=1).replaced


def test_a_store_that_was_pickled_has_the_same_bounds() -> None:
    store: MemorySessions = pickle.loads(pickle.dumps(MemorySessions(max_sessions=2)))
    for name in ("a", "b", "c"):
        _append(store, name)
    assert _names(store) == {"b", "c"}


def test_the_oldest_originals_of_a_session_go_and_the_newest_stays_however_large() -> None:
    store = MemorySessions(max_original_bytes=1_000)
    for n in range(4):
        store.keep("s", f"r{n}", str(n) * 400)
    assert [store.original("s", f"r{n}") is not None for n in range(4)] == [False, False, True, True]
    store.keep("s", "long", "x" * 5_000)
    assert store.original("s", "long") == "x" * 5_000
    assert store.stats().originals == 1
