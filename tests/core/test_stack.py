"""The levers' order, and that one generator decides alike for plain, awaited and streamed calls."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenwise_core.errors import BadInput
from tokenwise_core.stack import ORDER, Course, Do, Proceed, Stack
from tokenwise_core.switch import disable, enable


class Broken(Exception):
    """The model's own failure."""


@dataclass
class Echo:
    """A model that says what it was asked, word by word; it fails the first *failures* times, after *said* words."""

    failures: int = 0
    said: int = 0
    calls: list[str] = field(default_factory=list)
    closed: int = 0

    def _fails(self, request: str) -> bool:
        self.calls.append(request)
        return len(self.calls) <= self.failures

    def call(self, request: str) -> str:
        if self._fails(request):
            raise Broken
        return request

    async def acall(self, request: str) -> str:
        return self.call(request)

    def open(self, request: str) -> Iterator[str]:
        fails = self._fails(request)
        return self._words(request, fails=fails)

    def _words(self, request: str, *, fails: bool) -> Iterator[str]:
        try:
            for number, word in enumerate(request.split(" ")):
                if fails and number == self.said:
                    raise Broken
                yield word
        finally:
            self.closed += 1

    async def aopen(self, request: str) -> AsyncIterator[str]:
        words = self.open(request)

        async def awaited() -> AsyncIterator[str]:
            try:
                for word in words:
                    yield word
            finally:
                words.close()  # type: ignore[attr-defined]

        return awaited()

    def gather(self, said: str | None, chunk: str) -> str:
        return chunk if said is None else f"{said} {chunk}"

    def replay(self, answer: str) -> Iterator[str]:
        yield from answer.split(" ")


class Seen:
    """A lever that writes down what passes it."""

    fails_closed = False

    def __init__(self, place: str, seen: list[str]) -> None:
        self.place, self.seen = place, seen

    def around(self, request: str) -> Course[str, str]:
        self.seen.append(f"{self.place}>")
        try:
            answer = yield Proceed(request)
        except BaseException as error:
            self.seen.append(f"{self.place}!{type(error).__name__}")
            raise
        self.seen.append(f"<{self.place}:{answer}")
        return answer


class Acts:
    """A lever made of a function."""

    def __init__(
        self, around: Callable[[str], Course[str, str]], *, place: str = "cache", fails_closed: bool = False
    ) -> None:
        self.around, self.place, self.fails_closed = around, place, fails_closed


def plain(stack: Stack[str, str], request: str, model: Echo) -> str:
    return stack.call(request, model)


def awaited(stack: Stack[str, str], request: str, model: Echo) -> str:
    return asyncio.run(stack.acall(request, model))


def streamed(stack: Stack[str, str], request: str, model: Echo) -> str:
    return " ".join(stack.stream(request, model))


def astreamed(stack: Stack[str, str], request: str, model: Echo) -> str:
    async def read() -> str:
        return " ".join([word async for word in await stack.astream(request, model)])

    return asyncio.run(read())


Way = Callable[[Stack[str, str], str, Echo], str]
WAYS: Sequence[Way] = (plain, awaited, streamed, astreamed)
every_way = pytest.mark.parametrize("way", WAYS)


@given(st.permutations(ORDER))
def test_whatever_order_levers_are_given_in_they_stand_in_the_one_order(places: list[str]) -> None:
    seen: list[str] = []
    Stack([Seen(place, seen) for place in places]).call("hi", Echo())
    assert seen == [f"{place}>" for place in ORDER] + [f"<{place}:hi" for place in reversed(ORDER)]


def test_two_levers_in_one_place_keep_the_order_in_which_they_were_given() -> None:
    first, second = Seen("memory", []), Seen("memory", [])
    assert Stack([first, second]).levers == (first, second)


def test_the_cache_stands_before_all_that_edits_the_request_and_what_each_attempt_does_stands_last() -> None:
    assert ORDER.index("cache") < min(ORDER.index(p) for p in ("budget", "memory", "tools", "compression", "routing"))
    assert ORDER[-2:] == ("retry", "attempt")


def test_a_lever_at_no_known_place_is_refused() -> None:
    with pytest.raises(BadInput, match="'nowhere'"):
        Stack([Seen("nowhere", [])])


