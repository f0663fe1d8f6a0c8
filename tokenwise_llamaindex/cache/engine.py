"""A query engine whose answers are cached before anything is retrieved."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.prompts.mixin import PromptDictType, PromptMixinType
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType
from typing_extensions import override

from tokenwise_core.cache import CachedAnswer, CacheRequest, Hit, SemanticCache, Ticket
from tokenwise_core.cache.gate import refused_answer
from tokenwise_core.errors import BadInput
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.stack import Course, Do, Proceed, Stack
from tokenwise_llamaindex.cache.epochs import index_epoch
from tokenwise_llamaindex.cache.hits import announce
from tokenwise_llamaindex.cache.identity import (
    EngineSetup,
    index_id_of,
    index_of,
    model_of,
    output_class_of,
    streams,
)
from tokenwise_llamaindex.cache.lever import a_cache, begun
from tokenwise_llamaindex.cache.parameters import model_label, provider_name
from tokenwise_llamaindex.cache.responses import dictated, documents_of, response_from, response_payload
from tokenwise_llamaindex.cache.spending import Spending, total, watched
from tokenwise_llamaindex.cache.warming import warmed

log = logging.getLogger("tokenwise.cache")

Epoch = str | int | Callable[[], str | int]
_NO_ANSWER = "Empty Response"  # what a synthesizer says where nothing was retrieved


class CachedQueryEngine(BaseQueryEngine):
    """A query engine that asks a cache first: a repeated or rephrased query costs neither retrieval nor a model call.

    >>> engine = CachedQueryEngine(index.as_query_engine(), cache=SemanticCache(shared=True))
    >>> engine.query("How long does a refund take?")

    An answer belongs to the engine as it is set up (retriever, prompts, model, …) and to what it searches: the index by
    its id, or what you *name*. Where no index can be found in it and no name is given, it is for this object alone.

    *epoch* is the state of what is searched; a callable is asked each time. By default answers die when nodes are put
    into the index or taken out; where the vector store keeps the nodes itself nothing can be seen of that: give an
    epoch, or call `cache.invalidate("doc:…")` for a document that has changed. Answers stand under the documents of
    their source nodes, and under *tags*. *output_cls* is what structured answers are objects of, where the engine does
    not tell.

    For chat engines wrap the model instead (`TokenwiseLLM`): what they ask depends on the conversation.
    """

    def __init__(
        self,
        engine: BaseQueryEngine,
        *,
        cache: SemanticCache,
        name: str | None = None,
        epoch: Epoch | None = None,
        tags: Sequence[str] = (),
        output_cls: type[BaseModel] | None = None,
    ) -> None:
        if not isinstance(engine, BaseQueryEngine):
            raise BadInput(
                f"engine is a {type(engine).__name__}: give a query engine, as index.as_query_engine() returns"
            )
        super().__init__(callback_manager=getattr(engine, "callback_manager", None))
        self.engine, self.cache = engine, a_cache(cache)
        lever = _QueryLever(engine, cache, name=name, epoch=epoch, tags=tuple(tags), output_cls=output_cls)
        self._lever, self._stack = lever, Stack([lever])
        self._model = _Answering(engine)

    def warm(
        self,
        pairs: Iterable[tuple[QueryType, str | Response]],
        *,
        progress: bool | None = None,
        total: int | None = None,
    ) -> int:
        """Store answers to questions in the cache, as if the engine had given them; return how many.

        A `Response` brings its source nodes, under whose documents the answer then stands. Objects are given as JSON.
        Where an engine does not tell that it streams (a router's), warm it after its first answer.

        >>> engine.warm([("How long does a refund take?", "Five working days.")])
        """
        return warmed(self.cache, pairs, self._lever.entry, progress=progress, total=total)

    @override
    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self._stack.call(_Query(bundle=query_bundle, awaited=False), self._model)

    @override
    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return await self._stack.acall(_Query(bundle=query_bundle, awaited=True), self._model)

    # The wrapped engine's own -----------------------------------------------------------------------------------------

    @override
    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self.engine.retrieve(query_bundle)

    @override
    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        return self.engine.synthesize(query_bundle, nodes, additional_source_nodes)

    @override
    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        return await self.engine.asynthesize(query_bundle, nodes, additional_source_nodes)

    @override
    def get_prompts(self) -> dict[str, BasePromptTemplate]:
        return self.engine.get_prompts()

    @override
    def update_prompts(self, prompts_dict: dict[str, BasePromptTemplate]) -> None:
        self.engine.update_prompts(prompts_dict)

    @override
    def _get_prompt_modules(self) -> PromptMixinType:
        return {"engine": self.engine}

    @override
    def _get_prompts(self) -> PromptDictType:
        return {}

    @override
    def _update_prompts(self, prompts: PromptDictType) -> None:
        """Do nothing: the prompts are the wrapped engine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    bundle: QueryBundle
    awaited: bool


class _Answering:
    """The engine behind the lever. Its streams are responses that hold a generator, so none is ever opened here."""

    def __init__(self, engine: BaseQueryEngine) -> None:
        self._engine = engine

    def call(self, request: _Query) -> RESPONSE_TYPE:
        return self._engine.query(request.bundle)

    async def acall(self, request: _Query) -> RESPONSE_TYPE:
        return await self._engine.aquery(request.bundle)


class _QueryLever:
    """The cache around an engine."""

    place = "cache"
    fails_closed = False

    def __init__(
        self,
        engine: BaseQueryEngine,
        cache: SemanticCache,
        *,
        name: str | None,
        epoch: Epoch | None,
        tags: tuple[str, ...],
        output_cls: type[BaseModel] | None,
    ) -> None:
        self._engine, self._cache, self._setup = engine, cache, EngineSetup(engine)
        self._own_name, self._epoch, self._tags, self._output_cls = name, epoch, tags, output_cls
        self._unnamed = uuid4().hex
        self._streams = False

    def around(self, request: _Query) -> Course[_Query, RESPONSE_TYPE]:
        """Look the query up; on a miss let it through and keep its response once it has been read to its end."""
        asked = self._request(request.bundle)
        if asked is None:
            response: RESPONSE_TYPE = yield Proceed(request)
            return response
        if self._is_streaming():  # who waits for a stream may be who reads it
            ticket: Ticket = yield Do(lambda: self._cache.lookup(asked), lambda: self._cache.alookup(asked))
        else:
            ticket = yield Do(lambda: begun(self._cache, asked), lambda: self._cache.abegin(asked))
        if ticket.hit is not None:
            return self._serve(request, ticket.hit)
        kept = _Kept(ticket=ticket, engine=self._engine, output_cls=self._object())
        with ExitStack() as held:
            held.enter_context(ticket)
            with watched(kept.spending):
                response = yield Proceed(request)
            if isinstance(response, StreamingResponse | AsyncStreamingResponse):
                self._streams = True
                held.pop_all()
                kept.follow(response)
            else:
                kept.keep(response, _text(response))
        return response

    def entry(self, query: object, answer: object) -> tuple[CacheRequest, CachedAnswer]:
        """Return what would be stored of a query and its answer; `BadInput` where nothing would be."""
        if not isinstance(query, str | QueryBundle):
            raise BadInput(f"the question is a {type(query).__name__}: give a text or a QueryBundle")
        asked = self._request(QueryBundle(query) if isinstance(query, str) else query)
        if asked is None:
            raise BadInput("the question holds an image or an embedding: such a query has no cache")
        response, text = dictated(answer, output_cls=self._object(), streamed=self._is_streaming())
        payload = response_payload(response, text)
        if payload is None:
            raise BadInput("a source node is of a class of your own, of which something could be lost")
        return asked, CachedAnswer(
            text=text,
            payload=payload,
            model=None if model_of(self._engine) is None else asked.model,
            provider=asked.provider,
            tags=documents_of(response.source_nodes),
        )

    def _request(self, bundle: QueryBundle) -> CacheRequest | None:
        """Return what identifies a query; None for one that is more than text."""
        if bundle.image_path is not None or bundle.embedding is not None:
            return None
        llm = model_of(self._engine)
        searched = self._own_name or index_id_of(self._engine) or self._unnamed
        extra = {"query_engine": self._setup.settings(), "searched": searched, "epoch": self._epoch_now()}
        return CacheRequest(
            prompt=Prompt(messages=(Message(role="user", text=bundle.query_str),)),
            model=type(self._engine).__name__ if llm is None else model_label(llm),
            provider=None if llm is None else provider_name(llm),
            extra={**extra, "embedded": bundle.custom_embedding_strs},
            query=bundle.query_str,
            semantic=not bundle.custom_embedding_strs,
            tags=self._tags,
        )

    def _epoch_now(self) -> str:
        if self._epoch is None:
            return f"index:{index_epoch(index_of(self._engine))}"
        return str(self._epoch() if callable(self._epoch) else self._epoch)

    def _is_streaming(self) -> bool:
        return self._streams or streams(self._engine)

    def _object(self) -> type[BaseModel] | None:
        return self._output_cls or output_class_of(self._engine)

    def _serve(self, request: _Query, hit: Hit) -> RESPONSE_TYPE:
        response = response_from(hit, output_cls=self._object(), awaited=request.awaited)
        llm = model_of(self._engine)
        said = ChatMessage(role=MessageRole.ASSISTANT, content=hit.answer.text)
        announce(
            hit,
            ChatResponse(message=said),
            messages=[ChatMessage(role=MessageRole.USER, content=request.bundle.query_str)],
            params={},
            model={"class_name": type(self._engine).__name__} if llm is None else llm.to_payload(),
            streamed=isinstance(response, StreamingResponse | AsyncStreamingResponse),
        )
        return response


class _Kept:
    """A response on its way into the cache."""

    def __init__(self, *, ticket: Ticket, engine: BaseQueryEngine, output_cls: type[BaseModel] | None) -> None:
        self._ticket, self._engine, self._output_cls = ticket, engine, output_cls
        self.spending = Spending()

    def follow(self, response: StreamingResponse | AsyncStreamingResponse) -> None:
        """Keep *response* when its stream has been read to its end."""
        self._ticket.is_streamed()
        if isinstance(response, StreamingResponse):
            response.response_gen = self._read(response, response.response_gen)
        else:
            response.response_gen = self._aread(response, response.response_gen)

    def _read(self, response: StreamingResponse, tokens: Generator[str, None, None]) -> Generator[str, None, None]:
        said: list[str] = []
        with self._ticket:
            try:
                while True:
                    with watched(self.spending):
                        token = next(tokens, None)
                    if token is None:
                        break
                    said.append(token)
                    yield token
            finally:
                tokens.close()
            self.keep(response, "".join(said))

    async def _aread(
        self, response: AsyncStreamingResponse, tokens: AsyncGenerator[str, None]
    ) -> AsyncGenerator[str, None]:
        said: list[str] = []
        with self._ticket:
            try:
                while True:
                    with watched(self.spending):
                        token = await anext(tokens, None)
                    if token is None:
                        break
                    said.append(token)
                    yield token
            finally:
                await tokens.aclose()
            self.keep(response, "".join(said))

    def keep(self, response: RESPONSE_TYPE, text: str | None) -> None:
        """Complete the ticket, if the response is whole and an answer."""
        try:
            answer = self._answer(response, text)
            if answer is not None:
                self._ticket.complete(answer)
        except Exception as error:  # fail-open: the response is the user's whatever becomes of our copy
            log.warning("a response could not be cached (%s)", type(error).__name__)

    def _answer(self, response: RESPONSE_TYPE, text: str | None) -> CachedAnswer | None:
        if text is None or (not response.source_nodes and text == self._no_answer()):
            return None
        if isinstance(response, PydanticResponse) and not isinstance(response.response, self._output_cls or ()):
            return None
        payload = response_payload(response, text)
        said = self.spending.answered()
        if payload is None or any(_is_cut(answered.answer.finish_reason) for answered in said):
            return None
        llm = model_of(self._engine)
        named = [answered.response_model for answered in said if answered.response_model]
        return CachedAnswer(
            text=text,
            payload=payload if text.strip() else {},  # core refuses what has neither text nor payload, and counts it
            model=named[-1] if named else None if llm is None else model_label(llm),
            provider=None if llm is None else provider_name(llm),
            usage=total(answered.usage for answered in said),
            tags=documents_of(response.source_nodes),
        )

    def _no_answer(self) -> str:
        synthesizer: Any = getattr(self._engine, "_response_synthesizer", None)
        return getattr(synthesizer, "_empty_response", _NO_ANSWER)


def _text(response: RESPONSE_TYPE) -> str | None:
    if isinstance(response, PydanticResponse):
        return None if response.response is None else response.response.model_dump_json()
    said: object = getattr(response, "response", None)
    return said if isinstance(said, str) else None


def _is_cut(finish_reason: str | None) -> bool:
    """Say whether a model stopped before it had said all, or would not say it."""
    return refused_answer(CachedAnswer(text="-", finish_reason=finish_reason), tool_calls=True) is not None
