"""The cache of agents: streams, callbacks, structured output, single flight, scopes, state (checklist 16-21)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRetryMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from pydantic import BaseModel

from tokenwise_core.cache import SemanticCache
from tokenwise_core.scoping import carry_scope, scope
from tokenwise_core.switch import disable, enable
from tokenwise_core.usage.events import Status
from tokenwise_langchain import SemanticCacheMiddleware, TokenBreakdownHandler

QUESTION = "How long does a refund take?"
SAME = "how long does a refund take"
NewCache = Callable[..., SemanticCache]


class Verdict(BaseModel):
    """An answer."""

    answer: str


@tool
def look(order: str) -> str:
    """Look an order up."""
    return f"Order {order} was sent."


def asking(question: str = QUESTION) -> Any:
    return {"messages": [("human", question)]}


def hit_of(message: BaseMessage) -> str | None:
    mark: dict[str, Any] = message.response_metadata.get("tokenwise") or {}
    return mark.get("cache")


def answer_of(state: Any) -> BaseMessage:
    message: BaseMessage = state["messages"][-1]
    return message


@pytest.fixture
def caching(new_cache: NewCache) -> SemanticCacheMiddleware:
    return SemanticCacheMiddleware(new_cache())


def test_a_repeated_and_a_rephrased_question_are_answered_without_the_model(
    counted: Any, caching: SemanticCacheMiddleware
) -> None:
    model = counted()
    agent = create_agent(model, middleware=[caching], system_prompt="You are a desk.")
    kinds = []
    for question in (QUESTION, QUESTION, SAME):
        kinds.append(hit_of(answer_of(agent.invoke(asking(question)))))
        caching.cache.flush()
    assert kinds == [None, "exact", "semantic"]
    assert model.calls == 1
    assert caching.errors == 0


async def test_the_async_way_does_the_same(counted: Any, caching: SemanticCacheMiddleware) -> None:
    model = counted()
    agent = create_agent(model, middleware=[caching])
    kinds = [hit_of(answer_of(await agent.ainvoke(asking()))) for _ in range(2)]
    assert kinds == [None, "exact"]
    assert model.calls == 1


# 20: streams


def streamed(agent: Any, question: str = QUESTION) -> list[Any]:
    return [chunk for chunk, _ in agent.stream(asking(question), stream_mode="messages")]


def test_a_hit_streams_in_chunks_with_the_usage_on_the_last(counted: Any, caching: SemanticCacheMiddleware) -> None:
    text = "A refund takes five working days, counted from the day on which the parcel has come back to us."
    model = counted(says=text)
    agent = create_agent(model, middleware=[caching])
    first, again = streamed(agent), streamed(agent)
    assert model.calls == 1
    for chunks in (first, again):
        assert len(chunks) > 2
        assert "".join(chunk.text for chunk in chunks) == text
        assert [chunk.usage_metadata is not None for chunk in chunks] == [*[False] * (len(chunks) - 1), True]
        assert chunks[-1].chunk_position == "last"
    assert hit_of(again[-1]) == "exact"
    assert again[-1].usage_metadata["total_tokens"] == 100
    assert len({chunk.id for chunk in again}) == 1
    assert first[0].id != again[0].id


async def test_a_hit_streams_in_async_code_too(counted: Any, caching: SemanticCacheMiddleware) -> None:
    model = counted(says="A refund takes five working days, counted from the day on which the parcel came back.")
    agent = create_agent(model, middleware=[caching])
    for _ in range(2):
        chunks = [chunk async for chunk, _ in agent.astream(asking(), stream_mode="messages")]
        assert len(chunks) > 2
    assert model.calls == 1


async def test_the_events_of_a_hit_are_those_of_a_model(counted: Any, caching: SemanticCacheMiddleware) -> None:
    agent = create_agent(counted(), middleware=[caching])
    kinds = []
    for _ in range(2):
        events = [event["event"] async for event in agent.astream_events(asking(), version="v2")]
        kinds.append({event for event in events if "chat_model" in event})
    assert kinds[0] == kinds[1] == {"on_chat_model_start", "on_chat_model_stream", "on_chat_model_end"}


def test_the_v3_events_of_a_hit_are_whole(counted: Any, caching: SemanticCacheMiddleware) -> None:
    agent = create_agent(counted(), middleware=[caching])
    texts = []
    for _ in range(2):
        stream = agent.stream_events(asking(), version="v3")
        texts.append("".join(str(message.text) for message in stream.messages))
    assert texts[0] == texts[1] == f"Answer to: {QUESTION}"


# callbacks, traces


class Notes(BaseCallbackHandler):
    """Notes the metadata of the model runs, and how they end."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.ended = 0

    def on_chat_model_start(self, *args: Any, metadata: dict[str, Any] | None = None, **kwargs: Any) -> None:
        self.runs.append(metadata or {})

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.ended += 1


