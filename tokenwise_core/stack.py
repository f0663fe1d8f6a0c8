"""The levers in their one order, and a request's way through them: plain, awaited and streamed by the same decisions.

A lever is a generator around the call (`Lever.around`): it may answer by itself, change the request, ask again, or look
at the answer. It does not know whether somebody awaits the call or reads a stream: the drivers below do. What a lever's
own failure leads to (the call goes on without it) is decided here once, for all of them.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from tokenwise_core.errors import BadInput
from tokenwise_core.switch import enabled

log = logging.getLogger("tokenwise.stack")

R = TypeVar("R")
A = TypeVar("A")
C = TypeVar("C")
T = TypeVar("T")

ORDER = (
    "redaction", "cache", "budget", "allocation", "memory", "retrieval", "tools", "compression", "routing", "retry",
    "attempt",
)  # fmt: skip
"""The places of levers, outermost first. The cache stands before all that edits the request: its key is what the user
asked, and a hit spends no budget. Behind "retry" stands what each attempt does for itself (reserve, settle). The scope
stands before them all and is no lever: a contextvar."""


@dataclass(frozen=True, slots=True)
class Proceed(Generic[R]):
    """Go on with *request* to what stands behind this lever; its answer is sent back, or its exception thrown in."""

    request: R


@dataclass(frozen=True, slots=True)
class Do(Generic[T]):
    """Work of the lever's own that may wait: *now* in a thread, *later* on an event loop; its result is sent back."""

    now: Callable[[], T]
    later: Callable[[], Awaitable[T]]


Course = Generator[Proceed[R] | Do[Any], Any, A]
"""What `Lever.around` returns: yields steps, returns the answer."""


class Lever(Protocol[R, A]):  # type: ignore[misc]  # both stand in a generator: neither co- nor contravariant
    """One optimisation around a call.

    >>> class Polite:
    ...     place, fails_closed = "compression", False
    ...
    ...     def around(self, request):
    ...         answer = yield Proceed(request.removesuffix(", please"))
    ...         return answer + ", you're welcome"
    """

    @property
    def place(self) -> str:
        """Where it stands: one of `ORDER`."""
        ...

    @property
    def fails_closed(self) -> bool:
        """Whether what it raises reaches the caller (budgets, breakers); else the call goes on without it."""
        ...

    def around(self, request: R) -> Course[R, A]:
        """Begin a request's way through this lever.

        In a stream the answer of `Proceed` is what was gathered when it ended; one that was given up arrives as
        `GeneratorExit`.
        """
        ...


class Model(Protocol[R, A]):  # type: ignore[misc]  # as above, for who implements it
    """What stands behind the last lever."""

    def call(self, request: R) -> A:
        """Answer."""
        ...

    async def acall(self, request: R) -> A:
        """Answer, awaited."""
        ...


class StreamingModel(Model[R, A], Protocol[R, A, C]):  # type: ignore[misc]  # as above
    """A model that streams; it knows how chunks (*C*) make an answer (*A*), and an answer chunks."""

    def open(self, request: R) -> Iterator[C]:
        """Begin to answer as a stream."""
        ...

    async def aopen(self, request: R) -> AsyncIterator[C]:
        """Begin to answer as a stream, awaited."""
        ...

    def gather(self, said: A | None, chunk: C) -> A:
        """Return the answer so far with *chunk* added; *said* is None before the first one."""
        ...

    def replay(self, answer: A) -> Iterator[C]:
        """Cut an answer that is there already into at least one chunk."""
        ...


