"""The cache around whole chains: before retrieval, by every way to run them, for every kind of output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, PrivateAttr

from tokenwise_core.cache import SemanticCache
from tokenwise_core.errors import BadInput
from tokenwise_core.scoping import scope
from tokenwise_core.switch import disable, enable
from tokenwise_core.usage.events import Status
from tokenwise_langchain import CachedRunnable, TokenBreakdownHandler

QUESTION = "How long does a refund take?"
SAME = "how long does a refund take"
ANSWER = f"Answer to: {QUESTION}"
NewCache = Callable[..., SemanticCache]
PROMPT = ChatPromptTemplate.from_messages([("system", "You are a desk."), ("human", "{question}")])


class Pages(BaseRetriever):
    """Finds one page, and counts how often it is asked."""

    _asked: list[str] = PrivateAttr(default_factory=list)

    def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
        self._asked.append(query)
        return [Document("Refunds take five days.", id="refunds", metadata={"source": "refunds.md", "page": 3})]


class Verdict(BaseModel):
    answer: str


@pytest.fixture
def model(counted: Any) -> Any:
    return counted()


@pytest.fixture
def chain(model: Any) -> Runnable[Any, Any]:
    return PROMPT | model | StrOutputParser()


def asked(question: str = QUESTION, **more: Any) -> dict[str, Any]:
    return {"question": question, **more}


async def in_pieces(runnable: Runnable[Any, Any], given: Any) -> str:
    return "".join([piece async for piece in runnable.astream(given)])


WAYS: dict[str, Callable[[Runnable[Any, Any], Any], Any]] = {
    "invoke": lambda r, given: r.invoke(given),
    "ainvoke": lambda r, given: asyncio.run(r.ainvoke(given)),
    "stream": lambda r, given: "".join(r.stream(given)),
    "astream": lambda r, given: asyncio.run(in_pieces(r, given)),
    "batch": lambda r, given: r.batch([given])[0],
    "abatch": lambda r, given: asyncio.run(r.abatch([given]))[0],
    "transform": lambda r, given: "".join(r.transform(iter([given]))),
}


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", ["invoke", "astream"])
def test_what_one_way_stored_every_way_serves(
    chain: Runnable[Any, Any], model: Any, new_cache: NewCache, first: str, second: str
) -> None:
    cached = CachedRunnable(chain, new_cache())
    assert WAYS[first](cached, asked()) == ANSWER
    cached.cache.flush()
    assert WAYS[second](cached, asked()) == ANSWER
    assert WAYS[second](cached, asked(SAME)) == ANSWER
    assert model.calls == 1
    assert cached.errors == 0


def test_a_rag_chain_is_cached_before_its_retrieval(
    model: Any, new_cache: NewCache, handler: TokenBreakdownHandler
) -> None:
    pages = Pages()
    prompt = ChatPromptTemplate.from_template("Context:\n{context}\n\nQuestion: {question}")
    rag = {"context": pages, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()
    cached = CachedRunnable(rag, new_cache(), name="handbook")
    for question in (QUESTION, QUESTION, SAME):
        cached.invoke(question, {"callbacks": [handler]})
        cached.cache.flush()
    assert len(pages._asked) == model.calls == 1
    assert [event.status for event in handler.events()] == [Status.OK, Status.CACHE_HIT, Status.CACHE_HIT]
    for hit, kind in zip(handler.events()[1:], ("exact", "semantic"), strict=True):
        (saving,) = hit.savings
        assert (saving.lever, saving.reason, saving.saved.tokens) == ("semantic_cache", kind, 100)
        assert hit.model == "gpt-5-mini"


@pytest.mark.parametrize("tag", ["doc:refunds", "index:desk"])
def test_a_document_that_changes_kills_the_answers_made_of_it(model: Any, new_cache: NewCache, tag: str) -> None:
    pages = Pages()
    rag = RunnableParallel(context=pages, question=RunnablePassthrough()) | RunnableLambda(str) | model
    cached = CachedRunnable(rag, new_cache(), name="handbook", tags=["index:desk"])
    cached.invoke(QUESTION)
    cached.cache.invalidate("doc:another")
    cached.invoke(QUESTION)
    assert model.calls == 1
    cached.cache.invalidate(tag)
    cached.invoke(QUESTION)
    assert model.calls == 2


@pytest.mark.parametrize("tag", ["doc:refunds.md", "doc:chunk-7"])
def test_a_chunk_with_an_id_dies_with_its_source_too(model: Any, new_cache: NewCache, tag: str) -> None:
    pages = RunnableLambda(lambda _: [Document("Five days.", id="chunk-7", metadata={"source": "refunds.md"})])
    cached = CachedRunnable(pages | RunnableLambda(str) | model, new_cache(), name="chain")
    cached.invoke(QUESTION)
    cached.cache.invalidate(tag)
    cached.invoke(QUESTION)
    assert model.calls == 2


@pytest.mark.parametrize("step", ["function", "tool"])
def test_documents_that_a_function_or_a_tool_finds_are_tags_too(model: Any, new_cache: NewCache, step: str) -> None:
    page = Document("Refunds take five days.", metadata={"source": "refunds.md"})

    @tool(response_format="content_and_artifact")
    def search(question: str) -> tuple[str, list[Document]]:
        """Search the pages."""
        return page.page_content, [page]

    def by_tool(question: str) -> Any:
        return search.invoke({"name": "search", "args": {"question": question}, "id": "c", "type": "tool_call"})

    found = RunnableLambda(by_tool if step == "tool" else lambda question: [page])
    cached = CachedRunnable(found | RunnableLambda(str) | model | StrOutputParser(), new_cache(), name="chain")
    cached.invoke(QUESTION)
    cached.cache.invalidate("doc:refunds.md")
    cached.invoke(QUESTION)
    assert model.calls == 2


def test_documents_that_go_in_are_tags_too(chain: Runnable[Any, Any], model: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(chain, new_cache(), query="question", tag_of=lambda document: document.metadata["key"])
    given = asked(context=[Document("Refunds take five days.", metadata={"key": "k1"})])
    cached.invoke(given)
    cached.cache.invalidate("k1")
    cached.invoke(given)
    assert model.calls == 2


# outputs


def served(chain: Any, cache: SemanticCache, given: Any = None, **settings: Any) -> tuple[Any, Any]:
    cached = CachedRunnable(chain, cache, name="chain", **settings)
    first = cached.invoke(given or asked())
    second = cached.invoke(given or asked())
    assert cached.cache.stats().hits == {"exact": 1}
    assert cached.errors == 0
    return first, second


def test_a_message_comes_back_as_a_new_one_marked(model: Any, new_cache: NewCache) -> None:
    first, second = served(PROMPT | model, new_cache())
    assert isinstance(second, AIMessage)
    assert second.text == first.text
    assert second.id not in (None, first.id)
    assert second.response_metadata["tokenwise"]["cache"] == "exact"
    assert second.usage_metadata["total_tokens"] == 100


def test_a_message_served_in_a_node_of_a_graph_streams_once(counted: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(counted(), new_cache(), name="chain")

    def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [cached.invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()
    given: Any = {"messages": [HumanMessage(QUESTION)]}
    streams = [list(graph.stream(given, stream_mode="messages")) for _ in range(2)]
    assert cached.cache.stats().hits == {"exact": 1}
    assert ["".join(chunk.text for chunk, _ in stream) for stream in streams] == [ANSWER, ANSWER]


async def test_so_it_does_in_async_code(counted: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(counted(), new_cache(), name="chain")

    async def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await cached.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()
    given: Any = {"messages": [HumanMessage(QUESTION)]}
    streams = [[chunk async for chunk, _ in graph.astream(given, stream_mode="messages")] for _ in range(2)]
    assert cached.cache.stats().hits == {"exact": 1}
    assert ["".join(chunk.text for chunk in stream) for stream in streams] == [ANSWER, ANSWER]


def test_an_answer_with_its_documents_comes_back_whole(model: Any, new_cache: NewCache) -> None:
    rag = RunnablePassthrough.assign(context=lambda given: Pages().invoke(given["question"])).assign(
        answer=PROMPT | model
    )
    first, second = served(rag, new_cache(), asked(style=["short", 1, None, 2.5]))
    assert second["context"] == first["context"]
    assert second["context"] is not first["context"]
    assert second["answer"].text == ANSWER
    assert second["style"] == ["short", 1, None, 2.5]


def test_a_pydantic_object_of_the_declared_output_comes_back(counted: Any, new_cache: NewCache) -> None:
    model = counted(says='{"answer": "Five days."}')
    first, second = served(PROMPT | model | PydanticOutputParser(pydantic_object=Verdict), new_cache())
    assert first == second == Verdict(answer="Five days.")


def test_a_pydantic_class_that_was_not_told_is_not_stored(counted: Any, new_cache: NewCache) -> None:
    model = counted()
    chain = PROMPT | model | RunnableLambda(lambda message: {"verdict": Verdict(answer=message.text)})
    cached = CachedRunnable(chain, new_cache(), name="chain")
    assert [cached.invoke(asked())["verdict"].answer for _ in range(2)] == [ANSWER, ANSWER]
    assert model.calls == 2
    told = CachedRunnable(chain, new_cache(), name="chain", models=[Verdict])
    assert [told.invoke(asked()) for _ in range(2)] == [{"verdict": Verdict(answer=ANSWER)}] * 2
    assert model.calls == 3


@pytest.mark.parametrize("output", [object(), {1: "a"}, ("a",), {"a": {1}}, b"a"])
def test_what_json_cannot_bring_back_is_returned_and_not_stored(new_cache: NewCache, output: Any) -> None:
    calls: list[Any] = []
    cached = CachedRunnable(RunnableLambda(lambda given: calls.append(given) or output), new_cache(), name="chain")
    assert [cached.invoke(QUESTION) is output for _ in range(2)] == [True, True]
    assert len(calls) == 2


def test_an_output_that_holds_itself_is_returned_and_not_stored(new_cache: NewCache) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    cached = CachedRunnable(RunnableLambda(lambda _: loop), new_cache(), name="chain")
    assert [cached.invoke(QUESTION) is loop for _ in range(2)] == [True, True]
    assert cached.errors == 2


def test_plain_data_that_looks_like_ours_comes_back_as_it_was(new_cache: NewCache) -> None:
    output = {"is": "document", "text": "A", "list": [{"is": 3}], "none": None, "yes": True}
    assert served(RunnableLambda(lambda _: output), new_cache()) == (output, output)


# streams


def test_a_hit_streams_in_pieces(counted: Any, new_cache: NewCache) -> None:
    text = "A refund takes five working days, counted from the day on which the parcel has come back to us."
    cached = CachedRunnable(PROMPT | counted(says=text) | StrOutputParser(), new_cache())
    for _ in range(2):
        pieces = list(cached.stream(asked()))
        assert len(pieces) > 2
        assert "".join(pieces) == text


def test_a_message_that_hits_streams_with_its_usage_on_the_last_chunk(counted: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(PROMPT | counted(says="One two three four five six seven eight nine ten."), new_cache())
    for kind in (None, "exact"):
        chunks = list(cached.stream(asked()))
        assert [chunk.chunk_position for chunk in chunks] == [*[None] * (len(chunks) - 1), "last"]
        assert [bool(chunk.usage_metadata) for chunk in chunks] == [*[False] * (len(chunks) - 1), True] or kind is None
        assert (chunks[-1].response_metadata.get("tokenwise") or {}).get("cache") == kind


def test_a_dict_that_hits_streams_by_its_parts(model: Any, new_cache: NewCache) -> None:
    chain = RunnableParallel(
        context=lambda given: Pages().invoke(given["question"]), answer=PROMPT | model | StrOutputParser()
    )
    cached = CachedRunnable(chain, new_cache(), name="chain")
    wholes = []
    for _ in range(2):
        whole: Any = None
        for piece in cached.stream(asked()):
            whole = piece if whole is None else whole + piece
        wholes.append(whole)
    assert wholes[0] == wholes[1]
    assert model.calls == 1


def test_a_stream_that_was_broken_off_is_not_stored(chain: Runnable[Any, Any], model: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(chain, new_cache())
    stream: Any = cached.stream(asked())
    next(stream)
    stream.close()
    assert "".join(cached.stream(asked())) == ANSWER
    assert model.calls == 2


def test_a_stream_that_fails_is_not_stored_and_raises(new_cache: NewCache) -> None:
    def failing(_: Iterator[Any]) -> Iterator[str]:
        yield "Five "
        raise ConnectionError

    async def afailing(_: AsyncIterator[Any]) -> AsyncIterator[str]:
        yield "Five "
        raise ConnectionError

    cached = CachedRunnable(RunnableGenerator(failing, afailing), new_cache(), name="chain")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            list(cached.stream(QUESTION))
        with pytest.raises(ConnectionError):
            asyncio.run(in_pieces(cached, QUESTION))
    assert cached.cache.stats().hits == {}


def test_a_truncated_answer_inside_is_not_stored_though_its_text_does_not_tell(
    counted: Any, new_cache: NewCache
) -> None:
    model = counted(says=AIMessage("Five d", response_metadata={"finish_reason": "length"}))
    for way in ("invoke", "stream"):
        cached = CachedRunnable(PROMPT | model | StrOutputParser(), new_cache())
        assert [WAYS[way](cached, asked()) for _ in range(2)] == ["Five d", "Five d"]
    assert model.calls == 4


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_a_growing_parse_is_stored_whole(counted: Any, new_cache: NewCache, way: str) -> None:
    text = '{"answer": "It takes five days or so, as far as anybody knows.", "sure": true}'
    cached = CachedRunnable(PROMPT | counted(says=text) | JsonOutputParser(), new_cache())
    for _ in range(2):
        output = list(cached.stream(asked()))[-1] if way == "stream" else cached.invoke(asked())
        assert output == {"answer": "It takes five days or so, as far as anybody knows.", "sure": True}
    assert cached.cache.stats().hits == {"exact": 1}


# what is asked


def test_all_else_in_the_input_must_be_equal(model: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(PROMPT | model | StrOutputParser(), new_cache(), query="question")
    cached.invoke(asked(language="English"))
    cached.cache.flush()
    cached.invoke(asked(SAME, language="French"))
    cached.invoke(asked(SAME, language="English"))
    assert model.calls == 2


def test_the_same_last_question_after_another_history_never_hits(model: Any, new_cache: NewCache) -> None:
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("history"), ("human", "{question}")])
    cached = CachedRunnable(prompt | model | StrOutputParser(), new_cache())

    def after(product: str, run: int = 0) -> list[Any]:
        return [HumanMessage(f"I bought a {product}.", id=f"{run}"), AIMessage("Thank you.", id=f"a{run}")]

    cached.invoke(asked(history=after("phone")))
    cached.cache.flush()
    cached.invoke(asked(history=after("lamp")))
    assert model.calls == 2
    cached.invoke(asked(history=after("phone", run=1)))
    cached.invoke(asked(SAME, history=after("phone", run=2)))
    assert model.calls == 2


def test_a_callable_tells_the_question(model: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(model | StrOutputParser(), new_cache(), query=lambda text: text.split("Q: ")[-1])
    cached.invoke(f"Be brief. Q: {QUESTION}")
    cached.cache.flush()
    cached.invoke(f"Be brief. Q: {SAME}")
    assert model.calls == 1
    cached.invoke(f"Be long. Q: {SAME}")
    assert model.calls == 2


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (QUESTION, SAME),
        ([HumanMessage(QUESTION)], [HumanMessage(SAME)]),
        ({"messages": [("user", QUESTION)]}, {"messages": [{"role": "user", "content": SAME}]}),
        (
            ChatPromptTemplate.from_template("{q}").invoke(QUESTION),
            ChatPromptTemplate.from_template("{q}").invoke(SAME),
        ),
    ],
)
def test_a_text_and_messages_are_questions_themselves(model: Any, new_cache: NewCache, given: Any, same: Any) -> None:
    taking = RunnableLambda(lambda given: given["messages"] if isinstance(given, dict) else given)
    cached = CachedRunnable(taking | model | StrOutputParser(), new_cache(), name="chain")
    cached.invoke(given)
    cached.cache.flush()
    cached.invoke(same)
    assert model.calls == 1


def test_without_a_known_question_only_an_equal_input_hits(model: Any, new_cache: NewCache) -> None:
    prompt = ChatPromptTemplate.from_template("{first} or {second}?")
    cached = CachedRunnable(prompt | model | StrOutputParser(), new_cache())
    for given in ({"first": "a", "second": "b"}, {"second": "b", "first": "a"}, {"first": "A", "second": "b"}):
        cached.invoke(given)
    assert model.calls == 2


def test_chains_that_cannot_be_told_apart_must_be_named(new_cache: NewCache) -> None:
    with pytest.raises(BadInput, match="RunnableLambda"):
        CachedRunnable(RunnableLambda(lambda text: text), new_cache())
    cache = new_cache()
    first, second = (
        CachedRunnable(RunnableLambda(lambda _, name=name: name), cache, name=name) for name in ("first", "second")
    )
    assert [first.invoke(QUESTION), second.invoke(QUESTION), first.invoke(QUESTION)] == ["first", "second", "first"]


def test_another_template_model_setting_or_version_is_another_chain(counted: Any, new_cache: NewCache) -> None:
    cache, model = new_cache(), counted()

    def ask(prompt: Any = PROMPT, **settings: Any) -> int:
        before = model.calls
        CachedRunnable(prompt | model | StrOutputParser(), cache, name="chain", **settings).invoke(asked())
        return model.calls - before

    assert [ask(), ask()] == [1, 0]
    assert [ask(ChatPromptTemplate.from_template("{question}!")), ask(version="2")] == [1, 1]
    model.temperature = 0.9
    assert [ask(), ask()] == [1, 0]


def test_what_is_configured_is_part_of_the_question(counted: Any, new_cache: NewCache) -> None:
    model = counted()
    chain = PROMPT | model.configurable_fields(temperature=ConfigurableField(id="warmth")) | StrOutputParser()
    cached = CachedRunnable(chain, new_cache(), name="chain")
    assert "warmth" in {spec.id for spec in cached.config_specs}
    for warmth in (0.1, 0.9, 0.1):
        cached.invoke(asked(), {"configurable": {"warmth": warmth}})
    assert cached.cache.stats().hits == {"exact": 1}


# together with others


def test_equal_calls_at_once_make_one(counted: Any, new_cache: NewCache) -> None:
    model = counted(seconds=0.2)
    cached = CachedRunnable(PROMPT | model | StrOutputParser(), new_cache())
    assert asyncio.run(cached.abatch([asked()] * 20)) == [ANSWER] * 20
    assert cached.batch([asked("Another one?")] * 8) == ["Answer to: Another one?"] * 8
    assert model.calls == 2


def test_decisions_stand_in_the_traces_and_the_callers_config_goes_through(
    chain: Runnable[Any, Any], new_cache: NewCache
) -> None:
    runs: list[Run] = []

    class Tracer(BaseTracer):
        def _persist_run(self, run: Run) -> None:
            runs.append(run)

    tracer = Tracer()
    cached = CachedRunnable(chain, new_cache())
    for _ in range(2):
        cached.invoke(asked(), {"callbacks": [tracer], "metadata": {"mine": 1}, "run_name": "desk"})
    missed, hit = runs
    assert (missed.name, hit.name) == ("desk", "desk")
    assert missed.child_runs[0].metadata["tokenwise.cache"] == "miss"
    (served,) = hit.child_runs
    assert served.run_type == "llm"
    assert served.metadata["tokenwise.cache"] == "exact"
    assert served.metadata["mine"] == 1
    assert cached.cache.explain(served.metadata["tokenwise.hit_id"]) is not None
    assert hit.outputs == {"output": ANSWER}


def test_users_are_kept_apart(chain: Runnable[Any, Any], model: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(chain, new_cache(namespace=lambda scope: scope.user))
    for user in ("ann", "bob"):
        with scope(user=user):
            cached.batch([asked()])
            cached.invoke(asked())
    assert model.calls == 2
    for user in ("ann", "cid"):
        cached.invoke(asked(), {"metadata": {"user_id": user}})
    assert model.calls == 3


def test_what_the_chain_raises_is_raised(new_cache: NewCache, refusing: Any) -> None:
    cached = CachedRunnable(PROMPT | refusing, new_cache(), name="chain")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            cached.invoke(asked())


def test_a_broken_core_never_reaches_the_call(chain: Runnable[Any, Any], new_cache: NewCache) -> None:
    for run in WAYS.values():
        cached = CachedRunnable(chain, new_cache())
        cached.cache = None  # type: ignore[assignment]
        assert run(cached, asked()) == ANSWER
        assert cached.errors == 1


def test_it_is_a_runnable_among_runnables(chain: Runnable[Any, Any], model: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(chain, new_cache())
    longer = RunnableLambda(lambda text: {"question": text}) | cached.with_retry() | RunnableLambda(str.upper)
    assert [longer.invoke(QUESTION) for _ in range(2)] == [ANSWER.upper()] * 2
    assert model.calls == 1
    assert "question" in cached.get_input_schema().model_json_schema()["properties"]
    assert cached.OutputType is str


@pytest.mark.parametrize("way", WAYS)
def test_when_tokenwise_is_off_the_chain_runs_alone(
    chain: Runnable[Any, Any], model: Any, new_cache: NewCache, way: str
) -> None:
    cached = CachedRunnable(chain, new_cache())
    disable()
    try:
        assert [WAYS[way](cached, asked()) for _ in range(2)] == [ANSWER, ANSWER]
    finally:
        enable()
    assert model.calls == 2
    assert cached.cache.stats().lookups == 0
