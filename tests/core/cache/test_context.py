from __future__ import annotations

import asyncio
import copy
import pickle
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core import switch
from tokenwise_core.cache.context import DEBATE, LEVELS, PROJECT, SYSTEM, ContextHierarchy, Level, everyone
from tokenwise_core.cache.entries import Entries, MemoryEntries, SQLiteEntries
from tokenwise_core.cache.recency import Recency, Use
from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.scoping import scope
from tokenwise_core.testing import FakeClock

DAY_S = 86_400.0
PATIENT_MS = 20_000.0
"""A deadline that no busy machine misses."""


@pytest.fixture(params=["memory", "sqlite"])
def entries(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Entries]:
    opened: Entries = MemoryEntries() if request.param == "memory" else SQLiteEntries(tmp_path / "cache.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def contexts(entries: Entries, clock: FakeClock) -> ContextHierarchy:
    return ContextHierarchy(
        entries, namespace="acme", clock=clock, deadline_ms=PATIENT_MS, count=lambda text: len(text.split())
    )


def small(entries: Entries, clock: Callable[[], float], **bounds: int) -> ContextHierarchy:
    return ContextHierarchy(entries, shared=True, levels=[Level(name="system", within=everyone, **bounds)], clock=clock)


def test_a_text_is_made_once_and_then_found(contexts: ContextHierarchy) -> None:
    made: list[str] = []

    def make() -> str:
        made.append("x")
        return "You are a careful critic."

    first = contexts.get_or_make("system", "critic", make)
    second = contexts.get_or_make("system", "critic", make)
    assert (first.text, first.tokens, first.access_count) == ("You are a careful critic.", 5, 0)
    assert (second.text, second.tokens, second.access_count) == ("You are a careful critic.", 5, 1)
    assert len(made) == 1
    counted = contexts.counts()["system"]
    assert (counted.hits, counted.misses, counted.kept, counted.tokens_served) == (1, 1, 1, 5)


def test_a_text_says_when_it_was_made_and_how_often_it_was_used(contexts: ContextHierarchy, clock: FakeClock) -> None:
    contexts.put("system", "critic", "text")
    made_at = clock()
    clock.advance(60)
    for n in (1, 2, 3):
        found = contexts.get("system", "critic")
        assert found is not None
        assert (found.made_at, found.access_count) == (made_at, n)


def test_accesses_are_counted_over_processes(entries: Entries, clock: FakeClock) -> None:
    here, there = (ContextHierarchy(entries, shared=True, clock=clock, deadline_ms=PATIENT_MS) for _ in range(2))
    here.put("system", "critic", "text")
    here.get("system", "critic")
    here.get("system", "critic")
    here.flush()
    found = there.get("system", "critic")
    assert found is not None
    assert found.access_count == 3


def test_system_texts_live_for_ever_and_a_projects_text_for_its_session(
    contexts: ContextHierarchy, clock: FakeClock
) -> None:
    with scope(session="s-1"):
        contexts.put("system", "critic", "text")
        contexts.put("project", "digest", "text")
        clock.advance(DAY_S - 1)
        assert contexts.get("project", "digest") is not None
    with scope(session="s-2"):
        assert contexts.get("project", "digest") is None
        assert contexts.get("system", "critic") is not None
    clock.advance(1000 * DAY_S)
    with scope(session="s-1"):
        assert contexts.get("project", "digest") is None
        assert contexts.get("system", "critic") is not None


def test_one_users_session_is_never_anothers_of_the_same_name(contexts: ContextHierarchy) -> None:
    with scope(user="ann", session="s-1"):
        contexts.put("project", "digest", "ann's")
    with scope(user="ben", session="s-1"):
        assert contexts.get("project", "digest") is None


def test_a_debate_is_told_by_its_label(contexts: ContextHierarchy) -> None:
    with scope(session="s-1", labels={"debate": "d-1"}):
        contexts.put("debate", "history", "so far")
        assert contexts.get("debate", "history") is not None
    with scope(session="s-1", labels={"debate": "d-2"}):
        assert contexts.get("debate", "history") is None


@pytest.mark.parametrize("level", ["project", "debate", "decision"])
def test_without_a_session_or_a_debate_nothing_is_shared(contexts: ContextHierarchy, level: str) -> None:
    assert contexts.put(level, "digest", "text") is False
    assert contexts.get(level, "digest") is None
    assert contexts.get_or_make(level, "digest", lambda: "made here").text == "made here"
    assert contexts.end(level) == 0


def test_a_scope_that_got_lost_is_no_cache(entries: Entries) -> None:
    contexts = ContextHierarchy(entries, namespace=lambda s: s.user, deadline_ms=PATIENT_MS)
    with scope(user="ann"):
        contexts.put("system", "critic", "ann's")
    assert contexts.get("system", "critic") is None
    with scope(user="ben"):
        assert contexts.get("system", "critic") is None


def test_a_text_of_another_version_is_made_anew(contexts: ContextHierarchy) -> None:
    contexts.put("system", "critic", "old", made_of={"version": 1})
    assert contexts.get_or_make("system", "critic", lambda: "new", made_of={"version": 2}).text == "new"
    assert contexts.get_or_make("system", "critic", lambda: "new", made_of={"version": 1}).text == "old"


def test_what_no_json_can_tell_is_made_each_time(contexts: ContextHierarchy) -> None:
    for text in ("one", "two"):
        assert contexts.get_or_make("system", "critic", lambda: text, made_of=object()).text == text  # noqa: B023


def test_ending_a_session_forgets_its_texts_and_no_others(contexts: ContextHierarchy) -> None:
    for session in ("s-1", "s-2"):
        with scope(session=session):
            contexts.put("project", "digest", "text")
            contexts.put("project", "files", "text")
    with scope(session="s-1"):
        assert contexts.end("project") == 2
        assert contexts.get("project", "digest") is None
    with scope(session="s-2"):
        assert contexts.get("project", "digest") is not None


def test_the_least_recently_used_goes_first(entries: Entries, clock: FakeClock) -> None:
    contexts = small(entries, clock, max_entries=2)
    for name in ("a", "b"):
        contexts.put("system", name, name)
        clock.advance(1)
    for _ in range(5):
        contexts.get("system", "b")
    clock.advance(1)
    contexts.get("system", "a")  # once, but later than b
    clock.advance(1)
    contexts.put("system", "c", "c")
    assert contexts.get("system", "b") is None
    assert contexts.get("system", "a") is not None
    assert contexts.get("system", "c") is not None
    assert contexts.counts()["system"].evicted == 1


def test_another_process_knows_what_was_used(entries: Entries, clock: FakeClock) -> None:
    here = small(entries, clock, max_entries=2)
    for name in ("a", "b"):
        here.put("system", name, name)
        clock.advance(1)
    here.get("system", "a")
    here.flush()
    clock.advance(1)
    small(entries, clock, max_entries=2).put("system", "c", "c")
    assert here.get("system", "b") is None
    assert here.get("system", "a") is not None


def test_a_level_is_bounded_by_bytes_and_what_was_just_kept_stays(entries: Entries, clock: FakeClock) -> None:
    contexts = small(entries, clock, max_bytes=3_000)
    for name in "abcdef":
        contexts.put("system", name, name * 1_000)
        clock.advance(1)
        assert contexts.get("system", name) is not None
    kept = [name for name in "abcdef" if contexts.get("system", name) is not None]
    assert kept == ["e", "f"]
    contexts.put("system", "large", "x" * 5_000)
    assert contexts.get("system", "large") is not None


def test_purge_reaches_what_was_kept_for_somebody(contexts: ContextHierarchy, entries: Entries) -> None:
    for user in ("ann", "ben"):
        with scope(user=user, session="s-1"):
            contexts.put("project", "digest", f"{user}'s secret")
            contexts.get("project", "digest")
    contexts.flush()
    assert entries.purge(user="ann") == 1
    with scope(user="ann", session="s-1"):
        assert contexts.get("project", "digest") is None
    with scope(user="ben", session="s-1"):
        assert contexts.get("project", "digest") is not None


def test_the_order_of_use_holds_no_text_and_no_name(contexts: ContextHierarchy, entries: Entries) -> None:
    with scope(user="ann", session="s-secret"):
        contexts.put("project", "secret name", "secret text")
    state = entries.get_state("recency:context/level/project")
    assert state is not None
    assert not [word for word in ("ann", "secret") if word in state]


def test_a_damaged_order_of_use_is_none(contexts: ContextHierarchy, entries: Entries) -> None:
    for damaged in ("no json", "[]", '{"v":1,"uses":{"zz":[1,2,3,"g"]}}', '{"v":1,"uses":{"aa":[1]}}', '{"v":2}'):
        entries.set_state("recency:context/level/system", damaged)
        assert contexts.put("system", "critic", "text")
        assert contexts.get("system", "critic") is not None


def test_the_newest_use_wins_and_the_dead_go() -> None:
    here, there = Recency(), Recency()
    here.note("aa", Use(used_at=5, size=1))
    there.note("aa", Use(used_at=9, size=1))
    there.note("bb", Use(used_at=1, size=1, expires_at=20))
    there.note("cc", Use(used_at=2, size=1, expires_at=8))
    here.merge(there.to_json(), now=10)
    assert here.surplus(max_entries=0, max_bytes=0, spare="") == ["bb", "aa"]


def test_twenty_equal_calls_make_one(contexts: ContextHierarchy) -> None:
    made: list[int] = []
    begin = threading.Event()

    def make() -> str:
        made.append(1)
        begin.wait(5)
        return "text"

    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(contexts.get_or_make("system", "critic", make).text))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    while contexts.counts()["system"].misses < 20:
        time.sleep(0.001)
    begin.set()
    for thread in threads:
        thread.join()
    assert (found, len(made)) == (["text"] * 20, 1)