def test_decisions_stand_in_the_traces(counted: Any, caching: SemanticCacheMiddleware) -> None:
    notes = Notes()
    agent = create_agent(counted(), middleware=[caching])
    for question in (QUESTION, SAME):
        agent.invoke(asking(question), {"callbacks": [notes]})
        caching.cache.flush()
    missed, hit = notes.runs
    assert (missed["tokenwise.cache"], missed["tokenwise.reason"]) == ("miss", "cold")
    assert hit["tokenwise.cache"] == "semantic"
    assert caching.cache.explain(hit["tokenwise.hit_id"]) is not None
    assert missed["ls_model_name"] == hit["ls_model_name"]
    assert notes.ended == 2


def test_the_handler_of_the_model_itself_hears_of_hits(counted: Any, caching: SemanticCacheMiddleware) -> None:
    notes = Notes()
    agent = create_agent(counted(callbacks=[notes]), middleware=[caching])
    for _ in range(2):
        agent.invoke(asking())
    assert notes.ended == 2


@pytest.mark.parametrize("mode", ["invoke", "stream"])
def test_the_breakdown_sees_a_marked_hit(
    counted: Any, caching: SemanticCacheMiddleware, handler: TokenBreakdownHandler, mode: str
) -> None:
    agent = create_agent(counted(), middleware=[caching])
    for _ in range(2):
        if mode == "invoke":
            agent.invoke(asking(), {"callbacks": [handler]})
        else:
            list(agent.stream(asking(), {"callbacks": [handler]}, stream_mode="messages"))
    called, hit = handler.events()
    assert [called.status, hit.status] == [Status.OK, Status.CACHE_HIT]
    (saving,) = hit.savings
    assert (saving.lever, saving.reason, saving.saved.tokens) == ("semantic_cache", "exact", 100)
    assert hit.model == called.model == "gpt-5-mini"


# structured output


@pytest.mark.parametrize("strategy", [Verdict, ToolStrategy(Verdict)])
def test_structured_output_by_a_tool_is_served_parsed(
    counted: Any, caching: SemanticCacheMiddleware, strategy: Any
) -> None:
    called = AIMessage("", tool_calls=[{"name": "Verdict", "args": {"answer": "Five."}, "id": "c"}])
    model = counted(says=called, model="one-without-structured-output")
    agent = create_agent(model, middleware=[caching], response_format=strategy)
    states = [agent.invoke(asking(), {"recursion_limit": 9}) for _ in range(2)]
    assert [state["structured_response"] for state in states] == [Verdict(answer="Five.")] * 2
    assert model.calls == 1


def test_structured_output_by_the_provider_is_served_parsed(counted: Any, caching: SemanticCacheMiddleware) -> None:
    model = counted(says='{"answer": "Five."}', profile=ModelProfile(structured_output=True))
    for strategy in (Verdict, ProviderStrategy(Verdict)):
        agent = create_agent(model, middleware=[caching], response_format=strategy)
        states = [agent.invoke(asking()) for _ in range(2)]
        assert [state["structured_response"] for state in states] == [Verdict(answer="Five.")] * 2
    assert model.calls == 2