@every_way
def test_a_call_without_levers_is_the_model_s(way: Way) -> None:
    assert way(Stack(), "one two", Echo()) == "one two"


@every_way
def test_a_lever_may_answer_without_the_model(way: Way) -> None:
    def around(request: str) -> Course[str, str]:
        return "from the shelf"
        yield

    model = Echo()
    assert way(Stack([Acts(around)]), "one", model) == "from the shelf"
    assert model.calls == []


@every_way
def test_a_lever_may_change_the_request_and_learns_the_answer(way: Way) -> None:
    seen: list[str] = []

    def around(request: str) -> Course[str, str]:
        return (yield Proceed(request.upper()))

    assert way(Stack([Acts(around, place="compression"), Seen("cache", seen)]), "one two", Echo()) == "ONE TWO"
    assert seen == ["cache>", "<cache:ONE TWO"]


@every_way
def test_a_lever_s_own_work_runs_in_the_way_of_the_call(way: Way) -> None:
    def now() -> str:
        return "now"

    async def later() -> str:
        return "later"

    def around(request: str) -> Course[str, str]:
        how = yield Do(now, later)
        return (yield Proceed(f"{request} {how}"))

    expected = "now" if way in {plain, streamed} else "later"
    assert way(Stack([Acts(around)]), "one", Echo()) == f"one {expected}"


@every_way
def test_an_exception_of_the_model_reaches_the_levers_and_then_the_caller_as_it_is(way: Way) -> None:
    seen: list[str] = []
    stack = Stack([Seen("cache", seen), Seen("routing", seen)])
    with pytest.raises(Broken):
        way(stack, "one", Echo(failures=9))
    assert seen == ["cache>", "routing>", "routing!Broken", "cache!Broken"]
    assert stack.errors == {}


@every_way
def test_a_lever_may_ask_again(way: Way) -> None:
    def around(request: str) -> Course[str, str]:
        for _ in range(3):
            try:
                return (yield Proceed(request))
            except Broken:
                pass
        raise AssertionError

    model = Echo(failures=2)
    assert way(Stack([Acts(around, place="retry")]), "one two", model) == "one two"
    assert len(model.calls) == 3


@pytest.mark.parametrize("way", [streamed, astreamed])
def test_a_stream_of_which_a_part_is_out_is_not_begun_anew(way: Way) -> None:
    def around(request: str) -> Course[str, str]:
        try:
            return (yield Proceed(request))
        except Broken:
            return (yield Proceed(request))

    model = Echo(failures=1, said=1)
    with pytest.raises(Broken):
        way(Stack([Acts(around, place="retry")]), "one two", model)
    assert len(model.calls) == 1


def failing_before(request: str) -> Course[str, str]:
    raise KeyError(request)
    yield


def failing_in_its_work(request: str) -> Course[str, str]:
    def fails() -> str:
        raise OSError

    async def fails_later() -> str:
        raise OSError

    yield Do(fails, fails_later)
    return (yield Proceed("changed"))


def failing_afterwards(request: str) -> Course[str, str]:
    answer = yield Proceed(request)
    raise KeyError(answer)