def test_async_does_the_same(contexts: ContextHierarchy) -> None:
    made: list[int] = []

    async def make() -> str:
        made.append(1)
        await asyncio.sleep(0.01)
        return "text"

    async def all_of_it() -> None:
        found = await asyncio.gather(*(contexts.aget_or_make("system", "critic", make) for _ in range(20)))
        assert {context.text for context in found} == {"text"}
        assert await contexts.aput("system", "other", "text two")
        other = await contexts.aget("system", "other")
        assert other is not None
        assert other.tokens == 2
        with scope(session="s-1"):
            await contexts.aput("project", "digest", "text")
            assert await contexts.aend("project") == 1
        assert (await contexts.aget_or_make("project", "digest", make)).text == "text"

    asyncio.run(all_of_it())
    assert len(made) == 2


def test_what_making_raises_is_raised_and_the_next_makes_it(contexts: ContextHierarchy) -> None:
    def fail() -> str:
        raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        contexts.get_or_make("system", "critic", fail)
    assert contexts.get_or_make("system", "critic", lambda: "text").text == "text"


class Broken(MemoryEntries):
    def get(self, *_: object, **__: object) -> None:
        raise StoreError("broken", url="memory://")

    def put(self, *_: object) -> list[int]:
        raise StoreError("broken", url="memory://")


