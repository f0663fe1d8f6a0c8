"""`TokenwiseLLM.warm` and `CachedQueryEngine.warm`: what is stored ahead is what the real calls find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ImageBlock,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.base.response.schema import (
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.output_parsers import PydanticOutputParser
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool

from tokenwise_core.cache import SemanticCache
from tokenwise_core.errors import BadInput
from tokenwise_core.stack import Proceed
from tokenwise_llamaindex import CachedQueryEngine, TokenwiseLLM

NewCache = Callable[..., SemanticCache]
QUESTION = "How long does a refund take?"
REPHRASED = "how long does a refund take"
ANSWER = "Five working days."
SYSTEM = ChatMessage(role="system", content="Be brief.")
TEMPLATE = PromptTemplate("Context: {context_str}\nQuestion: {query_str}\nAnswer:")
CHAT_TEMPLATE = ChatPromptTemplate([SYSTEM, ChatMessage(role="user", content="About {topic}: {query_str}")])


def asked(text: str = QUESTION) -> list[ChatMessage]:
    return [SYSTEM, ChatMessage(role="user", content=text)]


def chatted(llm: TokenwiseLLM, how: str, messages: list[ChatMessage], **params: Any) -> list[ChatResponse]:
    """Ask in one of the four ways, and return what came."""

    async def awaited() -> list[ChatResponse]:
        if how == "achat":
            return [await llm.achat(messages, **params)]
        return [chunk async for chunk in await llm.astream_chat(messages, **params)]

    if how.startswith("a"):
        return asyncio.run(awaited())
    return [llm.chat(messages, **params)] if how == "chat" else list(llm.stream_chat(messages, **params))


def completed(llm: TokenwiseLLM, how: str, prompt: str, **params: Any) -> list[CompletionResponse]:
    async def awaited() -> list[CompletionResponse]:
        if how == "acomplete":
            return [await llm.acomplete(prompt, **params)]
        return [chunk async for chunk in await llm.astream_complete(prompt, **params)]

    if how.startswith("a"):
        return asyncio.run(awaited())
    return [llm.complete(prompt, **params)] if how == "complete" else list(llm.stream_complete(prompt, **params))


def predicted(llm: TokenwiseLLM, how: str, template: Any, **variables: Any) -> str:
    async def awaited() -> str:
        if how == "apredict":
            return await llm.apredict(template, **variables)
        return "".join([token async for token in await llm.astream(template, **variables)])

    if how.startswith("a"):
        return asyncio.run(awaited())
    return llm.predict(template, **variables) if how == "predict" else "".join(llm.stream(template, **variables))


# The model ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["chat", "achat", "stream_chat", "astream_chat"])
@pytest.mark.parametrize("text", [QUESTION, REPHRASED])
def test_a_warmed_chat_is_answered_without_the_model(how: str, text: str, clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    assert llm.warm([(asked(), ANSWER)], progress=False) == 1
    last = chatted(llm, how, asked(text))[-1]
    assert last.message.content == ANSWER
    assert last.message.role == "assistant"
    assert last.additional_kwargs["tokenwise"]["cache"] == ("exact" if text == QUESTION else "semantic")
    assert inner.calls == []


@pytest.mark.parametrize("how", ["complete", "acomplete", "stream_complete", "astream_complete"])
@pytest.mark.parametrize("text", [QUESTION, REPHRASED])
def test_a_warmed_prompt_is_completed_without_the_model(how: str, text: str, clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    assert llm.warm([(QUESTION, ANSWER)], progress=False) == 1
    last = completed(llm, how, text)[-1]
    assert last.text == ANSWER
    assert last.additional_kwargs["tokenwise"]["cache"] == ("exact" if text == QUESTION else "semantic")
    assert inner.calls == []


@pytest.mark.parametrize("how", ["predict", "apredict", "stream", "astream"])
@pytest.mark.parametrize(
    ("template", "others"), [(TEMPLATE, {"context_str": "Refunds: 5 days."}), (CHAT_TEMPLATE, {"topic": "refunds"})]
)
@pytest.mark.parametrize("text", [QUESTION, REPHRASED])
def test_a_warmed_template_is_predicted_without_the_model(
    text: str, template: Any, others: dict[str, str], how: str, clerk: Any, cache: SemanticCache
) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    assert llm.warm([((template, {**others, "query_str": QUESTION}), ANSWER)], progress=False) == 1
    assert predicted(llm, how, template, **others, query_str=text) == ANSWER
    assert inner.calls == []


def test_a_template_is_warmed_for_a_model_that_completes(scripted: Any, cache: SemanticCache) -> None:
    class Old(scripted):  # type: ignore[misc]
        @property
        def metadata(self) -> Any:
            return super().metadata.model_copy(update={"is_chat_model": False})

    llm = TokenwiseLLM(Old(error=ConnectionError()), cache=cache)
    variables = {"context_str": "Refunds: 5 days.", "query_str": QUESTION}
    llm.warm([((TEMPLATE, variables), ANSWER)], progress=False)
    assert llm.predict(TEMPLATE, **variables) == ANSWER


def weather(city: str) -> str:
    """Tell the weather."""
    return city


@pytest.mark.parametrize("params", [{"temperature": 0.9}, {"tools": [FunctionTool.from_defaults(weather)]}])
def test_an_answer_is_for_the_parameters_it_was_warmed_with(
    params: dict[str, Any], clerk: Any, cache: SemanticCache
) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    llm.warm([(asked(), ANSWER)], params=params, progress=False)
    llm.warm([(QUESTION, ANSWER)], params={"formatted": True}, progress=False)
    assert llm.chat(asked(), **params).message.content == ANSWER
    assert llm.complete(QUESTION, formatted=True).text == ANSWER
    assert inner.calls == []
    llm.chat(asked())
    llm.complete(QUESTION)
    assert len(inner.calls) == 2


def test_no_other_call_gets_a_warmed_answer(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    TokenwiseLLM(inner, cache=cache).warm([(asked(), ANSWER)], progress=False)
    other = clerk(temperature=0.9)
    TokenwiseLLM(other, cache=cache).chat(asked())
    TokenwiseLLM(inner, cache=cache).chat(asked()[1:])
    TokenwiseLLM(inner, cache=cache).complete(QUESTION)
    assert (len(inner.calls), len(other.calls)) == (2, 1)


@pytest.mark.parametrize(
    "answer",
    [
        ChatMessage(role="assistant", content=ANSWER),
        ChatMessage(role="assistant", blocks=[TextBlock(text=ANSWER)]),
        ChatResponse(message=ChatMessage(role="assistant", content=ANSWER), raw={"model": "clerk-1"}),
    ],
)
def test_an_answer_may_be_a_response_that_is_at_hand(answer: Any, clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    pairs = [(asked(), answer), (QUESTION, CompletionResponse(text="Five."))]
    assert llm.warm(iter(pairs), progress=False) == 2
    assert llm.chat(asked()).message.content == ANSWER
    assert llm.complete(QUESTION).text == "Five."
    assert inner.calls == []


def test_what_the_cache_never_keeps_is_not_counted(clerk: Any, cache: SemanticCache) -> None:
    call = ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="1", tool_name="pay", tool_kwargs={})])
    assert TokenwiseLLM(clerk(), cache=cache).warm([(asked(), call), (asked("Who pays?"), ANSWER)], progress=False) == 1


def test_a_lever_before_the_cache_edits_what_is_warmed_too(clerk: Any, cache: SemanticCache) -> None:
    class Unnamed:
        place, fails_closed = "redaction", True

        def around(self, request: Any) -> Any:
            return (yield Proceed(type(request)(llm=request.llm, messages=asked(), params=request.params)))

    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache, levers=[Unnamed()])
    llm.warm([(asked("How long does Ann's refund take?"), ANSWER)], progress=False)
    assert llm.chat(asked("How long does Bob's refund take?")).message.content == ANSWER
    assert inner.calls == []


def test_a_wrapped_wrapper_is_warmed_for_its_own_calls(clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    llm = TokenwiseLLM(TokenwiseLLM(inner), cache=cache)
    variables = {"topic": "refunds", "query_str": QUESTION}
    llm.warm([((CHAT_TEMPLATE, variables), ANSWER), (asked(), ANSWER)], progress=False)
    assert (llm.predict(CHAT_TEMPLATE, **variables), llm.chat(asked()).message.content) == (ANSWER, ANSWER)
    assert inner.calls == []


def test_warming_never_asks_the_model_even_when_all_is_switched_off(
    switched_off: Any, clerk: Any, cache: SemanticCache
) -> None:
    inner = clerk()
    llm = TokenwiseLLM(inner, cache=cache)
    with switched_off():
        llm.warm([(asked(), ANSWER), ((TEMPLATE, {"context_str": "", "query_str": QUESTION}), ANSWER)], progress=False)
    assert inner.calls == []


class Colour(BaseModel):
    name: str


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (7, "pairs is an int: give a list of"),
        ([(QUESTION, ANSWER), QUESTION], "pair 2 is a str: give"),
        (["ab"], "pair 1 is a str"),
        ([(QUESTION, ANSWER, 1)], "pair 1 is a tuple of 3"),
        ([(7, ANSWER)], "pair 1: asked is an int"),
        ([([], ANSWER)], "pair 1: asked is a list of 0"),
        ([((TEMPLATE, "context"), ANSWER)], "pair 1: asked is a tuple of 2"),
        ([(QUESTION, 7)], "pair 1: the answer is an int"),
        ([(QUESTION, " ")], "pair 1: the answer is blank"),
        ([(QUESTION, ChatMessage(role="assistant", content=ANSWER))], "the answer is a ChatMessage: a prompt"),
        ([(asked(), CompletionResponse(text=ANSWER))], "the answer is a CompletionResponse: messages"),
        ([(asked(), ChatMessage(content=ANSWER))], "of role 'user': give one of the assistant"),
        ([(asked(), ChatMessage(role="assistant", blocks=[ImageBlock(image=b"png")]))], "what is not kept"),
    ],
)
def test_what_cannot_warm_a_model_says_why(pairs: Any, why: str, clerk: Any, cache: SemanticCache) -> None:
    inner = clerk()
    with pytest.raises(BadInput, match=why):
        TokenwiseLLM(inner, cache=cache).warm(pairs, progress=False)
    assert inner.calls == []


def test_a_call_that_has_no_key_and_a_model_without_a_cache_cannot_be_warmed(clerk: Any, cache: SemanticCache) -> None:
    with pytest.raises(BadInput, match="cannot be compared"):
        TokenwiseLLM(clerk(), cache=cache).warm([(asked(), ANSWER)], params={"stop": object()}, progress=False)
    with pytest.raises(BadInput, match="no cache to warm"):
        TokenwiseLLM(clerk()).warm([(asked(), ANSWER)])


def test_an_answer_that_the_model_s_output_parser_cannot_read_is_refused(clerk: Any, cache: SemanticCache) -> None:
    llm = TokenwiseLLM(clerk(output_parser=PydanticOutputParser(Colour)), cache=cache)
    with pytest.raises(BadInput, match="pair 1: the model's output parser cannot read the answer"):
        llm.warm([((PromptTemplate("Which colour is {thing}?"), {"thing": "the sky"}), "blue")], progress=False)


# The query engine -----------------------------------------------------------------------------------------------------


@pytest.fixture
def handbook() -> VectorStoreIndex:
    """An index over one document."""
    return VectorStoreIndex.from_documents(
        [Document(text="Refunds take five working days.", doc_id="refunds")], embed_model=MockEmbedding(8)
    )


async def queried(engine: CachedQueryEngine, how: str, text: str) -> tuple[Any, str]:
    response = engine.query(text) if how == "query" else await engine.aquery(text)
    if isinstance(response, AsyncStreamingResponse):
        return response, "".join([token async for token in response.async_response_gen()])
    said = "".join(response.response_gen) if isinstance(response, StreamingResponse) else str(response)
    return response, said


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("how", ["query", "aquery"])
@pytest.mark.parametrize("text", [QUESTION, REPHRASED])
async def test_a_warmed_query_costs_neither_retrieval_nor_a_model_call(
    text: str, how: str, streaming: bool, clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex, monkeypatch: Any
) -> None:
    inner = clerk()
    engine = handbook.as_query_engine(llm=inner, streaming=streaming)
    cached = CachedQueryEngine(engine, cache=cache)
    assert cached.warm([(QUESTION, ANSWER), (QueryBundle("Who pays?"), Response("The sender."))], progress=False) == 2
    monkeypatch.setattr(type(engine.retriever), "_retrieve", None)
    monkeypatch.setattr(type(engine.retriever), "_aretrieve", None)
    response, said = await queried(cached, how, text)
    kinds = {("query", True): StreamingResponse, ("aquery", True): AsyncStreamingResponse}
    assert isinstance(response, kinds.get((how, streaming), Response))
    assert said == ANSWER
    assert response.metadata["tokenwise"]["cache"] == ("exact" if text == QUESTION else "semantic")
    assert inner.calls == []


def test_a_warmed_answer_of_an_engine_stands_for_that_engine_and_its_documents_alone(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = clerk()
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    nodes = [NodeWithScore(node=node, score=0.9) for node in handbook.docstore.docs.values()]
    cached.warm([(QUESTION, Response(ANSWER, source_nodes=nodes, metadata={"page": 1}))], progress=False)
    found = cached.query(QUESTION)
    assert (found.source_nodes[0].node.ref_doc_id, found.metadata["page"]) == ("refunds", 1)
    CachedQueryEngine(handbook.as_query_engine(llm=inner, similarity_top_k=1), cache=cache).query(QUESTION)
    assert len(inner.calls) == 1
    cache.invalidate("doc:refunds")
    cached.query(QUESTION)
    assert len(inner.calls) == 2


def test_a_warmed_answer_dies_when_the_index_changes(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    inner = clerk()
    cached = CachedQueryEngine(handbook.as_query_engine(llm=inner), cache=cache)
    cached.warm([(QUESTION, ANSWER)], progress=False)
    handbook.insert(Document(text="Refunds take nine days at Easter."))
    cached.query(QUESTION)
    assert len(inner.calls) == 1


def test_an_engine_of_objects_is_warmed_with_their_json(
    clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    cached = CachedQueryEngine(handbook.as_query_engine(llm=clerk()), cache=cache, output_cls=Colour)
    cached.warm([(QUESTION, '{"name": "blue"}')], progress=False)
    found = cached.query(QUESTION)
    assert isinstance(found, PydanticResponse)
    assert found.response == Colour(name="blue")
    with pytest.raises(BadInput, match="pair 1: the engine answers with objects: the answer is no Colour as JSON"):
        cached.warm([(QUESTION, "blue")], progress=False)


class Own(TextNode):
    pass


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        (None, "pairs is a NoneType"),
        ({QUESTION: ANSWER}, "pair 1 is a str: give"),
        ([(asked(), ANSWER)], "pair 1: the question is a list"),
        ([(QueryBundle(QUESTION, embedding=[1.0]), ANSWER)], "holds an image or an embedding"),
        ([(QUESTION, "")], "pair 1: the answer is blank"),
        ([(QUESTION, None)], "pair 1: the answer is a NoneType"),
        ([(QUESTION, Response(None))], "pair 1: the answer is a Response: give a text"),
        ([(QUESTION, Response(ANSWER, source_nodes=[NodeWithScore(node=Own(text="x"))]))], "class of your own"),
    ],
)
def test_what_cannot_warm_an_engine_says_why(
    pairs: Any, why: str, clerk: Any, cache: SemanticCache, handbook: VectorStoreIndex
) -> None:
    with pytest.raises(BadInput, match=why):
        CachedQueryEngine(handbook.as_query_engine(llm=clerk()), cache=cache).warm(pairs, progress=False)