@every_way
@pytest.mark.parametrize("around", [failing_before, failing_in_its_work, failing_afterwards])
def test_a_lever_that_fails_is_gone_around_logged_and_counted(
    way: Way, around: Callable[[str], Course[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    stack, model = Stack([Acts(around)]), Echo()
    with caplog.at_level(logging.WARNING, logger="tokenwise.stack"):
        assert way(stack, "my secret", model) == "my secret"
    assert model.calls == ["my secret"]
    assert stack.errors == {"cache": 1}
    assert "'cache' failed" in caplog.text
    assert "secret" not in caplog.text


@every_way
def test_a_lever_that_fails_over_an_error_of_the_model_does_not_hide_it(way: Way) -> None:
    def around(request: str) -> Course[str, str]:
        try:
            return (yield Proceed(request))
        except Broken as error:
            raise KeyError from error

    with pytest.raises(Broken):
        way(Stack([Acts(around)]), "one", Echo(failures=9))


@every_way
def test_what_a_lever_that_fails_closed_raises_reaches_the_caller(way: Way) -> None:
    def around(request: str) -> Course[str, str]:
        raise BadInput("over budget")
        yield

    model = Echo()
    with pytest.raises(BadInput, match="over budget"):
        way(Stack([Acts(around, place="budget", fails_closed=True)]), "one", model)
    assert model.calls == []


@every_way
def test_where_the_product_is_switched_off_no_lever_is_asked(way: Way) -> None:
    seen: list[str] = []
    disable()
    try:
        assert way(Stack([Seen("cache", seen)]), "one", Echo()) == "one"
    finally:
        enable()
    assert seen == []


def test_a_lever_learns_the_answer_of_a_stream_only_when_it_has_ended() -> None:
    seen: list[str] = []
    words = Stack([Seen("cache", seen)]).stream("one two", Echo())
    assert next(words) == "one"
    assert seen == ["cache>"]
    assert list(words) == ["two"]
    assert seen == ["cache>", "<cache:one two"]


def test_a_stream_decides_and_asks_before_it_is_read() -> None:
    seen: list[str] = []
    model = Echo()
    Stack([Seen("cache", seen)]).stream("one", model)
    assert seen[0] == "cache>"
    assert model.calls == ["one"]


@pytest.mark.parametrize("read", [0, 1])
def test_a_stream_that_is_given_up_tells_the_levers_and_closes_the_model_s(read: int) -> None:
    seen: list[str] = []
    model = Echo()
    words = Stack([Seen("cache", seen), Seen("retry", seen)]).stream("one two", model)
    for _ in range(read):
        next(words)
    words.close()  # type: ignore[attr-defined]
    assert seen == ["cache>", "retry>", "retry!GeneratorExit", "cache!GeneratorExit"]
    assert model.closed == (1 if read else 0)  # a generator of the model's that never began has nothing to close


def test_a_stream_that_nobody_reads_is_given_up_when_it_is_forgotten() -> None:
    seen: list[str] = []
    words = Stack([Seen("cache", seen)]).stream("one two", Echo())
    del words
    assert seen == ["cache>", "cache!GeneratorExit"]


@pytest.mark.parametrize("read", [0, 1])
def test_an_awaited_stream_that_is_given_up_tells_the_levers_and_closes_the_model_s(read: int) -> None:
    seen: list[str] = []
    model = Echo()

    async def give_up() -> None:
        words: Any = await Stack([Seen("cache", seen), Seen("retry", seen)]).astream("one two", model)
        for _ in range(read):
            await anext(words)
        await words.aclose()

    asyncio.run(give_up())
    assert sorted(seen[2:]) == ["cache!GeneratorExit", "retry!GeneratorExit"]
    assert model.closed == (1 if read else 0)


def test_a_task_that_is_cancelled_tells_the_levers() -> None:
    seen: list[str] = []

    class Slow(Echo):
        async def acall(self, request: str) -> str:
            await asyncio.sleep(60)
            return request

    async def cancel() -> None:
        task = asyncio.create_task(Stack([Seen("cache", seen)]).acall("one", Slow()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert seen == ["cache>", "cache!CancelledError"]


def test_a_stream_whose_chunks_cannot_be_gathered_is_read_all_the_same() -> None:
    class Odd(Echo):
        def gather(self, said: str | None, chunk: str) -> str:
            raise TypeError

    seen: list[str] = []
    assert list(Stack([Seen("cache", seen)]).stream("one two", Odd())) == ["one", "two"]
    assert seen == ["cache>", "cache!GeneratorExit"]  # as good as given up: nothing can be kept of it


@given(st.lists(st.sampled_from(ORDER), max_size=6), st.sampled_from(WAYS), st.integers(0, 2**32))
def test_levers_that_fail_anywhere_never_change_what_the_caller_gets(places: list[str], way: Way, seed: int) -> None:
    chance = random.Random(seed)

    def careless(request: str) -> Course[str, str]:
        if chance.random() < 0.3:
            raise KeyError
        answer = yield Proceed(request)
        if chance.random() < 0.3:
            raise KeyError
        return answer

    stack = Stack([Acts(careless, place=place) for place in places])
    model = Echo()
    assert way(stack, "one two three", model) == "one two three"
    assert len(model.calls) == 1