class Stack(Generic[R, A]):
    """Levers, sorted by `ORDER`; two in one place keep the order in which they were given."""

    def __init__(self, levers: Iterable[Lever[R, A]] = ()) -> None:
        given = list(levers)
        for lever in given:
            if lever.place not in ORDER:
                raise BadInput(f"a lever stands at {lever.place!r}: give one of {', '.join(ORDER)}")
        self.levers = tuple(sorted(given, key=lambda lever: ORDER.index(lever.place)))
        self._errors: Counter[str] = Counter()

    @property
    def errors(self) -> Mapping[str, int]:
        """How often a lever failed and the call went on without it, by place."""
        return dict(self._errors)

    def _passage(self, at: int, request: R) -> _Passage[R, A]:
        return _Passage(self.levers[at], request, self._errors)

    def _depth(self) -> int:
        return 0 if enabled() else len(self.levers)

    # Plain ------------------------------------------------------------------------------------------------------------

    def call(self, request: R, model: Model[R, A]) -> A:
        """Return the answer of *model* to *request*, or that of a lever in its stead."""
        return self._call(self._depth(), request, model)

    def _call(self, at: int, request: R, model: Model[R, A]) -> A:
        if at == len(self.levers):
            return model.call(request)
        passage = self._passage(at, request)
        step = passage.begin()
        while not isinstance(step, _Done):
            try:
                value = self._call(at + 1, step.request, model) if isinstance(step, Proceed) else step.now()
            except BaseException as error:
                step = passage.failed(error)
            else:
                step = passage.got(value)
        return step.answer

    # Awaited ----------------------------------------------------------------------------------------------------------

    async def acall(self, request: R, model: Model[R, A]) -> A:
        """Return the answer of *model* to *request*, or that of a lever in its stead; nothing blocks the loop."""
        return await self._acall(self._depth(), request, model)

    async def _acall(self, at: int, request: R, model: Model[R, A]) -> A:
        if at == len(self.levers):
            return await model.acall(request)
        passage = self._passage(at, request)
        step = passage.begin()
        while not isinstance(step, _Done):
            try:
                onward = self._acall(at + 1, step.request, model) if isinstance(step, Proceed) else step.later()
                value = await onward
            except BaseException as error:
                step = passage.failed(error)
            else:
                step = passage.got(value)
        return step.answer

    # Streams ----------------------------------------------------------------------------------------------------------

    def stream(self, request: R, model: StreamingModel[R, A, C]) -> Iterator[C]:
        """Return the chunks of an answer. The levers decide, and the model is asked, before this returns."""
        return self._open(self._depth(), request, model)

    def _open(self, at: int, request: R, model: StreamingModel[R, A, C]) -> Iterator[C]:
        if at == len(self.levers):
            return model.open(request)
        passage = self._passage(at, request)
        return self._resume(at, passage, passage.begin(), model)

    def _resume(
        self, at: int, passage: _Passage[R, A], step: _Step[R, A], model: StreamingModel[R, A, C]
    ) -> Iterator[C]:
        """Go on from *step* until there are chunks to read."""
        while not isinstance(step, _Done):
            try:
                if isinstance(step, Proceed):
                    return _begun(self._relay(at, passage, self._open(at + 1, step.request, model), model))
                value = step.now()
            except BaseException as error:
                step = passage.failed(error)
            else:
                step = passage.got(value)
        return model.replay(step.answer)

    def _relay(
        self, at: int, passage: _Passage[R, A], chunks: Iterator[C], model: StreamingModel[R, A, C]
    ) -> Generator[C, None, None]:
        """Hand the chunks on, and their sum to the lever at the end; the first `yield` is for `_begun`."""
        heard: _Heard[A, C] = _Heard(model)
        try:
            yield cast("C", None)
            for chunk in chunks:
                heard.add(chunk)
                yield chunk
        except GeneratorExit:
            _close(chunks)
            passage.give_up()
            raise
        except BaseException as error:
            step = passage.failed(error)
            if heard.begun:
                raise  # part of an answer is out: it cannot be begun anew
            yield from self._resume(at, passage, step, model)
        else:
            passage.ended(heard.said)

    async def astream(self, request: R, model: StreamingModel[R, A, C]) -> AsyncIterator[C]:
        """Return the chunks of an answer, awaited; see `stream`."""
        return await self._aopen(self._depth(), request, model)

    async def _aopen(self, at: int, request: R, model: StreamingModel[R, A, C]) -> AsyncIterator[C]:
        if at == len(self.levers):
            return await model.aopen(request)
        passage = self._passage(at, request)
        return await self._aresume(at, passage, passage.begin(), model)

    async def _aresume(
        self, at: int, passage: _Passage[R, A], step: _Step[R, A], model: StreamingModel[R, A, C]
    ) -> AsyncIterator[C]:
        while not isinstance(step, _Done):
            try:
                if isinstance(step, Proceed):
                    chunks = await self._aopen(at + 1, step.request, model)
                    return await _abegun(self._arelay(at, passage, chunks, model))
                value = await step.later()
            except BaseException as error:
                step = passage.failed(error)
            else:
                step = passage.got(value)
        return _awaited(model.replay(step.answer))

    async def _arelay(
        self, at: int, passage: _Passage[R, A], chunks: AsyncIterator[C], model: StreamingModel[R, A, C]
    ) -> AsyncGenerator[C, None]:
        heard: _Heard[A, C] = _Heard(model)
        try:
            yield cast("C", None)
            async for chunk in chunks:
                heard.add(chunk)
                yield chunk
        except GeneratorExit:
            passage.give_up()
            await _aclose(chunks)
            raise
        except BaseException as error:
            step = passage.failed(error)
            if heard.begun:
                raise
            async for chunk in await self._aresume(at, passage, step, model):
                yield chunk
        else:
            passage.ended(heard.said)