class Hanging(MemoryEntries):
    def get(self, *_: object, **__: object) -> None:
        time.sleep(5)

    def put(self, *_: object) -> list[int]:
        time.sleep(5)
        return []


@pytest.mark.parametrize("broken", [Broken, Hanging])
def test_a_broken_store_costs_only_the_making(broken: type[MemoryEntries]) -> None:
    contexts = ContextHierarchy(broken(), shared=True, deadline_ms=20)
    for _ in range(8):
        assert contexts.get_or_make("system", "critic", lambda: "text").text == "text"
    assert contexts.get("system", "critic") is None
    assert contexts.counts()["system"].failures == 5  # then the breaker keeps off


def test_a_counter_that_fails_leaves_the_tokens_unknown(entries: Entries) -> None:
    def fail(_: str) -> int:
        raise OSError("no tokeniser")

    contexts = ContextHierarchy(entries, shared=True, count=fail)
    assert contexts.get_or_make("system", "critic", lambda: "text").tokens is None


def test_switched_off_everything_is_made(contexts: ContextHierarchy, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts.put("system", "critic", "kept")
    monkeypatch.setattr(switch, "_enabled", False)
    assert contexts.get_or_make("system", "critic", lambda: "made").text == "made"


def test_copies_and_pickles_find_the_same(tmp_path: Path) -> None:
    contexts = ContextHierarchy(SQLiteEntries(tmp_path / "cache.sqlite"), shared=True, deadline_ms=PATIENT_MS)
    contexts.put("system", "critic", "text")
    for other in (copy.deepcopy(contexts), pickle.loads(pickle.dumps(contexts))):
        found = other.get("system", "critic")
        assert found is not None
        assert found.text == "text"


def test_wrong_settings_are_refused(entries: Entries) -> None:
    with pytest.raises(BadInput, match="choose whose"):
        ContextHierarchy(entries)
    with pytest.raises(BadInput, match="two levels"):
        ContextHierarchy(entries, shared=True, levels=[SYSTEM, SYSTEM])
    with pytest.raises(BadInput, match="above zero"):
        ContextHierarchy(entries, shared=True, levels=[Level(name="x", within=everyone, max_entries=0)])
    with pytest.raises(BadInput, match="no level 'sytem'"):
        ContextHierarchy(entries, shared=True).get("sytem", "critic")


def test_the_levels_of_the_seed_are_there() -> None:
    assert [level.name for level in LEVELS] == ["system", "project", "debate", "decision"]
    assert SYSTEM.ttl_s is None
    assert PROJECT.ttl_s is not None
    assert DEBATE.ttl_s is not None


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "get", "flush", "other"]), st.integers(0, 5)), min_size=1, max_size=40
    ),
    bound=st.integers(1, 4),
)
def test_a_level_holds_what_a_plain_lru_would_hold(steps: list[tuple[str, int]], bound: int) -> None:
    entries, clock = MemoryEntries(), FakeClock()
    here, there = (small(entries, clock, max_entries=bound) for _ in range(2))
    expected: OrderedDict[str, str] = OrderedDict()
    for kind, number in steps:
        clock.advance(1)
        name = f"text {number}"
        if kind == "flush":
            here.flush()
        elif kind == "get":
            found = here.get("system", name)
            assert (found and found.text) == expected.get(name)
            if found:
                expected.move_to_end(name)
        else:
            if kind == "other":
                here.flush()  # another process knows what was written
            (there if kind == "other" else here).put("system", name, name)
            expected[name] = name
            expected.move_to_end(name)
            while len(expected) > bound:
                expected.popitem(last=False)
    assert {found.answer.text for found in entries.iterate()} == set(expected)


def test_many_threads_keep_the_bounds_and_lose_nothing(entries: Entries) -> None:
    contexts = small(entries, time.time, max_entries=20)
    wrong: list[str] = []

    def work(thread: int) -> None:
        for i in range(30):
            name = f"{(thread * 7 + i) % 40}"
            if contexts.get_or_make("system", name, lambda name=name: f"text {name}").text != f"text {name}":
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    contexts.put("system", "last", "text")
    assert not wrong
    assert len(list(entries.iterate())) <= 21  # what was put while others made room
    assert contexts.counts()["system"].failures == 0


def test_an_event_loop_goes_on_while_the_store_hangs() -> None:
    contexts = ContextHierarchy(Hanging(), shared=True, deadline_ms=100)
    told: list[str] = []

    async def make() -> str:
        told.append("made")
        return "text"

    async def beat() -> None:
        await asyncio.sleep(0)
        told.append("beat")

    async def both() -> None:
        await asyncio.gather(contexts.aget_or_make("system", "critic", make), beat())

    asyncio.run(both())
    assert told == ["beat", "made"]