def test_another_answer_format_is_another_call(counted: Any, caching: SemanticCacheMiddleware) -> None:
    class Other(BaseModel):
        answer: str
        score: int = 0

    Other.__name__ = "Verdict"
    model = counted(says=AIMessage("", tool_calls=[{"name": "Verdict", "args": {"answer": "Five."}, "id": "c"}]))
    for form in (Verdict, Other):
        create_agent(model, middleware=[caching], response_format=ToolStrategy(form)).invoke(asking())
    assert model.calls == 2


def test_an_answer_that_does_not_fit_its_format_is_not_stored(counted: Any, caching: SemanticCacheMiddleware) -> None:
    broken = AIMessage("", tool_calls=[{"name": "Verdict", "args": {"nonsense": 1}, "id": "c"}])
    good = AIMessage("", tool_calls=[{"name": "Verdict", "args": {"answer": "Five."}, "id": "c"}])
    answers = iter([broken, good, broken, good])
    model = counted(says=lambda _: next(answers))
    agent = create_agent(model, middleware=[caching], response_format=ToolStrategy(Verdict))
    for _ in range(2):
        assert agent.invoke(asking())["structured_response"] == Verdict(answer="Five.")


# tools


def an_agent_with_a_tool(counted: Any, caching: SemanticCacheMiddleware) -> tuple[Any, Any]:
    def says(messages: list[BaseMessage]) -> AIMessage:
        if messages[-1].type == "tool":
            return AIMessage(f"I looked: {messages[-1].text}")
        return AIMessage("", tool_calls=[{"name": "look", "args": {"order": "A-17"}, "id": "call_1"}])

    model = counted(says=says)
    return model, create_agent(model, tools=[look], middleware=[caching])


def test_a_step_that_calls_tools_is_asked_anew_and_the_turn_after_it_is_served(
    counted: Any, caching: SemanticCacheMiddleware
) -> None:
    model, agent = an_agent_with_a_tool(counted, caching)
    states = [agent.invoke(asking("Where is order A-17?")) for _ in range(2)]
    assert [answer_of(state).text for state in states] == ["I looked: Order A-17 was sent."] * 2
    assert model.calls == 3
    assert hit_of(answer_of(states[1])) == "exact"


def test_steps_that_call_tools_are_served_where_that_is_wanted(counted: Any, new_cache: NewCache) -> None:
    model, agent = an_agent_with_a_tool(counted, SemanticCacheMiddleware(new_cache(tool_calls=True)))
    states = [agent.invoke(asking("Where is order A-17?")) for _ in range(3)]
    assert model.calls == 2
    calls = [state["messages"][1].tool_calls[0]["id"] for state in states]
    assert len(set(calls)) == 3
    assert [state["messages"][2].tool_call_id for state in states] == calls


def test_the_order_of_tools_makes_no_other_call(counted: Any, caching: SemanticCacheMiddleware) -> None:
    @tool
    def book(order: str) -> str:
        """Book an order."""
        return order

    model = counted()
    for tools in ([look, book], [book, look]):
        create_agent(model, tools=tools, middleware=[caching]).invoke(asking())
    assert model.calls == 1
    create_agent(model, tools=[look], middleware=[caching]).invoke(asking())
    assert model.calls == 2


# 21: single flight


async def test_twenty_equal_calls_at_once_make_one(counted: Any, caching: SemanticCacheMiddleware) -> None:
    model = counted(seconds=0.2)
    agent = create_agent(model, middleware=[caching])
    states = await asyncio.gather(*(agent.ainvoke(asking()) for _ in range(20)))
    assert model.calls == 1
    assert {answer_of(state).text for state in states} == {f"Answer to: {QUESTION}"}
    assert sorted(str(hit_of(answer_of(state))) for state in states) == ["None", *["joined"] * 19]
    assert len({answer_of(state).id for state in states}) == 20


