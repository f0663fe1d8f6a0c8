from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.cache.decisions import DecisionMemo
from tokenwise_core.cache.entries import Entries, MemoryEntries, SQLiteEntries
from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.scoping import scope
from tokenwise_core.testing import FakeClock

FACTS = {"question": "tabs or spaces?", "files": ["a.py", "b.py"]}


@dataclass(frozen=True)
class Verdict:
    choice: str
    score: float


class Agent:
    """Decides, and counts how often."""

    def __init__(self, answer: Any = "spaces") -> None:
        self.answer, self.asked = answer, 0

    def __call__(self) -> Any:
        self.asked += 1
        return self.answer


def made_memo(entries: Entries, **kwargs: Any) -> DecisionMemo:
    """Return a memo with a deadline that no busy machine misses."""
    return DecisionMemo(entries, **{"shared": True, "deadline_ms": 20_000, **kwargs})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def memo(clock: FakeClock) -> DecisionMemo:
    return made_memo(MemoryEntries(), clock=clock)


def test_the_same_facts_are_decided_once(memo: DecisionMemo) -> None:
    agent = Agent()
    assert [memo.decide("critic", FACTS, agent) for _ in range(3)] == ["spaces"] * 3
    assert agent.asked == 1
    assert memo.hit_count("critic", FACTS) == 2
    assert memo.hit_count("critic", {"question": "another"}) is None


def test_the_order_of_the_facts_does_not_count(memo: DecisionMemo) -> None:
    agent = Agent()
    memo.decide("critic", FACTS, agent)
    memo.decide("critic", dict(reversed(FACTS.items())), agent)
    assert agent.asked == 1


@pytest.mark.parametrize(
    ("agent", "facts", "kind"),
    [
        ("author", FACTS, ""),
        ("critic", {**FACTS, "question": "tabs or spaces"}, ""),
        ("critic", {**FACTS, "files": ["b.py", "a.py"]}, ""),
        ("critic", {"question": FACTS["question"]}, ""),
        ("critic", FACTS, "vote"),
    ],
)
def test_what_differs_is_decided_anew(memo: DecisionMemo, agent: str, facts: dict[str, Any], kind: str) -> None:
    memo.decide("critic", FACTS, Agent("first"))
    assert memo.decide(agent, facts, Agent("second"), kind=kind) == "second"


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (1, True), (0, False), (1, 1.0), (None, "null"), ("", [])])
def test_values_that_json_writes_apart_are_apart(memo: DecisionMemo, one: Any, other: Any) -> None:
    memo.decide("critic", {"n": one}, Agent("first"))
    assert memo.decide("critic", {"n": other}, Agent("second")) == "second"


def test_a_decision_dies_after_an_hour(memo: DecisionMemo, clock: FakeClock) -> None:
    agent = Agent()
    memo.decide("critic", FACTS, agent)
    clock.advance(3_599)
    memo.decide("critic", FACTS, agent)
    assert agent.asked == 1
    clock.advance(2)
    memo.decide("critic", FACTS, agent)
    assert agent.asked == 2


def test_none_and_false_are_decisions_too(memo: DecisionMemo) -> None:
    for answer in (None, False, 0, ""):
        agent = Agent(answer)
        assert [memo.decide("critic", {"answer": repr(answer)}, agent) for _ in range(2)] == [answer, answer]
        assert agent.asked == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(answer=JSON, facts=st.dictionaries(st.text(), JSON))
def test_a_decision_comes_back_as_it_was(answer: Any, facts: dict[str, Any]) -> None:
    memo, agent = made_memo(MemoryEntries()), Agent(answer)
    for _ in range(2):
        found = memo.decide("critic", facts, agent)
        assert (found, type(found)) == (answer, type(answer))
    assert agent.asked == 1


@pytest.mark.parametrize("answer", [(1, 2), {1: "a"}, object(), float("nan"), {"at": {"deep": (1,)}}, b"bytes", {1}])
def test_what_would_come_back_otherwise_is_never_kept(memo: DecisionMemo, answer: Any) -> None:
    agent = Agent(answer)
    for _ in range(2):
        assert memo.decide("critic", FACTS, agent) is answer
    assert agent.asked == 2
    assert memo.counts().unkept == 2


@pytest.mark.parametrize("fact", [object(), {1: "a"}, {"a", "b"}, float("nan"), b"bytes"])
def test_facts_that_no_json_can_tell_apart_are_never_looked_up(memo: DecisionMemo, fact: Any) -> None:
    agent = Agent()
    for _ in range(2):
        memo.decide("critic", {"fact": fact}, agent)
    assert agent.asked == 2


def test_values_of_ones_own_go_through_dump_and_load(clock: FakeClock) -> None:
    memo = made_memo(MemoryEntries(), dump=asdict, load=lambda data: Verdict(**data), clock=clock)
    agent = Agent(Verdict("spaces", 0.9))
    assert [memo.decide("critic", FACTS, agent) for _ in range(2)] == [Verdict("spaces", 0.9)] * 2
    assert agent.asked == 1


def test_what_load_does_not_take_is_decided_anew() -> None:
    entries = MemoryEntries()
    made_memo(entries).decide("critic", FACTS, Agent({"verdict": "of an older release"}))
    newer = made_memo(entries, dump=asdict, load=lambda data: Verdict(**data))
    assert newer.decide("critic", FACTS, Agent(Verdict("spaces", 0.9))) == Verdict("spaces", 0.9)


