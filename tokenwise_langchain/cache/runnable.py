"""`CachedRunnable`: the semantic cache around a whole chain, before its retrieval."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.runnables.utils import ConfigurableFieldSpec
from pydantic import BaseModel

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.cache.semantic import SemanticCache
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.errors import BadInput
from tokenwise_core.switch import enabled
from tokenwise_langchain.cache.chains import QueryOf, make_up, streams_by_parts, take_apart
from tokenwise_langchain.cache.messages import to_cached
from tokenwise_langchain.cache.outputs import NotStorable, encode
from tokenwise_langchain.cache.parameters import canonical
from tokenwise_langchain.cache.requests import checked
from tokenwise_langchain.cache.turn import TagOf, Turn, answer_of, document_tags, tags_of
from tokenwise_langchain.cache.warming import KnownPair, checked_pairs, how_many, known_pairs
from tokenwise_langchain.runs import Guard, scoped, whose

In = TypeVar("In")
Out = TypeVar("Out")

_OF_GRAPHS = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns"})  # whose call it is; the scope has it


class CachedRunnable(Runnable[In, Out]):
    """A chain whose repeated and rephrased questions cost nothing: no retrieval, no model.

    >>> rag = CachedRunnable(chain, SemanticCache(namespace="desk"), query="question", name="handbook")
    >>> rag.stream({"question": "How long does a refund take?"})
    >>> rag.cache.invalidate("doc:refunds.md")            # the document has changed

    *query* says what is asked: a name in an input dict, a callable of the input (None: exact hits only), or by default
    the input that is a text, the last of a list of messages, the one value named `question`, `input`, …; all else in
    the input must be equal. *name* tells chains apart that share a cache; it may be left out where the whole chain can
    be read (functions and retrievers cannot). *version* is whatever else an answer depends on: raise it, and all older
    answers are gone. *category* is the one whose life and vetoes *cache* may have set apart.

    An answer depends on *tags* (a list, or a callable of the input) and on the documents that went in, were retrieved
    or came out, each under *tag_of* it: by default its id and its source. What may come out: texts, AI messages,
    documents, plain data, and pydantic objects of the chain's output type or of *models*; anything else is returned and
    not stored. So are streams that were broken off, and answers of which a part was truncated or refused.

    Equal calls at the same time make one. A hit runs a model that plays it back, so that handlers see it, marked.
    """

    def __init__(
        self,
        runnable: Runnable[In, Out],
        cache: SemanticCache,
        *,
        query: QueryOf = None,
        name: str | None = None,
        version: str = "",
        tags: Sequence[str] | Callable[[In], Iterable[str]] = (),
        tag_of: TagOf = document_tags,
        models: Sequence[type[BaseModel]] = (),
        category: str | None = None,
    ) -> None:
        opaque: list[str] = []
        make_up(runnable, opaque)
        if opaque and name is None:
            parts = ", ".join(dict.fromkeys(opaque))
            raise BadInput(
                f"name='…' is needed: two chains of {parts} cannot be told apart by what can be read of them"
            )
        self.runnable, self.cache, self.name = runnable, checked(cache), name
        self._query, self._version, self._tags, self._tag_of = query, version, tags, tag_of
        self._category = category
        self._classes = _classes(runnable, models)
        self._guard = Guard("cache")

    # What it is

    @property
    def errors(self) -> int:
        """How many lookups and stores failed; the chain ran in their place."""
        return self._guard.errors

    @property
    def InputType(self) -> Any:  # noqa: N802  LangChain's name
        return self.runnable.InputType

    @property
    def OutputType(self) -> Any:  # noqa: N802
        return self.runnable.OutputType

    def get_input_schema(self, config: RunnableConfig | None = None) -> Any:
        """Return the chain's own schema."""
        return self.runnable.get_input_schema(config)

    def get_output_schema(self, config: RunnableConfig | None = None) -> Any:
        """Return the chain's own schema."""
        return self.runnable.get_output_schema(config)

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """What can be configured in the chain."""
        return self.runnable.config_specs

    # Running

    def invoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Out:
        """Return the answer to *input*, from the cache or from the chain."""
        if not enabled():
            return self.runnable.invoke(input, config, **kwargs)
        return self._call_with_config(self._invoke, input, config, **kwargs)

    async def ainvoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Out:
        """Do the same without blocking the event loop."""
        if not enabled():
            return await self.runnable.ainvoke(input, config, **kwargs)
        return await self._acall_with_config(self._ainvoke, input, config, **kwargs)

    def stream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Out]:
        """Yield the answer in pieces; one from the cache, too."""
        if not enabled():
            yield from self.runnable.stream(input, config, **kwargs)
            return
        yield from self._transform_stream_with_config(iter((input,)), self._stream, config, **kwargs)

    async def astream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Out]:
        """Do the same without blocking the event loop."""
        if not enabled():
            async for piece in self.runnable.astream(input, config, **kwargs):
                yield piece
            return

        async def given() -> AsyncIterator[In]:
            yield input

        async for piece in self._atransform_stream_with_config(given(), self._astream, config, **kwargs):
            yield piece

    def _invoke(self, given: In, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Out:
        ticket: Ticket | None = None
        with self._guard("look up"), scoped(whose(config)):
            ticket = self.cache.begin(self._request(given, config, kwargs))
        turn = self._turn(ticket, config)
        if turn.replay is not None:
            return turn.answer(turn.replay.invoke(turn.question, turn.config))  # type: ignore[no-any-return]
        with turn:
            output = self.runnable.invoke(given, turn.config, **kwargs)
            turn.complete(output)
            return output

    async def _ainvoke(self, given: In, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Out:
        ticket: Ticket | None = None
        with self._guard("look up"), scoped(whose(config)):
            ticket = await self.cache.abegin(self._request(given, config, kwargs))
        turn = self._turn(ticket, config)
        if turn.replay is not None:
            return turn.answer(await turn.replay.ainvoke(turn.question, turn.config))  # type: ignore[no-any-return]
        with turn:
            output = await self.runnable.ainvoke(given, turn.config, **kwargs)
            turn.complete(output)
            return output

    def _stream(self, inputs: Iterator[In], run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Iterator[Any]:
        given = next(inputs)
        ticket: Ticket | None = None
        with self._guard("look up"), scoped(whose(config)):
            ticket = self.cache.begin(self._request(given, config, kwargs))
        turn = self._turn(ticket, config)
        if turn.replay is not None:
            played = list(turn.replay.stream(turn.question, turn.config))
            yield from turn.pieces(played, by_parts=streams_by_parts(self.runnable))
            return
        with turn:
            turn.is_streamed()
            came: list[Any] = []
            for piece in self.runnable.stream(given, turn.config, **kwargs):
                came.append(piece)
                yield piece
            turn.complete_stream(came)

    async def _astream(
        self, inputs: AsyncIterator[In], run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> AsyncIterator[Any]:
        given = await anext(inputs)
        ticket: Ticket | None = None
        with self._guard("look up"), scoped(whose(config)):
            ticket = await self.cache.abegin(self._request(given, config, kwargs))
        turn = self._turn(ticket, config)
        if turn.replay is not None:
            played = [chunk async for chunk in turn.replay.astream(turn.question, turn.config)]
            for piece in turn.pieces(played, by_parts=streams_by_parts(self.runnable)):
                yield piece
            return
        with turn:
            turn.is_streamed()
            came: list[Any] = []
            async for piece in self.runnable.astream(given, turn.config, **kwargs):
                came.append(piece)
                yield piece
            turn.complete_stream(came)

    # Filling it

    def warm(
        self,
        pairs: Iterable[tuple[In, Out]],
        *,
        config: RunnableConfig | None = None,
        progress: bool | None = None,
        total: int | None = None,
    ) -> int:
        """Store outputs that are known, with a progress bar in a terminal; return how many were handed to the store.

        A pair is an input and its output, as the chain takes and gives them; the documents in them are what it depends
        on, those that the chain would retrieve are not known. *config* is what the calls will come with. `BadInput` for
        a pair that cannot be used; those before it are stored.
        """
        known = ensure_config(config)
        made = ((self._request(p.question, known, {}), self._known(p)) for p in known_pairs(checked_pairs(pairs)))
        with scoped(whose(known)):
            return self.cache.warm(made, progress=progress, total=how_many(pairs, total))

    def _known(self, pair: KnownPair) -> CachedAnswer:
        output = pair.answer
        try:
            encoded = encode(output, self._classes)
        except NotStorable as error:
            raise pair.refused(
                f"{error}: give texts, AI messages, documents, plain data, or name it in models="
            ) from None
        made = to_cached([pair.choice()]) if isinstance(output, AIMessage) else CachedAnswer(text="")
        return answer_of(output, encoded, made=made, tags=tags_of(output, self._tag_of))

    # What is asked

    def _turn(self, ticket: Ticket | None, config: RunnableConfig) -> Turn:
        return Turn(ticket, config=config, classes=self._classes, tag_of=self._tag_of, guard=self._guard)

    def _request(self, given: In, config: RunnableConfig, kwargs: Mapping[str, Any]) -> CacheRequest:
        asked = take_apart(given, self._query)
        tags = self._tags(given) if callable(self._tags) else self._tags
        known = {spec.id for spec in self.runnable.config_specs} - _OF_GRAPHS
        configurable = {name: value for name, value in config.get("configurable", {}).items() if name in known}
        return CacheRequest(
            prompt=asked.prompt,
            model=self.name or type(self.runnable).__name__,
            parameters={
                "chain": make_up(self.runnable, []),  # anew: a model's settings may have changed
                "version": self._version,
                "config": canonical(configurable),
                "kwargs": canonical(kwargs),
                "output": sorted(self._classes),
            },
            extra={"input": asked.rest},
            query=asked.query,
            semantic=asked.semantic,
            category=self._category,
            tags=tuple(dict.fromkeys((*tags, *tags_of(given, self._tag_of)))),
        )


def _classes(runnable: Runnable[Any, Any], models: Sequence[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Return the pydantic classes that may come out, by name: those given, and the chain's declared output."""
    found = {model.__name__: model for model in models}
    with suppress(TypeError):  # a runnable that declares none
        declared = runnable.OutputType
        if isinstance(declared, type) and issubclass(declared, BaseModel) and not issubclass(declared, BaseMessage):
            found.setdefault(declared.__name__, declared)
    return found
