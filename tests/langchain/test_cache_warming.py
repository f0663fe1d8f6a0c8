"""Caches that are filled from what is known: the real call that comes later is a hit, and asks no model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.documents import Document
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import Generation
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel
from rich.console import Console

from tokenwise_core.cache import SemanticCache
from tokenwise_core.errors import BadInput
from tokenwise_core.scoping import scope
from tokenwise_langchain import CachedRunnable, FaissSemanticCache, SemanticCacheMiddleware

QUESTION = "How long does a refund take?"
SAME = "how long does a refund take"
KNOWN = "Five working days."
PAIRS = [(QUESTION, KNOWN)]
NewCache = Callable[..., SemanticCache]


class Verdict(BaseModel):
    """An answer."""

    answer: str


@tool
def look(order: str) -> str:
    """Look an order up."""
    return f"Order {order} was sent."


def weigh(parcel: str) -> str:
    """Weigh a parcel."""
    return f"{parcel}: 2 kg"


def kind_of(message: BaseMessage) -> str | None:
    mark: dict[str, Any] = message.response_metadata.get("tokenwise") or {}
    return mark.get("cache")


@pytest.fixture
def everywhere() -> Iterator[Callable[[Any], None]]:
    """Set LangChain's cache of all models, until the test is over."""
    yield set_llm_cache
    set_llm_cache(None)


# A model by itself


def test_a_model_is_not_asked_what_its_cache_was_warmed_with(
    counted: Any, new_cache: NewCache, everywhere: Callable[[Any], None]
) -> None:
    model, cache = counted(temperature=0.3), FaissSemanticCache(new_cache())
    everywhere(cache)
    assert cache.warm(PAIRS, llm=model, progress=False) == 1
    for question, kind in ((QUESTION, "exact"), (SAME, "semantic")):
        answer = model.invoke(question)
        assert (answer.text, kind_of(answer)) == (KNOWN, kind)
    assert model.calls == cache.errors == 0
    assert counted(temperature=0.4).invoke(QUESTION).text != KNOWN, "another model's answer is not this one's"


@pytest.mark.parametrize(
    "question",
    [
        QUESTION,
        HumanMessage(QUESTION, id="1"),
        [HumanMessage(QUESTION)],
        [("human", QUESTION)],
        ChatPromptTemplate.from_messages([("human", "{q}")]).invoke({"q": QUESTION}),
    ],
)
@pytest.mark.parametrize("answer", [KNOWN, AIMessage(KNOWN, id="7"), Generation(text=KNOWN)])
def test_questions_and_answers_may_be_given_in_any_form(
    counted: Any, new_cache: NewCache, question: Any, answer: Any
) -> None:
    cache = FaissSemanticCache(new_cache())
    model = counted(cache=cache)
    assert cache.warm([(question, answer)], llm=model, progress=False) == 1
    served = asyncio.run(model.ainvoke(QUESTION))
    assert (served.text, kind_of(served), model.calls) == (KNOWN, "exact", 0)


def test_what_is_bound_to_the_model_is_part_of_what_is_warmed(counted: Any, new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache())
    model = counted(cache=cache)
    bound = model.bind_tools([look]).bind(stop=["."])
    assert cache.warm(PAIRS, llm=bound, progress=False) == 1
    assert kind_of(bound.invoke(QUESTION)) == "exact"
    assert kind_of(model.invoke(QUESTION)) is None
    assert model.calls == 1


def test_a_conversation_and_an_image_are_warmed_as_they_are_sent(counted: Any, new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache())
    model = counted(cache=cache)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    chats: list[list[BaseMessage]] = [
        [SystemMessage("Be kind."), HumanMessage("Hello"), AIMessage("Hi."), HumanMessage(QUESTION)],
        [HumanMessage([{"type": "text", "text": "What is this?"}, picture])],
    ]
    assert cache.warm([(chat, KNOWN) for chat in chats], llm=model, progress=False) == 2
    assert [kind_of(model.invoke(chat)) for chat in chats] == ["exact", "exact"]
    assert kind_of(model.invoke(QUESTION)) is None