def test_who_changes_what_was_returned_changes_nobody_elses(memo: DecisionMemo) -> None:
    memo.decide("critic", FACTS, Agent(["a"])).append("b")
    memo.decide("critic", FACTS, Agent()).append("c")
    assert memo.decide("critic", FACTS, Agent()) == ["a"]


def test_decisions_of_one_user_are_not_anothers() -> None:
    memo = DecisionMemo(MemoryEntries(), namespace=lambda s: s.user, deadline_ms=20_000)
    with scope(user="ann"):
        memo.decide("critic", FACTS, Agent("ann's"))
    with scope(user="ben"):
        assert memo.decide("critic", FACTS, Agent("ben's")) == "ben's"
    agent = Agent()
    for _ in range(2):
        memo.decide("critic", FACTS, agent)  # no user: no memo
    assert agent.asked == 2


def test_purge_reaches_decisions() -> None:
    entries = MemoryEntries()
    memo = made_memo(entries)
    with scope(user="ann", session="s-1", application="desk"):
        memo.decide("critic", FACTS, Agent("first"))
    assert entries.purge(session="s-1") == 1
    assert memo.decide("critic", FACTS, Agent("second")) == "second"


def test_a_decision_outlives_the_process(tmp_path: Path) -> None:
    made_memo(SQLiteEntries(tmp_path / "c.sqlite")).decide("critic", FACTS, Agent("first"))
    again = made_memo(SQLiteEntries(tmp_path / "c.sqlite"))
    assert again.decide("critic", FACTS, Agent("second")) == "first"


def test_equal_decisions_under_way_are_shared(memo: DecisionMemo) -> None:
    begin, asked, found = threading.Event(), [], []

    def make() -> list[str]:
        asked.append(1)
        begin.wait(5)
        return ["spaces"]

    threads = [threading.Thread(target=lambda: found.append(memo.decide("c", FACTS, make))) for _ in range(10)]
    for thread in threads:
        thread.start()
    while memo.counts().misses < 10:
        time.sleep(0.001)
    begin.set()
    for thread in threads:
        thread.join()
    assert (len(asked), found) == (1, [["spaces"]] * 10)
    assert len({id(answer) for answer in found}) == 10


def test_those_who_wait_for_what_cannot_be_kept_decide_at_once(memo: DecisionMemo) -> None:
    begin, found = threading.Event(), []

    def make() -> tuple[int]:
        begin.wait(5)
        return (1,)

    threads = [threading.Thread(target=lambda: found.append(memo.decide("c", FACTS, make))) for _ in range(5)]
    for thread in threads:
        thread.start()
    begin.set()
    for thread in threads:
        thread.join(5)
    assert found == [(1,)] * 5


def test_async_decisions_are_shared_and_errors_are_raised(memo: DecisionMemo) -> None:
    asked: list[int] = []

    async def make() -> str:
        asked.append(1)
        await asyncio.sleep(0.01)
        return "spaces"

    async def fail() -> str:
        raise ValueError("no model")

    async def all_of_it() -> None:
        assert await asyncio.gather(*(memo.adecide("c", FACTS, make) for _ in range(10))) == ["spaces"] * 10
        with pytest.raises(ValueError, match="no model"):
            await memo.adecide("c", {}, fail)
        assert await memo.adecide("c", {}, make) == "spaces"

    asyncio.run(all_of_it())
    assert len(asked) == 2


def test_a_decorated_function_is_decided_once_for_equal_arguments(memo: DecisionMemo) -> None:
    asked: list[tuple[str, int]] = []

    @memo.remember("critic")
    def review(text: str, depth: int = 1) -> str:
        """Review a text."""
        asked.append((text, depth))
        return text.upper()

    @memo.remember("critic")
    def shorten(text: str, depth: int = 1) -> str:
        return text[:depth]

    assert [review("abc"), review("abc", 1), review(depth=1, text="abc")] == ["ABC"] * 3
    assert shorten("abc") == "a"
    assert review("abc", 2) == "ABC"
    assert asked == [("abc", 1), ("abc", 2)]
    assert review.__doc__ == "Review a text."
    with pytest.raises(TypeError, match="unexpected keyword"):
        review("abc", width=3)  # type: ignore[call-arg]


def test_a_decorator_may_say_which_facts_count(memo: DecisionMemo) -> None:
    asked: list[int] = []

    @memo.remember("critic", relevant=lambda text, log: {"text": text})
    async def review(text: str, log: object) -> str:
        asked.append(1)
        return text

    async def twice() -> list[str]:
        return [await review("a", object()), await review("a", object())]

    assert asyncio.run(twice()) == ["a", "a"]
    assert len(asked) == 1


def test_facts_that_cannot_be_told_cost_only_the_memo(memo: DecisionMemo) -> None:
    @memo.remember("critic", relevant=lambda text: {"text": text.missing})
    def review(text: str) -> str:
        return text

    assert review("a") == "a"


def test_a_broken_store_costs_only_the_deciding() -> None:
    class Broken(MemoryEntries):
        def get(self, *_: object, **__: object) -> None:
            raise StoreError("broken", url="memory://")

    memo, agent = made_memo(Broken()), Agent()
    assert [memo.decide("critic", FACTS, agent) for _ in range(3)] == ["spaces"] * 3
    assert memo.counts().failures > 0


def test_dump_and_load_are_given_together() -> None:
    with pytest.raises(BadInput, match="together"):
        made_memo(MemoryEntries(), dump=asdict)
