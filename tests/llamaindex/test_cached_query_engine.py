"""`CachedQueryEngine`: cached before retrieval, under the documents that an answer was made from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex, get_response_synthesizer
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.chat_engine import CondenseQuestionChatEngine
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.prompts import PromptTemplate
from llama_index.core.query_engine import CustomQueryEngine, RetrieverQueryEngine, RouterQueryEngine
from llama_index.core.retrievers import BaseRetriever, VectorIndexRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import QueryEngineTool
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler

from tokenwise_core import scope
from tokenwise_core.cache import SemanticCache
from tokenwise_core.errors import BadInput
from tokenwise_core.usage.events import Status
from tokenwise_llamaindex import CachedQueryEngine, TokenBreakdownHandler, TokenwiseLLM
from tokenwise_llamaindex.cache.identity import EngineSetup

NewCache = Callable[..., SemanticCache]
QUESTION = "How long does a refund take?"
REPHRASED = "how long does a refund take"
PAGES = {"refunds": "Refunds take five working days.", "parcels": "The sender pays for the parcel."}


@pytest.fixture
def handbook() -> VectorStoreIndex:
    """An index over two documents."""
    return VectorStoreIndex.from_documents(
        [Document(text=text, doc_id=name) for name, text in PAGES.items()], embed_model=MockEmbedding(8)
    )


def numbered(clerk: Any, **fields: Any) -> Any:
    """A model that answers each call with its number."""
    inner = clerk(lambda _m, _p: f"answer {len(inner.calls)}", **fields)
    return inner


def ask(engine: Any, how: str, query: str | QueryBundle = QUESTION) -> str:
    async def awaited() -> str:
        response = await engine.aquery(query)
        if isinstance(response, AsyncStreamingResponse):
            return "".join([token async for token in response.async_response_gen()])
        return str(response)

    if how == "aquery":
        return asyncio.run(awaited())
    response = engine.query(query)
    return "".join(response.response_gen) if isinstance(response, StreamingResponse) else str(response)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("how", ["query", "aquery"])
def test_a_repeated_or_rephrased_query_costs_neither_retrieval_nor_a_model_call(
    how: str, streaming: bool, clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex, monkeypatch: Any
) -> None:
    inner = numbered(clerk)
    engine = handbook.as_query_engine(llm=inner, streaming=streaming)
    cached = CachedQueryEngine(engine, cache=cache)
    assert ask(cached, how) == "answer 1"
    cache.flush()
    monkeypatch.setattr(type(engine.retriever), "_retrieve", None)
    monkeypatch.setattr(type(engine.retriever), "_aretrieve", None)
    assert ask(cached, how) == ask(cached, how, REPHRASED) == ask(cached, how, QueryBundle(QUESTION)) == "answer 1"
    assert len(inner.calls) == 1


def test_a_response_comes_back_with_its_source_nodes(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    cached = CachedQueryEngine(handbook.as_query_engine(llm=numbered(clerk)), cache=cache)
    first, second = cached.query(QUESTION), cached.query(QUESTION)
    assert isinstance(second, Response)
    assert second.response == first.response
    assert second.get_formatted_sources() == first.get_formatted_sources()
    for given, kept in zip(first.source_nodes, second.source_nodes, strict=True):
        assert (kept.node_id, kept.score, kept.text) == (given.node_id, given.score, given.text)
        assert kept.node.ref_doc_id == given.node.ref_doc_id
        assert kept.node is not given.node
    assert second.metadata["tokenwise"]["cache"] == "exact"
    assert {name: second.metadata[name] for name in first.metadata} == first.metadata


async def test_a_stream_is_replayed_as_the_kind_of_stream_that_was_asked_for(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = clerk("one two three")
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner, streaming=True), cache=cache)
    first = cached.query(QUESTION)
    assert isinstance(first, StreamingResponse)
    assert str(first) == "one two three"
    plain, awaited = cached.query(QUESTION), await cached.aquery(QUESTION)
    assert list(plain.response_gen) == ["one", " two", " three"]
    assert [token async for token in awaited.async_response_gen()] == ["one", " two", " three"]
    assert plain.source_nodes[0].text == first.source_nodes[0].text
    assert len(inner.calls) == 1


async def test_a_stream_that_was_not_read_to_its_end_is_not_kept(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = clerk("one two three")
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner, streaming=True), cache=cache)
    next(cached.query(QUESTION).response_gen)
    cached.query(QUESTION)
    awaited = await cached.aquery(QUESTION)
    await anext(awaited.response_gen)
    await awaited.response_gen.aclose()
    calls = len(inner.calls)
    assert [str(cached.query(QUESTION)) for _ in range(2)] == ["one two three"] * 2
    assert len(inner.calls) == calls + 1


def test_an_error_of_the_engine_reaches_the_caller_and_nothing_is_kept(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = numbered(clerk, errors=1)
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    with pytest.raises(ConnectionError):
        cached.query(QUESTION)
    assert str(cached.query(QUESTION)) == "answer 2"


def test_a_truncated_answer_is_not_kept(clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex) -> None:
    inner = numbered(clerk, finish="length")
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    for _ in range(2):
        cached.query(QUESTION)
    assert len(inner.calls) == 2


@pytest.mark.parametrize("streaming", [False, True])
def test_an_answer_that_says_nothing_is_not_kept(
    streaming: bool, clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = clerk(" ")
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner, streaming=streaming), cache=cache)
    for _ in range(2):
        ask(cached, "query")
    assert len(inner.calls) == 2
    assert cache.stats().refused == {"empty": 2}


def test_that_nothing_was_found_is_not_kept(clerk: Any, cache: SemanticCache) -> None:
    index = VectorStoreIndex([], embed_model=MockEmbedding(8))
    for streaming in (False, True):
        cached = CachedQueryEngine(index.as_query_engine(llm=clerk(), streaming=streaming), cache=cache)
        assert str(cached.query(QUESTION)) == "Empty Response"
    cache.flush()
    assert cache.totals() == []


# When answers die -----------------------------------------------------------------------------------------------------


def test_a_changed_document_kills_the_answers_made_from_it_and_no_others(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = numbered(clerk)

    class ByName(BaseRetriever):
        """Finds the document that is named in the query."""

        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            nodes = handbook.docstore.docs.values()
            return [NodeWithScore(node=n, score=1.0) for n in nodes if n.ref_doc_id in query_bundle.query_str]

    synthesizer = get_response_synthesizer(llm=inner)
    engine = RetrieverQueryEngine(ByName(), response_synthesizer=synthesizer)
    cached = CachedQueryEngine(engine, cache=cache, name="handbook")
    queries = ("What about refunds?", "What about parcels?", "What about refunds and parcels?")
    for query in queries:
        cached.query(query)
    cache.invalidate("doc:refunds")
    assert [str(cached.query(query)) for query in queries] == ["answer 4", "answer 2", "answer 5"]


def test_a_document_that_changes_while_its_answer_is_made_kills_it_too(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    def changing(_messages: Any, _params: Any) -> str:
        cache.invalidate("doc:refunds")
        return f"answer {len(inner.calls)}"

    inner = clerk(changing)
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    cached.query(QUESTION)
    assert str(cached.query(QUESTION)) == "answer 2"


def test_putting_a_document_into_the_index_or_taking_it_out_is_another_epoch(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = numbered(clerk)
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    said = [str(cached.query(QUESTION))]
    handbook.insert(Document(text="Refunds take nine days at Easter.", doc_id="easter"))
    said.append(str(cached.query(QUESTION)))
    handbook.update_ref_doc(Document(text="Refunds take ten days at Easter.", doc_id="easter"))
    said.append(str(cached.query(QUESTION)))
    handbook.delete_ref_doc("easter", delete_from_docstore=True)
    said.append(str(cached.query(QUESTION)))
    assert said == ["answer 1", "answer 2", "answer 3", "answer 1"]  # the index is as it was at first


def of_two_nodes(refunds: str) -> VectorStoreIndex:
    """An index whose nodes have ids that the application gave them."""
    nodes = [TextNode(id_="refunds", text=refunds), TextNode(id_="parcels", text=PAGES["parcels"])]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(8))


def test_a_node_that_is_replaced_under_its_own_id_is_another_epoch(clerk: Any, cache: SemanticCache) -> None:
    index = of_two_nodes(PAGES["refunds"])
    cached = CachedQueryEngine(index.as_query_engine(llm=numbered(clerk)), cache=cache)
    assert str(cached.query(QUESTION)) == "answer 1"
    index.delete_nodes(["parcels"], delete_from_docstore=True)
    index.insert_nodes([TextNode(id_="parcels", text="We pay for the parcel.")])
    assert str(cached.query(QUESTION)) == "answer 2"
    index.docstore.add_documents([TextNode(id_="refunds", text="Refunds take nine days.")], allow_update=True)
    assert str(cached.query(QUESTION)) == "answer 3"
    assert str(cached.query(QUESTION)) == "answer 3"


def test_an_index_that_is_built_anew_from_the_same_ids_keeps_its_answers_only_while_its_texts_are_the_same(
    clerk: Any, cache: SemanticCache
) -> None:
    inner = numbered(clerk)

    def answer(refunds: str) -> str:
        engine = of_two_nodes(refunds).as_query_engine(llm=inner)
        return str(CachedQueryEngine(engine, cache=cache, name="handbook").query(QUESTION))

    assert answer(PAGES["refunds"]) == answer(PAGES["refunds"]) == "answer 1"
    assert answer("Refunds take nine working days.") == "answer 2"


def test_the_user_s_own_epoch_is_asked_each_time(clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex) -> None:
    inner, version = numbered(clerk), [1]
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache, epoch=lambda: version[0])
    cached.query(QUESTION)
    handbook.insert(Document(text="Something else."))
    assert str(cached.query(QUESTION)) == "answer 1"
    version[0] = 2
    assert str(cached.query(QUESTION)) == "answer 2"


def test_the_user_s_own_tags_kill_answers_too(clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex) -> None:
    cached = CachedQueryEngine(handbook.as_query_engine(llm=numbered(clerk)), cache=cache, tags=["release"])
    cached.query(QUESTION)
    cache.invalidate("release")
    assert str(cached.query(QUESTION)) == "answer 2"


# Whose answers they are -----------------------------------------------------------------------------------------------


def test_an_engine_that_is_built_for_each_request_finds_its_answers(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = numbered(clerk)
    for _ in range(2):
        answer = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache).query(QUESTION)
    assert str(answer) == "answer 1"


def test_engines_over_two_indexes_never_share_answers(clerk: Any, cache: SemanticCache) -> None:
    inner = numbered(clerk)
    for text in PAGES.values():
        index = VectorStoreIndex([TextNode(id_="1", text=text)], embed_model=MockEmbedding(8))
        CachedQueryEngine(index.as_query_engine(llm=inner), cache=cache).query(QUESTION)
    assert len(inner.calls) == 2


TENANT = MetadataFilters(filters=[MetadataFilter(key="tenant", value="a")])
TEMPLATE = PromptTemplate("{context_str} {query_str} Answer in rhyme.")


@pytest.mark.parametrize(
    "options",
    [
        {"similarity_top_k": 1},
        {"filters": TENANT},
        {"doc_ids": ["refunds"]},
        {"response_mode": "tree_summarize"},
        {"text_qa_template": TEMPLATE},
        {"node_postprocessors": [SimilarityPostprocessor(similarity_cutoff=0.1)]},
    ],
)
def test_engines_that_are_set_up_otherwise_never_share_answers(
    options: dict[str, Any], clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = numbered(clerk)
    CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache).query(QUESTION)
    cache.flush()
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner, **options), cache=cache)
    assert "answer 1" not in str(cached.query(QUESTION))


@pytest.mark.parametrize("wrap", [lambda inner: inner, TokenwiseLLM])
def test_engines_with_two_models_never_share_answers(
    wrap: Any, clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    one, other = numbered(clerk, temperature=0.0), numbered(clerk, temperature=1.0)
    for inner in (one, other):
        CachedQueryEngine(handbook.as_query_engine(llm=wrap(inner)), cache=cache).query(QUESTION)
    assert (len(one.calls), len(other.calls)) == (1, 1)


def test_a_prompt_that_is_changed_later_is_another_engine(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    cached = CachedQueryEngine(handbook.as_query_engine(llm=numbered(clerk)), cache=cache)
    cached.query(QUESTION)
    assert "response_synthesizer:text_qa_template" in cached.get_prompts()
    cached.update_prompts({"response_synthesizer:text_qa_template": TEMPLATE})
    assert str(cached.query(QUESTION)) == "answer 2"


def test_no_secret_is_in_what_identifies_an_engine(clerk: Any, handbook: VectorStoreIndex) -> None:
    class Remote(BaseRetriever):
        def __init__(self) -> None:
            super().__init__()
            self.api_key, self.address, self.top = "hunter2", "https://bob:hunter2@search.example/v1", 3

        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            return []

    engine = RetrieverQueryEngine(Remote(), response_synthesizer=get_response_synthesizer(llm=clerk()))
    known = json.dumps(EngineSetup(engine).settings())
    assert "hunter2" not in known
    assert "very-secret" not in known
    assert "search.example/v1" in known
    assert '"top": 3' in known


def test_the_nodes_that_a_retriever_is_limited_to_are_part_of_it_however_many(clerk: Any, cache: SemanticCache) -> None:
    nodes = [TextNode(id_=f"n{n}", text=f"Page {n}.") for n in range(200)]
    index = VectorStoreIndex(nodes, embed_model=MockEmbedding(8))
    inner = numbered(clerk)
    for ids in ([f"n{n}" for n in range(150)], [f"n{n}" for n in range(149)] + ["n199"]):
        engine = RetrieverQueryEngine(
            VectorIndexRetriever(index, node_ids=ids), response_synthesizer=get_response_synthesizer(llm=inner)
        )
        for _ in range(2):
            CachedQueryEngine(engine, cache=cache).query(QUESTION)
    assert len(inner.calls) == 2


class Fixed(CustomQueryEngine):
    """An engine in which there is no index to be found."""

    text: str
    asked: int = 0

    def custom_query(self, query_str: str) -> str:
        self.asked += 1
        return self.text


def test_custom_engines_are_cached_each_for_itself_or_by_name(cache: SemanticCache) -> None:
    one, other = Fixed(text="one"), Fixed(text="other")
    for engine in (one, other, one):
        cached = CachedQueryEngine(engine, cache=cache)
        assert [str(cached.query(QUESTION)), asyncio.run(_said(cached))] == [engine.text] * 2
    assert (one.asked, other.asked) == (2, 1)
    for engine in (one, other):
        assert str(CachedQueryEngine(engine, cache=cache, name="fixed").query(QUESTION)) == "one"


async def _said(engine: Any) -> str:
    return str(await engine.aquery(QUESTION))


def test_a_query_that_is_more_than_text_is_compared_as_such_or_not_cached(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    cached = CachedQueryEngine(handbook.as_query_engine(llm=numbered(clerk)), cache=cache)
    said = [str(cached.query(QUESTION))]
    said += [str(cached.query(QueryBundle(QUESTION, custom_embedding_strs=[text]))) for text in ("a", "b", "a")]
    said += [str(cached.query(QueryBundle(QUESTION, embedding=[0.1] * 8))) for _ in range(2)]
    assert said == [f"answer {n}" for n in (1, 2, 3, 2, 4, 5)]


# Objects --------------------------------------------------------------------------------------------------------------


class Days(BaseModel):
    days: int


def test_an_answer_that_is_an_object_comes_back_as_one(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = clerk('{"days": 5}', pydantic_program_mode="llm")
    for engine in (
        handbook.as_query_engine(llm=inner, output_cls=Days, response_mode="tree_summarize"),
        handbook.as_query_engine(llm=inner.as_structured_llm(Days)),
    ):
        cached = CachedQueryEngine(engine, cache=cache)
        before = len(inner.calls)
        responses = [cached.query(QUESTION) for _ in range(2)]
        assert [type(response) for response in responses] == [PydanticResponse] * 2
        assert [response.response for response in responses] == [Days(days=5)] * 2
        assert len(inner.calls) == before + 1


def test_an_object_whose_class_only_the_user_knows_is_kept_where_it_is_said(cache: SemanticCache) -> None:
    class Told(CustomQueryEngine):
        asked: int = 0

        def custom_query(self, query_str: str) -> Any:
            self.asked += 1
            return PydanticResponse(Days(days=5))

    for output_cls, asked in ((None, 2), (Days, 1)):
        engine = Told()
        cached = CachedQueryEngine(engine, cache=cache, output_cls=output_cls)
        for _ in range(2):
            assert cached.query(QUESTION).response == Days(days=5)
        assert engine.asked == asked


# In its place ---------------------------------------------------------------------------------------------------------


class Heard(BaseEventHandler):
    names: list[str] = []  # noqa: RUF012  pydantic copies it

    def handle(self, event: Any, **kwargs: Any) -> None:
        self.names.append(event.class_name())


@pytest.fixture
def heard() -> Iterator[list[str]]:
    handler, root = Heard(), get_dispatcher()
    root.event_handlers = [*root.event_handlers, handler]
    yield handler.names
    root.event_handlers = [other for other in root.event_handlers if other is not handler]


def test_queries_are_told_of_as_ever_and_a_hit_as_one(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex, heard: list[str]
) -> None:
    cached = CachedQueryEngine(handbook.as_query_engine(llm=clerk()), cache=cache)
    cached.query(QUESTION)
    assert {"QueryStartEvent", "RetrievalStartEvent", "LLMChatStartEvent", "QueryEndEvent"} <= set(heard)
    heard.clear()
    cached.query(QUESTION)
    assert heard == ["QueryStartEvent", "TokenwiseCacheHitEvent", "QueryEndEvent"]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("how", ["query", "aquery"])
def test_a_hit_is_booked_with_all_that_the_query_had_cost(
    how: str,
    streaming: bool,
    clerk: Any,
    cache: SemanticCache,
    handbook: VectorStoreIndex,
    tracker: TokenBreakdownHandler,
) -> None:
    engine = handbook.as_query_engine(llm=clerk(), response_mode="refine", streaming=streaming)
    cached = CachedQueryEngine(engine, cache=cache)
    for _ in range(2):
        ask(cached, how)
    chats = [event for event in tracker.events() if event.operation == "chat"]
    assert [event.status for event in chats] == [Status.OK, Status.OK, Status.CACHE_HIT]  # refined once
    (saving,) = chats[-1].savings
    assert (saving.lever, saving.reason) == ("semantic_cache", "exact")
    assert (saving.counterfactual.input_tokens, saving.counterfactual.output_tokens) == (200, 40)
    assert chats[-1].response_model == "clerk-1"


def test_what_other_queries_cost_at_the_same_time_is_not_booked_with_it(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    cached = CachedQueryEngine(handbook.as_query_engine(llm=clerk(delay_s=0.02)), cache=cache)

    async def all_at_once() -> None:
        await asyncio.gather(*(cached.aquery(f"Question number {n}") for n in range(8)))

    asyncio.run(all_at_once())
    hits = [cached.query(f"Question number {n}") for n in range(8)]
    assert [hit.metadata["tokenwise"]["saved_tokens"] for hit in hits] == [120] * 8
    assert "TokenwiseSpendingHandler" not in [handler.class_name() for handler in get_dispatcher().event_handlers]


async def test_equal_queries_at_once_are_one(clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex) -> None:
    inner = clerk(delay_s=0.05)
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    await asyncio.gather(*(cached.aquery(QUESTION) for _ in range(10)))
    assert len(inner.calls) == 1


def test_it_is_an_engine_of_a_router(clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex) -> None:
    inner = numbered(clerk)
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    chooser = clerk('[{"choice": 1, "reason": "it is the only one"}]')
    router = RouterQueryEngine(
        selector=LLMSingleSelector.from_defaults(llm=chooser),
        query_engine_tools=[QueryEngineTool.from_defaults(cached, name="handbook", description="Refunds")],
        llm=chooser,
    )
    assert [str(router.query(QUESTION)) for _ in range(2)] == ["answer 1"] * 2
    assert len(inner.calls) == 1


async def test_it_is_a_tool_of_an_agent(clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex) -> None:
    def calling(messages: Any, _params: Any) -> ChatMessage:
        if messages[-1].role == "tool":
            return ChatMessage(role="assistant", content=f"It says: {messages[-1].content}")
        call = ToolCallBlock(tool_call_id="1", tool_name="handbook", tool_kwargs={"input": QUESTION})
        return ChatMessage(role="assistant", blocks=[call])

    inner = numbered(clerk)
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    tool = QueryEngineTool.from_defaults(cached, name="handbook", description="Refunds")
    agent = FunctionAgent(tools=[tool], llm=clerk(calling))
    for _ in range(2):
        assert str(await agent.run("How long?")) == "It says: answer 1"
    assert len(inner.calls) == 1


def test_it_is_the_engine_of_a_chat_engine(clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex) -> None:
    inner = numbered(clerk)
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    for _ in range(2):
        chat = CondenseQuestionChatEngine.from_defaults(query_engine=cached, llm=clerk(QUESTION))
        assert str(chat.chat("And how long?")) == "answer 1"
    assert len(inner.calls) == 1


def test_retrieval_and_synthesis_by_hand_are_the_engine_s(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    cached = CachedQueryEngine(handbook.as_query_engine(llm=numbered(clerk)), cache=cache)
    nodes = cached.retrieve(QueryBundle(QUESTION))
    assert {node.node.ref_doc_id for node in nodes} == set(PAGES)
    assert str(cached.synthesize(QueryBundle(QUESTION), nodes)) == "answer 1"


def test_around_a_wrapped_model_each_query_is_booked_once(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex, tracker: TokenBreakdownHandler
) -> None:
    llm = TokenwiseLLM(clerk(), cache=cache)
    cached = CachedQueryEngine(handbook.as_query_engine(llm=llm), cache=cache)
    for _ in range(2):
        cached.query(QUESTION)
    chats = [event.status for event in tracker.events() if event.operation == "chat"]
    assert chats == [Status.OK, Status.CACHE_HIT]


def test_tenants_never_see_each_other_s_answers(clerk: Any, new_cache: NewCache, handbook: VectorStoreIndex) -> None:
    cached = CachedQueryEngine(
        handbook.as_query_engine(llm=numbered(clerk)), cache=new_cache(namespace=lambda s: s.user)
    )
    said = []
    for user in ("ann", "bob", "ann", None):
        with scope(user=user):
            said.append(str(cached.query(QUESTION)))
    assert said == ["answer 1", "answer 2", "answer 1", "answer 3"]


def test_a_node_of_the_application_s_own_class_is_left_alone(clerk: Any, cache: SemanticCache) -> None:
    class Page(TextNode):
        secret: str = "x"

    index = VectorStoreIndex([Page(text=PAGES["refunds"])], embed_model=MockEmbedding(8))
    inner = numbered(clerk)
    cached = CachedQueryEngine(index.as_query_engine(llm=inner), cache=cache)
    first, second = cached.query(QUESTION), cached.query(QUESTION)
    assert type(first.source_nodes[0].node) is type(second.source_nodes[0].node)


def test_streams_of_an_engine_that_does_not_tell_are_kept_too(cache: SemanticCache) -> None:
    class Streaming(CustomQueryEngine):
        asked: int = 0

        def custom_query(self, query_str: str) -> Any:
            self.asked += 1
            return StreamingResponse(_tokens())

        async def acustom_query(self, query_str: str) -> Any:
            self.asked += 1
            return AsyncStreamingResponse(_atokens())

    engine = Streaming()
    cached = CachedQueryEngine(engine, cache=cache)
    unread = cached.query("another question")
    assert [ask(cached, "query"), ask(cached, "aquery"), ask(cached, "query")] == ["one two"] * 3
    assert engine.asked == 2
    assert list(unread.response_gen) == ["one ", "two"]


def _tokens() -> Generator[str, None, None]:
    yield from ("one ", "two")


async def _atokens() -> AsyncGenerator[str, None]:
    for token in _tokens():
        yield token


class Told(CustomQueryEngine):
    """An engine of the application's own: nothing tells that the one inside answers in streams."""

    inside: Any

    def custom_query(self, query_str: str) -> Any:
        return self.inside.query(query_str)


def test_a_hit_is_a_stream_where_the_answer_was_one_even_before_the_engine_has_answered(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    engine = handbook.as_query_engine(llm=numbered(clerk), streaming=True)
    assert ask(CachedQueryEngine(Told(inside=engine), cache=cache, name="told"), "query") == "answer 1"
    hit = CachedQueryEngine(Told(inside=engine), cache=cache, name="told").query(QUESTION)
    assert isinstance(hit, StreamingResponse)
    assert "".join(hit.response_gen) == "answer 1"


def test_what_does_not_stream_in_a_streaming_engine_is_no_stream_as_a_hit_either(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Settings, "_llm", clerk(lambda _m, _p: ""))  # such a synthesizer looks for a model there
    engine = handbook.as_query_engine(llm=numbered(clerk), streaming=True, response_mode="context_only")
    cached = CachedQueryEngine(engine, cache=cache)
    assert type(cached.query(QUESTION)) is type(cached.query(QUESTION)) is Response


def test_what_is_no_query_engine_is_refused_when_it_is_wrapped(
    cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    with pytest.raises(BadInput, match="as_query_engine"):
        CachedQueryEngine(handbook, cache=cache)  # type: ignore[arg-type]
