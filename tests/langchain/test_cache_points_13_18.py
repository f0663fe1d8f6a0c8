"""What a first-rate LLM cache does and a naive one gets wrong: keys, questions, copies, forms (checklist 13-18)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation
from langgraph.checkpoint.memory import InMemorySaver

from tokenwise_core.cache import SemanticCache
from tokenwise_core.scoping import scope
from tokenwise_langchain import FaissSemanticCache

QUESTION = "How long does a refund take?"
SAME = "how long does a refund take"
NewCache = Callable[..., SemanticCache]


def hit_of(message: BaseMessage) -> str | None:
    mark: dict[str, Any] = message.response_metadata.get("tokenwise") or {}
    return mark.get("cache")


def ask(model: Any, *messages: Any) -> str | None:
    """Ask, wait until the answer is stored, and return the kind of hit."""
    answer = model.invoke(list(messages))
    model.cache.cache.flush()
    return hit_of(answer)


@pytest.fixture
def model(counted: Any, new_cache: NewCache) -> Any:
    return counted(cache=FaissSemanticCache(new_cache()))


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "x"}


@pytest.mark.parametrize("nothing", ["", " \n", [THOUGHT], [THOUGHT, {"type": "text", "text": " "}]])
def test_an_answer_that_says_nothing_is_not_kept(new_cache: NewCache, nothing: Any) -> None:
    cache = FaissSemanticCache(new_cache())
    cache.update(QUESTION, "model", [ChatGeneration(message=AIMessage(nothing))])
    cache.update(SAME, "model", [ChatGeneration(message=AIMessage([THOUGHT, {"type": "text", "text": "Five days."}]))])
    cache.cache.flush()
    assert cache.cache.stats().refused == {"empty": 1}
    assert cache.cache.stats().stored == 1


# 13: the exact partition


def test_an_equal_call_is_answered_without_the_model(model: Any) -> None:
    first, second = model.invoke(QUESTION), model.invoke(QUESTION)
    assert (first.content, hit_of(first)) == (second.content, None)
    assert hit_of(second) == "exact"
    assert model.calls == 1


def test_a_rephrased_question_is_answered_without_the_model(model: Any) -> None:
    assert ask(model, HumanMessage(QUESTION)) is None
    assert ask(model, HumanMessage(SAME)) == "semantic"
    assert model.calls == 1


@pytest.mark.parametrize(
    "params",
    [
        {"stop": ["\n"]},
        {"seed": 7},
        {"model": "gpt-5"},
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}]},
        {"tool_choice": "none"},
        {"response_format": {"type": "json_object"}},
    ],
)
@pytest.mark.parametrize("question", [QUESTION, SAME])
def test_another_parameter_is_another_partition(model: Any, params: dict[str, Any], question: str) -> None:
    ask(model, HumanMessage(QUESTION))
    assert hit_of(model.invoke(question, **params)) is None


@pytest.mark.parametrize("question", [QUESTION, SAME])
@pytest.mark.parametrize("other", [{"model": "gpt-5"}, {"temperature": 0.7}])
def test_another_model_never_gets_the_answer(
    counted: Any, new_cache: NewCache, other: dict[str, Any], question: str
) -> None:
    cache = FaissSemanticCache(new_cache())
    ask(counted(cache=cache), HumanMessage(QUESTION))
    assert hit_of(counted(cache=cache, **other).invoke(question)) is None


def test_the_order_of_tools_makes_no_other_call(model: Any) -> None:
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("look", "book")]
    model.bind_tools(tools).invoke(QUESTION)
    assert hit_of(model.bind_tools(tools[::-1]).invoke(QUESTION)) == "exact"


@pytest.mark.parametrize("question", [QUESTION, SAME])
def test_tenants_are_kept_apart_by_the_scope(counted: Any, new_cache: NewCache, question: str) -> None:
    model = counted(cache=FaissSemanticCache(new_cache(namespace=lambda scope: scope.user)))
    with scope(user="ann"):
        ask(model, HumanMessage(QUESTION))
        assert hit_of(model.invoke(QUESTION)) == "exact"
    with scope(user="bob"):
        assert hit_of(model.invoke(question)) is None
    assert [hit_of(model.invoke(question)) for _ in range(2)] == [None, None], "nobody's scope: no cache"


def test_the_user_in_a_runs_metadata_is_the_scope_too(counted: Any, new_cache: NewCache) -> None:
    model = counted(cache=FaissSemanticCache(new_cache(namespace=lambda scope: scope.user)))
    as_ann, as_bob = ({"metadata": {"user_id": name}} for name in ("ann", "bob"))
    model.invoke(QUESTION, as_ann)
    assert hit_of(model.invoke(QUESTION, as_bob)) is None
    assert hit_of(model.invoke(QUESTION, as_ann)) == "exact"


def test_an_answer_lands_only_in_the_namespace_that_asked(new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache(namespace=lambda scope: scope.user))
    with scope(user="ann"):
        assert cache.lookup("A prompt", "a model") is None  # and her call failed
    with scope(user="bob"):
        cache.update("A prompt", "a model", [Generation(text="For Bob.")])
        assert cache.lookup("A prompt", "a model") == [Generation(text="For Bob.")]
    with scope(user="ann"):
        assert cache.lookup("A prompt", "a model") is None


# 14: what is embedded, and what must be equal


def test_the_same_last_question_after_another_history_never_hits(model: Any) -> None:
    def history(product: str) -> list[BaseMessage]:
        return [HumanMessage(f"I bought a {product}."), AIMessage("Thank you."), HumanMessage(QUESTION)]

    ask(model, *history("phone"))
    assert ask(model, *history("phone")) == "exact"
    assert ask(model, *history("lamp")) is None
    assert ask(model, *history("lamp")[:-1], HumanMessage(SAME)) == "semantic"


def test_another_system_prompt_never_hits(model: Any) -> None:
    ask(model, SystemMessage("You sell phones."), HumanMessage(QUESTION))
    assert ask(model, SystemMessage("You sell lamps."), HumanMessage(QUESTION)) is None
    assert ask(model, SystemMessage("You sell lamps. " * 400), HumanMessage(SAME)) is None


def test_ids_usage_and_metadata_of_the_history_do_not_count(model: Any) -> None:
    def history(n: int) -> list[BaseMessage]:
        called = AIMessage(
            "", id=f"run-{n}", tool_calls=[{"name": "look", "args": {"a": 1}, "id": f"call_{n}"}],
            usage_metadata={"input_tokens": n, "output_tokens": n, "total_tokens": 2 * n},
            response_metadata={"id": f"resp_{n}", "logprobs": [n]},
        )  # fmt: skip
        looked = ToolMessage("Five days.", tool_call_id=f"call_{n}", id=f"t{n}")
        return [HumanMessage("Look."), called, looked, AIMessage("Five."), HumanMessage(QUESTION, id=f"h{n}")]

    ask(model, *history(1))
    assert ask(model, *history(2)) == "exact"


RENDERED = [
    "Answer based only on the following context:\nRefunds take five days.\n\nQuestion: How long does a refund take?",
    "Context:\nRefunds take five days.\n---\nHow long does a refund take?",
    "<context>\nRefunds take five days.\n</context>\nHow long does a refund take?",
    "You are a desk. Use the following pieces of retrieved context. Refunds take five days. How long do they take?",
    "Human: I bought a phone.\nAI: Thank you.\nHuman: How long does a refund take?",
    "Refunds take five days.\n\nUser question: How long does a refund take?",
    "Refunds take five days, counted from the day on which the parcel has come back to us. " * 5
    + "\n\nHow long is it?",
    "\n".join(f"Page {n}: refunds." for n in range(12)) + "\nHow long does a refund take?",
]


@pytest.mark.parametrize("rendered", RENDERED)
def test_a_rendered_template_is_never_embedded(model: Any, rendered: str) -> None:
    ask(model, HumanMessage(rendered))
    assert ask(model, HumanMessage(rendered.lower())) is None
    assert ask(model, HumanMessage(rendered)) == "exact"


def test_a_rendered_template_whose_question_is_told_may_be_rephrased(counted: Any, new_cache: NewCache) -> None:
    def question(messages: list[BaseMessage]) -> str | None:
        return messages[-1].text.rpartition("Question: ")[2] or None

    def rendered(asked: str, context: str = "Refunds take five days.") -> HumanMessage:
        return HumanMessage(f"Context:\n{context}\n\nQuestion: {asked}")

    model = counted(cache=FaissSemanticCache(new_cache(), query=question))
    ask(model, rendered(QUESTION))
    assert ask(model, rendered(SAME)) == "semantic"
    assert ask(model, rendered(SAME, context="Refunds take nine days.")) is None


def test_a_query_of_none_means_exact_hits_only(counted: Any, new_cache: NewCache) -> None:
    model = counted(cache=FaissSemanticCache(new_cache(), query=lambda messages: None))
    ask(model, HumanMessage(QUESTION))
    assert ask(model, HumanMessage(SAME)) is None
    assert ask(model, HumanMessage(QUESTION)) == "exact"


def test_a_query_that_fails_costs_a_miss(counted: Any, new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache(), query=lambda messages: messages[99].text)
    model = counted(cache=cache)
    assert model.invoke(QUESTION).text == f"Answer to: {QUESTION}"
    assert cache.errors == 2  # the lookup and the update


# 15: refused


def test_after_a_tools_result_nothing_is_served_by_likeness(model: Any) -> None:
    def loop(result: str) -> list[BaseMessage]:
        called = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c"}])
        return [HumanMessage(QUESTION), called, ToolMessage(result, tool_call_id="c")]

    ask(model, *loop("It takes five days."))
    assert ask(model, *loop("it takes five days")) is None
    assert ask(model, *loop("It takes five days.")) == "exact"


def test_other_images_never_hit(model: Any) -> None:
    def shown(url: str, text: str = "What is this?") -> HumanMessage:
        return HumanMessage([{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}])

    ask(model, shown("https://x.org/a.png"))
    assert ask(model, shown("https://x.org/a.png")) == "exact"
    assert ask(model, shown("https://x.org/b.png")) is None
    assert ask(model, shown("https://x.org/a.png", "what is this")) is None


def test_blocks_that_nobody_knows_must_be_equal(model: Any) -> None:
    def shown(value: str) -> HumanMessage:
        return HumanMessage([{"type": "text", "text": QUESTION}, {"type": "new_thing", "payload": value}])

    ask(model, shown("a"))
    assert ask(model, shown("b")) is None
    assert ask(model, shown("a")) == "exact"


@pytest.mark.parametrize(
    "answer",
    [
        AIMessage("It takes fi", response_metadata={"finish_reason": "length"}),
        AIMessage("It takes fi", response_metadata={"stop_reason": "max_tokens"}),
        AIMessage("", response_metadata={"finish_reason": "content_filter"}),
        AIMessage("", additional_kwargs={"refusal": "I can't say."}),
        AIMessage("", tool_calls=[{"name": "pay_out", "args": {}, "id": "c"}]),
        AIMessage(""),
    ],
)
def test_truncated_refused_and_acting_answers_are_not_stored(
    counted: Any, new_cache: NewCache, answer: AIMessage
) -> None:
    model = counted(says=answer, cache=FaissSemanticCache(new_cache()))
    ask(model, HumanMessage(QUESTION))
    assert ask(model, HumanMessage(QUESTION)) is None
    assert model.calls == 2


def test_a_failed_call_is_not_stored_and_leaves_nothing(counted: Any, new_cache: NewCache) -> None:
    model = counted(says=ConnectionError(), cache=FaissSemanticCache(new_cache()))
    with pytest.raises(ConnectionError):
        model.invoke(QUESTION)
    model.says = "Five days."
    assert hit_of(model.invoke(QUESTION)) is None
    assert hit_of(model.invoke(QUESTION)) == "exact"


def test_answers_that_call_tools_are_served_exactly_where_that_is_wanted(counted: Any, new_cache: NewCache) -> None:
    answer = AIMessage("", tool_calls=[{"name": "look", "args": {"order": "A-17"}, "id": "call_1"}])
    model = counted(says=answer, cache=FaissSemanticCache(new_cache(tool_calls=True)))
    ask(model, HumanMessage(QUESTION))
    assert ask(model, HumanMessage(SAME)) is None
    first, second = model.invoke(QUESTION), model.invoke(QUESTION)
    assert hit_of(first) == hit_of(second) == "exact"
    assert first.tool_calls[0]["args"] == {"order": "A-17"}
    assert len({"call_1", first.tool_calls[0]["id"], second.tool_calls[0]["id"]}) == 3, "ids pair calls with results"


# 16: copies, ids


def test_a_hit_is_a_new_object_each_time(counted: Any, new_cache: NewCache) -> None:
    model = counted(
        says=lambda _: AIMessage([{"type": "text", "text": "Five days."}]), cache=FaissSemanticCache(new_cache())
    )
    given = model.invoke(QUESTION)
    given.content[0]["text"] = "changed by the caller"
    for _ in range(2):
        hit = model.invoke(QUESTION)
        assert hit.text == "Five days."
        hit.content[0]["text"] = "changed by the caller"
        hit.response_metadata.clear()


def test_a_hit_has_no_old_id_and_nothing_of_another_conversation(model: Any) -> None:
    first, hit = model.invoke(QUESTION), model.invoke(QUESTION)
    assert first.response_metadata["id"] == "resp_1"
    assert hit.id is None
    assert "id" not in hit.response_metadata


def test_in_one_thread_a_hit_is_appended_and_replaces_no_older_message(counted: Any, new_cache: NewCache) -> None:
    model = counted(cache=FaissSemanticCache(new_cache(context="ignore")))
    agent = create_agent(model, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    agent.invoke({"messages": [("human", QUESTION)]}, config)
    model.cache.cache.flush()
    state = agent.invoke({"messages": [("human", SAME)]}, config)
    assert [message.type for message in state["messages"]] == ["human", "ai", "human", "ai"]
    assert model.calls == 1
    assert len({message.id for message in state["messages"]}) == 4


# 17: forms


def test_a_string_model_has_a_cache_too(new_cache: NewCache) -> None:
    model = FakeListLLM(responses=["Five days.", "Another."], cache=FaissSemanticCache(new_cache()))
    assert [model.invoke(QUESTION), model.invoke(QUESTION)] == ["Five days.", "Five days."]


def test_several_generations_come_back_in_order(new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache())
    cache.update("[]", "m", [ChatGeneration(message=AIMessage("A")), ChatGeneration(message=AIMessage("B"))])
    found = cache.lookup("[]", "m")
    assert type(found) is list
    assert [generation.text for generation in found] == ["A", "B"]


@pytest.mark.parametrize("prompt", ["plain", "[1, 2]", "[not json", "", '{"a": 1}', '[{"lc": 1, "type": "secret"}]'])
@pytest.mark.parametrize("llm_string", ["plain", "", "{}---[]", "{broken", "[('a', <class 'x'>)]", "{}---[(1, 2, 3)]"])
def test_any_two_strings_are_a_key(new_cache: NewCache, prompt: str, llm_string: str) -> None:
    cache = FaissSemanticCache(new_cache())
    cache.update(prompt, llm_string, [Generation(text="A")])
    assert cache.lookup(prompt, llm_string) == [Generation(text="A")]
    assert cache.lookup(f"{prompt} and 17 more", llm_string) is None
    assert cache.lookup(prompt, f"{llm_string}!") is None
    assert cache.errors == 0


STRINGS = [
    "",
    "a",
    "b",
    '{"a": 1}',
    '{"a": 2}',
    "{'ab': 1}",
    "{'ab': 2}",
    "['ab']",
    "['ac']",
    "[('a', 1)]",
    "[('a', 2)]",
]


def test_no_two_of_langchains_strings_are_taken_for_one(new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache(embedder=None))
    for llm_string in STRINGS:
        assert cache.lookup("A prompt", llm_string) is None
        cache.update("A prompt", llm_string, [Generation(text=llm_string or "none")])
    assert cache.errors == 0


def test_the_global_cache_works(counted: Any, new_cache: NewCache) -> None:
    model = counted()
    set_llm_cache(FaissSemanticCache(new_cache()))
    try:
        assert [hit_of(model.invoke(QUESTION)) for _ in range(2)] == [None, "exact"]
    finally:
        set_llm_cache(None)


# 18: never raises, never blocks


class Broken:
    """Entries, or an embedder, where everything fails."""

    id = "broken"

    def __getattr__(self, name: str) -> Any:
        raise ConnectionError(name)


def test_a_broken_core_never_reaches_the_call(counted: Any, new_cache: NewCache) -> None:
    cache = FaissSemanticCache(new_cache())
    cache.cache = Broken()  # type: ignore[assignment]
    model = counted(cache=cache)
    assert model.invoke(QUESTION).text == f"Answer to: {QUESTION}"
    assert asyncio.run(model.ainvoke(QUESTION)).text == f"Answer to: {QUESTION}"
    cache.clear()
    assert cache.errors == 5


async def test_the_async_way_serves_the_same_and_leaves_the_loop_free(counted: Any, new_cache: NewCache) -> None:
    class Slow:
        id = "slow"

        def embed(self, texts: Any) -> Any:
            time.sleep(0.2)
            return [[1.0, 0.0]] * len(texts)

    model = counted(cache=FaissSemanticCache(new_cache(embedder=Slow())))
    gaps: list[float] = []

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            gaps.append(time.perf_counter() - before)

    beating = asyncio.create_task(beat())
    assert [hit_of(await model.ainvoke(QUESTION)) for _ in range(2)] == [None, "exact"]
    beating.cancel()
    assert max(gaps) < 0.15, "an embedding of 0.2 s was waited for in the loop"


def test_clearing_forgets(model: Any) -> None:
    ask(model, HumanMessage(QUESTION))
    model.cache.clear()
    assert ask(model, HumanMessage(QUESTION)) is None
