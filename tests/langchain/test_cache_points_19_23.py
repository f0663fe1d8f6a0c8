"""Marks, look-alikes, persistence, the stale key, what is loaded (checklist 19, 21, 22, 23); 20 is the middleware's."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import RunnablePassthrough
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, create_model

from tokenwise_core.cache import SemanticCache, SQLiteEntries
from tokenwise_core.errors import BadInput
from tokenwise_core.testing import FakeClock, HashEmbedder
from tokenwise_core.usage.events import Status
from tokenwise_langchain import (
    CachedRunnable,
    FaissSemanticCache,
    LangChainEmbedder,
    SemanticCacheMiddleware,
    TokenBreakdownHandler,
)
from tokenwise_langchain.cache.calling import load_messages, read_llm_string, read_prompt

QUESTION = "How long does a refund take?"
SAME = "how long does a refund take"
NewCache = Callable[..., SemanticCache]


def hit_of(message: BaseMessage) -> str | None:
    mark: dict[str, Any] = message.response_metadata.get("tokenwise") or {}
    return mark.get("cache")


def ask(model: Any, question: str = QUESTION) -> str | None:
    answer = model.invoke(question)
    model.cache.cache.flush()
    return hit_of(answer)


@pytest.fixture
def model(counted: Any, new_cache: NewCache) -> Any:
    return counted(cache=FaissSemanticCache(new_cache()))


# 19: marks; look-alikes


def test_a_hit_says_what_it_is_and_what_it_saved(model: Any) -> None:
    ask(model)
    ask(model, SAME)
    mark = model.invoke("how long does a refund  take").response_metadata["tokenwise"]
    assert mark["cache"] == "semantic"
    assert mark["similarity"] > 0.9
    assert mark["saved_tokens"] == 100
    explained = model.cache.cache.explain(mark["hit_id"])
    assert explained is not None


def test_the_handler_books_a_hit_under_our_lever_with_what_the_answer_had_cost(
    model: Any, handler: TokenBreakdownHandler
) -> None:
    for question in (QUESTION, QUESTION, SAME):
        model.invoke(question, {"callbacks": [handler]})
        model.cache.cache.flush()
    called, exact, semantic = handler.events()
    assert [event.status for event in handler.events()] == [Status.OK, Status.CACHE_HIT, Status.CACHE_HIT]
    assert called.breakdown.total_tokens == handler.breakdown().total_tokens == 100
    for hit, kind in ((exact, "exact"), (semantic, "semantic")):
        (saving,) = hit.savings
        assert (saving.lever, saving.reason, saving.saved.tokens) == ("semantic_cache", kind, 100)
        assert hit.breakdown.total_tokens == 0


def test_a_hit_without_usage_saves_what_is_counted_not_nothing(
    counted: Any, new_cache: NewCache, handler: TokenBreakdownHandler
) -> None:
    model = counted(usage=None, cache=FaissSemanticCache(new_cache()))
    for _ in range(2):
        model.invoke(QUESTION, {"callbacks": [handler]})
    assert handler.events()[1].savings[0].saved.tokens > 10


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ("What is 1+1?", "What is 21+1?"),
        ("How do I turn on dark mode?", "How do I turn off dark mode?"),
        ("Can I return the phone?", "Can I not return the phone?"),
        ("What is the refund for order A-17?", "What is the refund for order A-18?"),
    ],
)
def test_a_look_alike_is_never_served(model: Any, asked: str, other: str) -> None:
    ask(model, asked)
    assert ask(model, other) is None


def test_feedback_kills_a_wrong_hit(model: Any) -> None:
    ask(model)
    hit = model.invoke(SAME)
    assert model.cache.cache.feedback(hit.response_metadata["tokenwise"]["hit_id"], ok=False)
    assert hit_of(model.invoke("how long does  a refund take")) is None


@pytest.mark.parametrize("category", [None, "news"])
def test_a_category_has_a_life_of_its_own(counted: Any, new_cache: NewCache, category: str | None) -> None:
    clock = FakeClock()
    core = new_cache(ttl_s={"news": 60.0}, clock=clock)
    model = counted()
    ways: list[Any] = [
        model.model_copy(update={"cache": FaissSemanticCache(core, category=category)}).invoke,
        CachedRunnable(model, core, category=category).invoke,
        lambda asked: create_agent(model, middleware=[SemanticCacheMiddleware(core, category=category)]).invoke(
            {"messages": [("human", asked), ("ai", "Hm."), ("human", asked)]}
        ),
    ]
    for way in ways:
        before = model.calls
        way(QUESTION)
        way(QUESTION)
        assert model.calls == before + 1
        clock.advance(61)
        way(QUESTION)
        assert model.calls == before + (1 if category is None else 2)


# 21: single flight (there is none here), persistence


async def test_a_batch_of_equal_prompts_calls_each_time_as_langchain_asks_before_and_tells_after(
    counted: Any, new_cache: NewCache
) -> None:
    model = counted(seconds=0.1, cache=FaissSemanticCache(new_cache()))
    await model.abatch([QUESTION] * 5)
    assert model.calls == 5
    assert [hit_of(answer) for answer in await model.abatch([QUESTION] * 5)] == ["exact"] * 5


def test_answers_live_on_in_the_file(counted: Any, tmp_path: Path) -> None:
    def opened() -> SemanticCache:
        entries = SQLiteEntries(tmp_path / "cache.sqlite")
        cache = SemanticCache(shared=True, entries=entries, embedder=HashEmbedder(), deadline_ms=5000)
        assert cache.ready()
        return cache

    with opened() as cache:
        ask(counted(cache=FaissSemanticCache(cache)))
    with opened() as cache:
        model = counted(cache=FaissSemanticCache(cache))
        assert [ask(model), ask(model, SAME)] == ["exact", "semantic"]
        assert model.calls == 0


def test_a_model_with_a_cache_can_be_copied_and_pickled(new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache())
    for twin in (copy.copy(cache), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        twin.update("A prompt", "a model", [ChatGeneration(message=AIMessage("A"))])
        found = twin.lookup("A prompt", "a model")
        assert found is not None
        assert found[0].text == "A"


@pytest.mark.parametrize("is_async", [False, True])
def test_langchains_embeddings_embed_for_the_cache(counted: Any, new_cache: NewCache, is_async: bool) -> None:
    embedder = LangChainEmbedder(DeterministicFakeEmbedding(size=64))
    model = counted(cache=FaissSemanticCache(new_cache(embedder=embedder)))

    def once(question: str) -> str | None:
        answer = asyncio.run(model.ainvoke(question)) if is_async else model.invoke(question)
        model.cache.cache.flush()
        return hit_of(answer)

    assert [once(QUESTION), once(QUESTION), once("Where is my order?")] == [None, "exact", None]
    assert model.cache.cache.stats().failures == {}


# 22: the stale key


def test_a_temperature_that_is_changed_after_the_first_call_is_another_model(model: Any) -> None:
    ask(model)
    said = model._get_llm_string()
    model.temperature = 0.9
    assert model._get_llm_string() == said, "langchain#39598 is mended: this defence may go"
    assert ask(model) is None
    assert ask(model) == "exact"
    model.temperature = 0.0
    assert ask(model) == "exact"


def test_a_copy_with_another_temperature_is_another_model(model: Any) -> None:
    ask(model)
    assert ask(model.model_copy(update={"temperature": 0.9}), SAME) is None


async def test_the_stale_key_is_seen_through_on_the_async_way_too(model: Any) -> None:
    await model.ainvoke(QUESTION)
    model.temperature = 0.9
    assert hit_of(await model.ainvoke(QUESTION)) is None
    assert hit_of(await model.ainvoke(QUESTION)) == "exact"


def test_two_versions_of_an_answers_class_are_two_calls(model: Any) -> None:
    old, new = create_model("Verdict", answer=(str, ...)), create_model("Verdict", answer=(str, ...), score=(int, ...))
    assert str(old) == str(new), "LangChain's key tells them by their name"
    bound = [model.bind(response_format=version) for version in (old, old, new)]
    assert [hit_of(one.invoke(QUESTION)) for one in bound] == [None, "exact", None]


def test_where_no_model_is_seen_a_class_means_the_same_in_this_process_only() -> None:
    said = read_llm_string("{}---[('response_format', <class '__main__.Verdict'>)]")
    assert said.parameters["process"]
    assert said == read_llm_string("{}---[('response_format', <class '__main__.Verdict'>)]")


def test_langchains_strings_are_read_as_the_model_would_be() -> None:
    model = ChatOpenAI(
        model="gpt-4o-mini", api_key="sk-very-secret", temperature=0.1, default_headers={"x-api-key": "s3"}
    )
    read = read_llm_string(model._get_llm_string(stop=["x"], tools=[{"type": "function"}], seed=None))
    assert read.model == "gpt-4o-mini"
    assert read.params == {"stop": ["x"], "tools": [{"type": "function"}], "seed": None}
    assert read.parameters["model"]["temperature"] == 0.1
    assert "secret" not in json.dumps(read.parameters)
    assert "s3" not in json.dumps(read.parameters)


# 23: what is loaded, what is restored


def test_only_messages_are_ever_built_of_a_prompt() -> None:
    chat = {"lc": 1, "type": "constructor", "id": ["langchain", "chat_models", "openai", "ChatOpenAI"], "kwargs": {}}
    assert read_prompt(json.dumps([chat])) is None
    with pytest.raises(KeyError):
        load_messages(json.dumps([chat]))
    (message,) = load_messages(dumps([HumanMessage(QUESTION)]))
    assert message == HumanMessage(QUESTION)


class Strange(HumanMessage):
    """A message class of the user's own."""