@dataclass(frozen=True, slots=True)
class _Done(Generic[A]):
    answer: A


_Step = Proceed[R] | Do[Any] | _Done[A]


class _Passage(Generic[R, A]):
    """One request's way through one lever; where the lever fails, the way around it."""

    __slots__ = ("_answers", "_course", "_errors", "_lever", "_raised", "_request", "_step", "_without")

    def __init__(self, lever: Lever[R, A], request: R, errors: Counter[str]) -> None:
        self._lever, self._request, self._errors = lever, request, errors
        self._course: Course[R, A] | None = None
        self._step: Proceed[R] | Do[Any] | None = None
        self._answers: list[A] = []
        self._raised: BaseException | None = None
        self._without = False

    def begin(self) -> _Step[R, A]:
        """Return the first step."""
        return self._on(next)

    def got(self, value: Any) -> _Step[R, A]:
        """Return the step after one that gave *value*."""
        if isinstance(self._step, Proceed):
            self._answers.append(value)
            if self._without:
                return _Done(value)
        return self._on(lambda course: course.send(value))

    def failed(self, error: BaseException) -> _Step[R, A]:
        """Return the step after one that raised *error*; raise it where the lever has nothing to say to it."""
        if self._without:
            raise error
        if isinstance(self._step, Proceed):
            self._raised = error
        return self._on(lambda course: course.throw(error))

    def ended(self, said: A | None) -> None:
        """Tell the lever that its stream ended well; what it would still change is too late: all has been read.

        None where nothing could be gathered: as good as given up.
        """
        if said is not None and not self._without:
            self.got(said)
        self.give_up()

    def give_up(self) -> None:
        """Tell the lever that nobody waits for an answer any more."""
        if self._course is not None:
            try:
                self._course.close()
            except Exception as error:  # fail-open
                self._note(error)

    def _on(self, move: Callable[[Course[R, A]], Proceed[R] | Do[Any]]) -> _Step[R, A]:
        try:
            if self._course is None:
                self._course = self._lever.around(self._request)
            self._step = move(self._course)
        except StopIteration as end:
            return _Done(end.value)
        except Exception as error:  # fail-open: an error of the lever's own
            if error is self._raised or self._lever.fails_closed:
                raise
            return self._around(error)
        return self._step

    def _around(self, error: Exception) -> _Step[R, A]:
        """Return the answer that is there already, else the step to take without the lever."""
        self._note(error)
        if self._answers:
            return _Done(self._answers[-1])
        if self._raised is not None:
            raise self._raised
        self._without = True
        self._step = Proceed(self._request)
        return self._step

    def _note(self, error: Exception) -> None:
        self._errors[self._lever.place] += 1
        log.warning("the lever %r failed (%s): the call goes on without it", self._lever.place, type(error).__name__)


class _Heard(Generic[A, C]):
    """What has been read of a stream: an answer, as far as its chunks could be gathered."""

    __slots__ = ("_model", "begun", "said")

    def __init__(self, model: StreamingModel[Any, A, C]) -> None:
        self._model: StreamingModel[Any, A, C] | None = model
        self.begun = False
        self.said: A | None = None

    def add(self, chunk: C) -> None:
        """Gather one more chunk."""
        self.begun = True
        if self._model is None:
            return
        try:
            self.said = self._model.gather(self.said, chunk)
        except Exception as error:  # fail-open: the reader gets the chunk, the levers no answer
            log.warning("a stream could not be gathered (%s): no lever learns its answer", type(error).__name__)
            self._model, self.said = None, None


def _begun(chunks: Generator[C, None, None]) -> Iterator[C]:
    """Return *chunks* begun: a generator that never began would not learn that it was given up."""
    next(chunks)
    return chunks


async def _abegun(chunks: AsyncGenerator[C, None]) -> AsyncIterator[C]:
    await anext(chunks)
    return chunks


async def _awaited(chunks: Iterator[C]) -> AsyncGenerator[C, None]:
    for chunk in chunks:
        yield chunk


def _close(chunks: Iterator[Any]) -> None:
    if isinstance(chunks, Generator):
        chunks.close()


async def _aclose(chunks: AsyncIterator[Any]) -> None:
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()