def test_twenty_equal_calls_in_threads_make_one(counted: Any, caching: SemanticCacheMiddleware) -> None:
    model = counted(seconds=0.2)
    agent = create_agent(model, middleware=[caching])
    with ThreadPoolExecutor(20) as pool:
        states = list(pool.map(lambda _: agent.invoke(asking()), range(20)))
    assert model.calls == 1
    assert {answer_of(state).text for state in states} == {f"Answer to: {QUESTION}"}


# 18: failures go through unchanged


@pytest.mark.parametrize("error", [ConnectionError("down"), GraphInterrupt(())])
def test_what_the_model_raises_is_raised_and_nobody_waits_for_it(
    counted: Any, caching: SemanticCacheMiddleware, error: Exception
) -> None:
    class Raising(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            raise error

    from langchain.agents.middleware.types import ModelRequest

    request = ModelRequest(model=counted(), messages=[])
    with pytest.raises(type(error)) as raised:
        caching.wrap_model_call(request, lambda request: Raising().wrap_model_call(request, None))
    assert raised.value is error
    agent = create_agent(counted(), middleware=[caching])
    assert hit_of(answer_of(agent.invoke(asking()))) is None


def test_a_retry_inside_is_one_call_of_ours(counted: Any, caching: SemanticCacheMiddleware) -> None:
    answers: Any = iter([ConnectionError("down"), "Five days.", "Six days."])
    model = counted(says=lambda _: next(answers))
    retrying = ModelRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    agent = create_agent(model, middleware=[caching, retrying])
    assert [answer_of(agent.invoke(asking())).text for _ in range(2)] == ["Five days.", "Five days."]
    assert model.calls == 2


def test_a_broken_core_never_reaches_the_call(counted: Any, caching: SemanticCacheMiddleware) -> None:
    caching.cache = None  # type: ignore[assignment]
    agent = create_agent(counted(), middleware=[caching])
    assert answer_of(agent.invoke(asking())).text == f"Answer to: {QUESTION}"
    assert caching.errors == 1


# scopes


def test_users_are_kept_apart_in_the_pools_of_langgraph(counted: Any, new_cache: NewCache) -> None:
    model = counted()
    caching = SemanticCacheMiddleware(new_cache(namespace=lambda scope: scope.user))
    agent = create_agent(model, middleware=[caching])
    for user in ("ann", "bob"):
        with scope(user=user):
            kinds = [[hit_of(answer_of(state)) for state in agent.batch([asking()])] for _ in range(2)]
            assert kinds == [[None], ["exact"]]
    assert model.calls == 2


def test_the_thread_of_a_conversation_can_be_the_namespace(counted: Any, new_cache: NewCache) -> None:
    model = counted()
    caching = SemanticCacheMiddleware(new_cache(namespace=lambda scope: scope.session))
    agent = create_agent(model, middleware=[caching])
    kinds = []
    for thread in ("t1", "t2", "t1"):
        state = agent.invoke(asking(), {"configurable": {"thread_id": thread}})
        kinds.append(hit_of(answer_of(state)))
    assert kinds == [None, None, "exact"]


def test_a_plain_thread_that_lost_the_scope_has_no_cache(counted: Any, new_cache: NewCache) -> None:
    model = counted()
    caching = SemanticCacheMiddleware(new_cache(namespace=lambda scope: scope.user))
    agent = create_agent(model, middleware=[caching])
    kinds: list[str | None] = []

    def work() -> None:
        kinds.append(hit_of(answer_of(agent.invoke(asking()))))

    with scope(user="ann"):
        agent.invoke(asking())
        for target in (work, work, carry_scope(work)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert kinds == [None, None, "exact"]
    assert caching.cache.stats().misses["no_namespace"] == 2


def test_the_same_last_question_after_another_history_never_hits(
    counted: Any, caching: SemanticCacheMiddleware
) -> None:
    model = counted()
    agent = create_agent(model, middleware=[caching], checkpointer=InMemorySaver())
    for thread, before in (("t1", "I bought a phone."), ("t2", "I bought a lamp.")):
        config: Any = {"configurable": {"thread_id": thread}}
        agent.invoke(asking(before), config)
        caching.cache.flush()
        assert hit_of(answer_of(agent.invoke(asking(QUESTION), config))) is None
    assert model.calls == 4


# state


def test_the_last_decision_is_versioned_json_in_the_private_state(
    counted: Any, caching: SemanticCacheMiddleware
) -> None:
    agent = create_agent(counted(), middleware=[caching], checkpointer=InMemorySaver())
    decisions = []
    for thread in ("t1", "t2"):
        config: Any = {"configurable": {"thread_id": thread}}
        state = agent.invoke(asking(), config)
        assert "tokenwise_cache" not in state, "private"
        decisions.append(agent.get_state(config).values["tokenwise_cache"])
    assert decisions[0] == {"v": 1, "cache": "miss", "reason": "cold"}
    assert json.loads(json.dumps(decisions[1])) == decisions[1]
    assert decisions[1]["cache"] == "exact"
    assert caching.cache.feedback(decisions[1]["hit_id"], ok=True)


STRICT = """
from langchain.agents import create_agent
from langchain_core.language_models import FakeListChatModel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde import _msgpack
from tokenwise_core.cache import MemoryEntries, SemanticCache
from tokenwise_core.testing import HashEmbedder
from tokenwise_langchain import SemanticCacheMiddleware

assert _msgpack.STRICT_MSGPACK_ENABLED
cache = SemanticCache(shared=True, entries=MemoryEntries(), embedder=HashEmbedder(), deadline_ms=5000)
assert cache.ready()
model = FakeListChatModel(responses=["Five days.", "Six days."])
agent = create_agent(model, middleware=[SemanticCacheMiddleware(cache)], checkpointer=InMemorySaver())
for thread in "ab":
    config = {"configurable": {"thread_id": thread}}
    agent.invoke({"messages": [("human", "How long does a refund take?")]}, config)
    values = agent.get_state(config).values
    print(values["tokenwise_cache"]["cache"], values["messages"][-1].content)
"""


def test_a_strict_checkpointer_takes_the_state() -> None:
    env = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"}  # read once, where the serialiser is imported
    done = subprocess.run([sys.executable, "-c", STRICT], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["miss Five days.", "exact Five days."]
    assert "block" not in done.stderr.lower()


def test_two_caches_in_one_agent_need_two_names(counted: Any, new_cache: NewCache) -> None:
    first, second = SemanticCacheMiddleware(new_cache()), SemanticCacheMiddleware(new_cache(), name="second")
    agent = create_agent(counted(), middleware=[first, second])
    assert answer_of(agent.invoke(asking())).text == f"Answer to: {QUESTION}"
    with pytest.raises(AssertionError):
        create_agent(counted(), middleware=[first, SemanticCacheMiddleware(new_cache())])


def test_a_tag_that_is_invalidated_kills_the_answers_under_it(counted: Any, new_cache: NewCache) -> None:
    caching = SemanticCacheMiddleware(new_cache(), tags=("prompt:7",))
    agent = create_agent(counted(), middleware=[caching])
    agent.invoke(asking())
    caching.cache.invalidate("prompt:7")
    assert hit_of(answer_of(agent.invoke(asking()))) is None
    assert hit_of(answer_of(agent.invoke(asking()))) == "exact"


def test_an_agent_does_not_speak_under_another_ones_name(counted: Any, caching: SemanticCacheMiddleware) -> None:
    model = counted()
    names = [
        answer_of(create_agent(model, middleware=[caching], name=name).invoke(asking())).name
        for name in ("billing", "sales", None)
    ]
    assert names == ["billing", "sales", None]
    assert model.calls == 1


def test_when_tokenwise_is_off_the_model_answers(counted: Any, caching: SemanticCacheMiddleware) -> None:
    model = counted()
    agent = create_agent(model, middleware=[caching])
    disable()
    try:
        for _ in range(2):
            agent.invoke(asking())
    finally:
        enable()
    assert model.calls == 2
    assert caching.cache.stats().lookups == 0