def test_a_string_model_is_warmed_too(new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache())
    model = FakeListLLM(responses=["asked"], cache=cache)
    assert cache.warm([(QUESTION, AIMessage(KNOWN))], llm=model, progress=False) == 1
    assert [model.invoke(QUESTION), model.invoke(SAME), model.invoke("And how much?")] == [KNOWN, KNOWN, "asked"]


def test_a_namespace_is_warmed_in_its_scope(counted: Any, new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache(namespace=lambda s: s.user))
    model = counted(cache=cache)
    assert cache.warm(PAIRS, llm=model, progress=False) == 0, "nobody's: there is no cache here"
    with scope(user="u-4"):
        assert cache.warm(PAIRS, llm=model, progress=False) == 1
        assert kind_of(model.invoke(QUESTION)) == "exact"
    with scope(user="u-5"):
        assert kind_of(model.invoke(QUESTION)) is None


# An agent


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"system_prompt": "You are a desk."},
        {"system_prompt": SystemMessage("You are a desk."), "tools": [look, weigh]},
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
def test_an_agent_is_warmed_with_what_it_was_made_of(
    counted: Any, new_cache: NewCache, given: dict[str, Any], awaited: bool
) -> None:
    model, caching = counted(), SemanticCacheMiddleware(new_cache())
    agent = create_agent(model, middleware=[caching], **given)
    assert caching.warm(PAIRS, model=model, **given, progress=False) == 1
    for question, kind in ((QUESTION, "exact"), (SAME, "semantic")):
        asked: Any = {"messages": [("human", question)]}
        state = asyncio.run(agent.ainvoke(asked)) if awaited else agent.invoke(asked)
        answer = state["messages"][-1]
        assert (answer.text, kind_of(answer)) == (KNOWN, kind)
    assert model.calls == caching.errors == 0
    other = create_agent(model, middleware=[caching], system_prompt="You are somebody else.")
    assert kind_of(other.invoke({"messages": [("human", QUESTION)]})["messages"][-1]) is None  # type: ignore[list-item]


@pytest.mark.parametrize("wanted", [Verdict, ToolStrategy(Verdict), ProviderStrategy(Verdict)])
def test_structured_answers_are_warmed_as_the_model_gives_them(counted: Any, new_cache: NewCache, wanted: Any) -> None:
    model, caching = counted(), SemanticCacheMiddleware(new_cache())
    call = {"name": "Verdict", "args": {"answer": KNOWN}, "id": "1"}
    by_provider = not isinstance(wanted, ToolStrategy)  # as LangChain chooses for this model
    known = AIMessage(f'{{"answer": "{KNOWN}"}}') if by_provider else AIMessage("", tool_calls=[call])
    asked: Any = {"messages": [("human", QUESTION)]}
    assert caching.warm([(asked, known)], model=model, response_format=wanted, progress=False) == 1
    agent = create_agent(model, middleware=[caching], response_format=wanted)
    assert agent.invoke(asked)["structured_response"] == Verdict(answer=KNOWN)
    assert model.calls == 0


# A chain


def test_a_chain_neither_retrieves_nor_asks_what_it_was_warmed_with(counted: Any, new_cache: NewCache) -> None:
    model, found = counted(), []
    pages = RunnableLambda(lambda given: found.append(given) or "a page")
    chain = {"page": pages, "question": RunnableLambda(lambda given: given)} | ChatPromptTemplate.from_template(
        "{page} {question}"
    ) | model | StrOutputParser()  # fmt: skip
    rag = CachedRunnable(chain, new_cache(), name="handbook")
    assert rag.warm(PAIRS, progress=False) == 1
    assert [rag.invoke(QUESTION), rag.invoke(SAME)] == [KNOWN, KNOWN]
    assert "".join(rag.stream(QUESTION)) == KNOWN
    assert (model.calls, found, rag.errors) == (0, [], 0)