def test_a_message_class_that_nobody_knows_has_exact_hits_only(model: Any) -> None:
    def asked(text: str) -> str | None:
        answer = model.invoke([Strange(text)])
        model.cache.cache.flush()
        return hit_of(answer)

    assert [asked(QUESTION), asked(QUESTION), asked(SAME)] == [None, "exact", None]


class Verdict(BaseModel):
    answer: str


def test_a_parsed_answer_comes_back_as_a_dict_that_the_parser_takes(counted: Any, new_cache: NewCache) -> None:
    answer = AIMessage('{"answer": "Five days."}', additional_kwargs={"parsed": Verdict(answer="Five days.")})
    model = counted(says=answer, cache=FaissSemanticCache(new_cache()))
    assert model.invoke(QUESTION).additional_kwargs["parsed"] == Verdict(answer="Five days.")
    assert model.invoke(QUESTION).additional_kwargs["parsed"] == {"answer": "Five days."}


def test_structured_output_is_served_as_the_same_object(counted: Any, new_cache: NewCache) -> None:
    answer = AIMessage("", tool_calls=[{"name": "Verdict", "args": {"answer": "Five days."}, "id": "c"}])
    model = counted(says=answer, cache=FaissSemanticCache(new_cache(tool_calls=True)))
    asked = model.with_structured_output(Verdict)
    assert asked.invoke(QUESTION) == asked.invoke(QUESTION) == Verdict(answer="Five days.")
    assert model.calls == 1