def test_messages_documents_and_data_are_warmed_and_die_with_their_documents(counted: Any, new_cache: NewCache) -> None:
    prompt = ChatPromptTemplate.from_template("{question}")
    chat = CachedRunnable(prompt | counted(says="asked"), new_cache())
    assert chat.warm([({"question": QUESTION}, AIMessage(KNOWN, id="1"))], progress=False) == 1
    served = chat.invoke({"question": QUESTION})
    assert (served.text, kind_of(served)) == (KNOWN, "exact")
    runs: list[str] = []
    pages = CachedRunnable(RunnableLambda(lambda q: runs.append(q) or {"is": "run"}), new_cache(), name="pages")
    output = {"answer": KNOWN, "context": [Document("Refunds.", id="refunds")]}
    assert pages.warm([(QUESTION, output)], progress=False) == 1
    assert pages.invoke(QUESTION) == output
    assert runs == []
    pages.cache.invalidate("doc:refunds")
    assert pages.invoke(QUESTION) == {"is": "run"}


def test_what_a_chain_is_configured_with_is_warmed_with_it(counted: Any, new_cache: NewCache) -> None:
    cached = CachedRunnable(counted() | StrOutputParser(), new_cache(namespace=lambda s: s.session))
    here: Any = {"configurable": {"thread_id": "t-1"}}
    assert cached.warm(PAIRS, config=here, progress=False) == 1
    assert cached.invoke(QUESTION, here) == KNOWN
    assert cached.invoke(QUESTION, {"configurable": {"thread_id": "t-2"}}) != KNOWN


# All of them


def test_answers_that_must_not_be_stored_are_not_counted(counted: Any, new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache())
    cut = AIMessage("Five", response_metadata={"finish_reason": "length"})
    acts = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    assert cache.warm([(QUESTION, cut), (QUESTION, acts), (QUESTION, "")], llm=counted(), progress=False) == 0
    chain = CachedRunnable(counted(), new_cache())
    assert chain.warm([(QUESTION, cut), (QUESTION, acts)], progress=False) == 0


def warmers(model: Any, cache: SemanticCache) -> list[Callable[..., int]]:
    return [
        lambda pairs, **how: FaissSemanticCache(cache).warm(pairs, llm=model, **how),
        lambda pairs, **how: SemanticCacheMiddleware(cache).warm(pairs, model=model, **how),
        lambda pairs, **how: CachedRunnable(model, cache).warm(pairs, **how),
    ]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ("ab", "pairs is a str"),
        ({QUESTION: KNOWN}, r"items\(\)"),
        (None, "pairs is a NoneType"),
        ([QUESTION], "pair 1: a str is no pair"),
        ([(QUESTION, KNOWN), (QUESTION,)], "pair 2: a tuple is no pair"),
        ([(QUESTION, object())], "pair 1: .*object"),
    ],
)
def test_what_is_no_pair_is_refused_with_its_number(
    counted: Any, new_cache: NewCache, which: int, pairs: Any, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        warmers(counted(), new_cache())[which](pairs, progress=False)


@pytest.mark.parametrize("question", ["", [], 7, [("nobody", "x")], {"question": QUESTION}])
def test_what_asks_nothing_is_refused(counted: Any, new_cache: NewCache, question: Any) -> None:
    for warm in warmers(counted(), new_cache())[:2]:
        with pytest.raises(BadInput, match=r"pair 1: .* asks nothing"):
            warm([(question, KNOWN)], progress=False)


def test_what_is_no_model_is_refused(counted: Any, new_cache: NewCache) -> None:
    with pytest.raises(BadInput, match="llm is a RunnableSequence"):
        FaissSemanticCache(new_cache()).warm(PAIRS, llm=counted() | StrOutputParser())
    with pytest.raises(BadInput, match="model is a object"):
        SemanticCacheMiddleware(new_cache()).warm(PAIRS, model=object())  # type: ignore[arg-type]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("progress", [True, False])
def test_the_progress_bar_is_that_of_core(
    counted: Any, new_cache: NewCache, monkeypatch: pytest.MonkeyPatch, which: int, progress: bool
) -> None:
    console = Console(force_terminal=True, record=True, width=80)
    monkeypatch.setattr("rich._console", console)
    known = [(f"What is item number {n}?", f"It is {n}.") for n in range(20)]
    assert warmers(counted(), new_cache())[which](known, progress=progress) == 20
    assert ("warming the cache" in console.export_text()) is progress