def test_what_a_later_release_wrote_is_a_miss(model: Any) -> None:
    from tokenwise_core.cache import CachedAnswer, Hit
    from tokenwise_langchain.cache.messages import from_cached

    later = CachedAnswer(text="A", payload={"v": 99, "generations": [{"new": "form"}]})
    assert from_cached(Hit(id="h", kind="exact", answer=later)) is None


def test_what_json_cannot_hold_is_left_out_and_the_rest_is_kept(counted: Any, new_cache: NewCache) -> None:
    metadata = {"finish_reason": "stop", "score": float("nan"), "client": object(), "nested": {"a": {1, 2}, "b": 1}}
    model = counted(says=AIMessage("Five days.", response_metadata=metadata), cache=FaissSemanticCache(new_cache()))
    ask(model)
    hit = model.invoke(QUESTION)
    assert {k: v for k, v in hit.response_metadata.items() if k != "tokenwise"} == {
        "finish_reason": "stop", "nested": {"b": 1},
    }  # fmt: skip


def test_what_refers_to_a_providers_memory_of_another_conversation_is_left_out(
    counted: Any, new_cache: NewCache
) -> None:
    """OpenAI's Responses API goes on from `resp_…` and looks `rs_…` and `msg_…` up."""
    content: list[Any] = [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "text", "text": "Five days.", "id": "msg_1", "annotations": []},
    ]
    answer = AIMessage(content, response_metadata={"id": "resp_1", "status": "completed"})
    model = counted(says=answer, cache=FaissSemanticCache(new_cache()))
    ask(model)
    hit = model.invoke(QUESTION)
    assert hit.content == [{"type": "text", "text": "Five days.", "annotations": []}]
    assert "resp_1" not in str(hit)
    assert "msg_1" not in str(hit)


@pytest.mark.parametrize("given", ["sqlite:///cache.sqlite", SemanticCache, None])
def test_what_is_no_cache_is_refused_where_it_is_given(given: Any) -> None:
    for adapter in (
        FaissSemanticCache,
        SemanticCacheMiddleware,
        lambda cache: CachedRunnable(RunnablePassthrough(), cache),
    ):
        with pytest.raises(BadInput, match="is no cache"):
            adapter(given)
