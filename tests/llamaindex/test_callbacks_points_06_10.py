"""Points 6 to 10 of the accounting checklist: the parts of a prompt, cost, scope, copies, installing."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core import ChatPromptTemplate, MockEmbedding, PromptTemplate, Settings, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.schema import CBEventType
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.program import LLMTextCompletionProgram
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import active_instrument_tags, instrument_tags
from llama_index_instrumentation.events.span import SpanDropEvent

import tokenwise_core
from tokenwise_core import scope
from tokenwise_core.tokens import TokenCounter
from tokenwise_llamaindex import ReplayLLM, TokenBreakdownHandler, listener
from tokenwise_llamaindex.routing import router

Make = Callable[..., Any]
ASK = [ChatMessage(role="user", content="How long does a refund of order A-17 take?")]
_COUNTER = TokenCounter.for_model("gpt-4o-mini")

# 6: what a prompt is made of ------------------------------------------------------------------------------------------


def tokens(text: str) -> int:
    return _COUNTER.text(text)


@pytest.mark.parametrize("mode", ["compact", "refine", "tree_summarize", "simple_summarize"])
def test_point_06_a_query_engines_prompt_is_context_question_and_template(
    mode: str, index: VectorStoreIndex, pages: Sequence[str], scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    tracker.reset()
    index.as_query_engine(llm=scripted(), response_mode=mode, similarity_top_k=2).query("How long does a refund take?")
    first = next(event for event in tracker.events() if event.operation == "chat").breakdown
    shown = pages[:1] if mode == "refine" else pages[:2]
    assert first["retrieved_context"] >= sum(map(tokens, shown))
    assert first["retrieved_context"] <= sum(map(tokens, shown)) + 12 * len(shown)  # each with its metadata
    assert first["user_input"] == pytest.approx(tokens("How long does a refund take?"), abs=1)
    assert first["system_prompt"] > 20
    assert first["history"] == first["few_shot"] == 0


def test_point_06_what_a_refining_call_builds_on_is_not_the_users(
    index: VectorStoreIndex, scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    tracker.reset()
    index.as_query_engine(llm=scripted(), response_mode="refine", similarity_top_k=2).query("How long?")
    refining = [event for event in tracker.events() if event.operation == "chat"][1].breakdown
    assert refining["agent_messages"] == pytest.approx(tokens(scripted().text), abs=1)
    assert refining["user_input"] <= 4
    assert refining["retrieved_context"] > 20


@pytest.mark.parametrize("mode", ["context", "condense_plus_context"])
@pytest.mark.parametrize("streaming", [False, True])
def test_point_06_a_chat_engines_history_is_history(
    mode: Any,
    streaming: bool,
    index: VectorStoreIndex,
    pages: Sequence[str],
    scripted: Make,
    tracker: TokenBreakdownHandler,
) -> None:
    llm = scripted()
    engine = index.as_chat_engine(
        mode, llm=llm, system_prompt="You are the desk of a kitchen shop.", similarity_top_k=2
    )
    engine.chat("I bought a kettle on the third of May.")
    tracker.reset()
    if streaming:
        assert "".join(engine.stream_chat("How long does a refund take?").response_gen)
    else:
        engine.chat("How long does a refund take?")
    last = [event for event in tracker.events() if event.operation == "chat"][-1].breakdown
    told = tokens("I bought a kettle on the third of May.") + tokens(llm.text)
    assert last["history"] == pytest.approx(told, abs=2)
    assert last["retrieved_context"] >= sum(map(tokens, pages[:2]))
    assert last["few_shot"] == 0
    assert last["system_prompt"] >= tokens("You are the desk of a kitchen shop.")


def test_point_06_making_a_question_stand_alone_is_read_back(
    index: VectorStoreIndex, scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    llm = scripted()
    engine = index.as_chat_engine("condense_plus_context", llm=llm)
    engine.chat("I bought a kettle on the third of May.")
    tracker.reset()
    engine.chat("May I return it?")
    condensing = next(event for event in tracker.events() if event.operation == "chat").breakdown
    assert condensing["user_input"] == pytest.approx(tokens("May I return it?"), abs=1)
    assert condensing["history"] >= tokens("I bought a kettle on the third of May.") + tokens(llm.text)
    assert condensing["system_prompt"] > 20


def test_point_06_worked_examples_in_a_template_are_few_shot(scripted: Make, tracker: TokenBreakdownHandler) -> None:
    template = ChatPromptTemplate([
        ChatMessage(role="system", content="Answer from this: {context_str}"),
        ChatMessage(role="user", content="Which colour is the mug?"),
        ChatMessage(role="assistant", content="The mug is white."),
        ChatMessage(role="user", content="{query_str}"),
    ])  # fmt: skip
    scripted().predict(template, context_str="The kettle is as blue as the sea.", query_str="And the kettle?")
    (event,) = tracker.events()
    assert event.breakdown["few_shot"] == tokens("Which colour is the mug?") + tokens("The mug is white.")
    assert event.breakdown["retrieved_context"] == pytest.approx(tokens("The kettle is as blue as the sea."), abs=1)
    assert event.breakdown["user_input"] == tokens("And the kettle?")


class Colour(BaseModel):
    """What colour a thing has, and how sure that is."""

    colour: str
    sure: bool


def test_point_06_a_schema_written_into_the_prompt_is_output_schema(
    scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    llm = scripted(text='{"colour": "blue", "sure": true}')
    program = LLMTextCompletionProgram.from_defaults(
        output_cls=Colour, prompt_template_str="Which colour is {query}?", llm=llm
    )
    assert program(query="the kettle").colour == "blue"
    (event,) = tracker.events()
    assert event.breakdown["output_schema"] > 40
    assert event.breakdown["user_input"] == pytest.approx(tokens("Which colour is the kettle?"), abs=1)


def test_point_06_a_chat_that_is_written_out_as_text_keeps_its_parts(tracker: TokenBreakdownHandler) -> None:
    llm = MockLLM(max_tokens=3)
    rules = "You are the desk of a kitchen shop. Never promise what the handbook does not."
    llm.chat([ChatMessage(role="system", content=rules), *ASK])
    (event,) = tracker.events()
    assert event.breakdown["system_prompt"] == tokens(rules)
    assert event.breakdown["user_input"] == tokens(ASK[0].content or "")


def test_point_06_the_parts_sum_to_what_the_provider_reported(
    index: VectorStoreIndex, scripted: Make, usage: dict[str, Any], tracker: TokenBreakdownHandler
) -> None:
    tracker.reset()
    index.as_query_engine(llm=scripted(raw={"usage": usage})).query("How long does a refund take?")
    event = next(event for event in tracker.events() if event.operation == "chat")
    assert (event.breakdown.input_tokens, event.breakdown.output_tokens) == (100, 20)


async def test_point_06_an_agents_history_memory_and_tools_are_told_apart(
    replayed: ReplayLLM, tracker: TokenBreakdownHandler
) -> None:
    def get_weather(city: str) -> str:
        """Say what the weather is like in a city today."""
        return f"{city}: sunny, 24 degrees"

    memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
    agent = FunctionAgent(tools=[get_weather], llm=replayed, system_prompt="You know the weather.")
    await agent.run("How long does a refund of order A-17 take?", memory=memory)
    tracker.reset()
    await agent.run("What is the weather in Rome today?", memory=memory)
    asked, answered = (event.breakdown for event in tracker.events())
    assert asked["system_prompt"] == pytest.approx(tokens("You know the weather."), abs=1)
    assert asked["history"] == answered["history"] > 15
    assert (
        asked["user_input"]
        == answered["user_input"]
        == pytest.approx(tokens("What is the weather in Rome today?"), abs=1)
    )
    assert asked["tool_results"] == 0 < answered["tool_results"]
    assert asked["agent_messages"] == 0 < answered["agent_messages"]


# 7: cheap, and never in the way ---------------------------------------------------------------------------------------


def test_point_07_nothing_is_counted_in_the_callers_thread(
    scripted: Make, tracker: TokenBreakdownHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    real = TokenCounter.count

    def watched(self: TokenCounter, *args: Any) -> Any:
        threads.append(threading.current_thread())
        return real(self, *args)

    monkeypatch.setattr(TokenCounter, "count", watched)
    list(scripted().stream_chat(ASK))
    tracker.flush()
    assert threads
    assert threading.current_thread() not in threads


def test_point_07_an_error_of_ours_is_counted_and_logged_once_not_raised(
    scripted: Make, new_handler: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("a secret of the user")

    monkeypatch.setattr(listener.snapshots, "of_message", broken)
    with new_handler() as handler, caplog.at_level(logging.WARNING, "tokenwise"):
        for _ in range(20):
            assert scripted().chat(ASK).message.content
    assert handler.errors >= 20
    assert 1 <= len(caplog.records) <= 3
    assert "secret" not in caplog.text


def test_point_07_events_of_a_call_that_began_before_are_passed_over(scripted: Make, new_handler: Make) -> None:
    stream = scripted().stream_chat(ASK)
    next(stream)
    with new_handler() as handler:
        list(stream)
        get_dispatcher().event(SpanDropEvent(span_id="unknown", err_str=""))
    assert handler.events() == ()
    assert handler.errors == 0


def test_point_07_the_kill_switch_leaves_the_application_alone(scripted: Make, tracker: TokenBreakdownHandler) -> None:
    tokenwise_core.disable()
    try:
        scripted().chat(ASK)
        list(scripted().stream_chat(ASK))
    finally:
        tokenwise_core.enable()
    assert tracker.events() == ()


def test_point_07_a_legacy_callback_manager_is_never_failed(scripted: Make, new_handler: Make) -> None:
    handler = new_handler().as_callback()
    manager = CallbackManager([handler])
    for kind in CBEventType:
        manager.on_event_start(kind, payload={"nonsense": object()})
        manager.on_event_end(kind, payload=None)
    assert scripted(callback_manager=manager).chat(ASK).message.content


# 8: whose call it is --------------------------------------------------------------------------------------------------


def test_point_08_scopes_of_threads_and_tasks_do_not_mix(scripted: Make, tracker: TokenBreakdownHandler) -> None:
    async def ask(user: str) -> None:
        with scope(user=user, session=f"s-{user}"):
            for _ in range(3):
                await scripted(text=user).achat(ASK)
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(ask("ann"), ask("bob"))

    asyncio.run(both())
    assert sorted((event.scope.user, event.scope.session) for event in tracker.events()) == [
        ("ann", "s-ann")] * 3 + [("bob", "s-bob")] * 3  # fmt: skip


def test_point_08_the_thread_of_a_chat_engines_stream_keeps_the_scope(
    index: VectorStoreIndex, scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    engine = index.as_chat_engine("context", llm=scripted())
    tracker.reset()
    with scope(user="ann"):
        answer = engine.stream_chat("How long does a refund take?")
    assert "".join(answer.response_gen)
    assert {event.scope.user for event in tracker.events()} == {"ann"}


async def test_point_08_tags_of_the_application_are_left_alone(scripted: Make, tracker: TokenBreakdownHandler) -> None:
    with instrument_tags({"mine": 1}):
        await scripted().achat(ASK)
        assert active_instrument_tags.get() == {"mine": 1}


async def test_point_08_the_run_of_a_workflow_is_the_trace(replayed: ReplayLLM, tracker: TokenBreakdownHandler) -> None:
    agent = FunctionAgent(name="desk", tools=[], llm=replayed)
    handle = agent.run("How long does a refund of order A-17 take?")
    await handle
    (event,) = tracker.events()
    assert event.scope.trace == handle.run_id
    assert event.run_name == "FunctionAgent.run"


# 9: nothing of the user's is kept -------------------------------------------------------------------------------------


def test_point_09_a_message_that_changes_after_the_call_is_counted_as_it_was(
    scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    held = threading.Event()
    tracker.meter.recorder.submit(lambda: held.wait(10) and None)  # the writer is busy while the message changes
    message = ChatMessage(role="user", content="Short.")
    answer = scripted().chat([message])
    message.blocks[0].text = "And now it is a very long message indeed. " * 50
    answer.message.blocks[0].text = "So is this. " * 50
    held.set()
    (event,) = tracker.events()
    assert event.breakdown["user_input"] == tokens("Short.")
    assert event.breakdown["response"] == tokens(scripted().text)


async def test_point_09_no_text_of_the_user_is_in_any_record_or_event(
    replayed: ReplayLLM, tracker: TokenBreakdownHandler, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "tokenwise"):
        agent = FunctionAgent(tools=[], llm=replayed)
        await agent.run("How long does a refund of order A-17 take?")
        (event,) = tracker.events()
    assert "A-17" not in caplog.text
    assert "A-17" not in repr(event)
    assert "step.input_summary" not in repr(event)


def test_point_09_the_messages_of_a_finished_call_are_let_go(scripted: Make, tracker: TokenBreakdownHandler) -> None:
    class Tracked(ChatMessage):
        pass

    scripted().chat([Tracked(role="user", content="Short.")])
    tracker.flush()
    gc.collect()
    assert not any(isinstance(found, Tracked) for found in gc.get_objects())


# 10: installed once, gone without a trace, bounded --------------------------------------------------------------------


def test_point_10_installing_twice_is_installing_once(scripted: Make, new_handler: Make) -> None:
    handler = new_handler()
    handler.install()
    with handler.install():
        scripted(callback_manager=CallbackManager([handler.as_callback(), handler])).chat(ASK)
    assert len(handler.events()) == 1


def test_point_10_uninstalling_leaves_the_dispatcher_as_it_was(scripted: Make, new_handler: Make) -> None:
    root = get_dispatcher()
    events, spans = list(root.event_handlers), list(root.span_handlers)
    handler = new_handler()
    with handler:
        assert handler.installed
    handler.uninstall()
    assert (root.event_handlers, root.span_handlers) == (events, spans)
    scripted().chat(ASK)
    assert handler.events() == ()


def test_point_10_an_error_inside_uninstalls_too(new_handler: Make) -> None:
    handler = new_handler()
    with pytest.raises(ZeroDivisionError), handler:
        raise ZeroDivisionError
    assert not handler.installed


def test_point_10_given_to_a_callback_manager_it_installs_itself_once(scripted: Make, new_handler: Make) -> None:
    handler = new_handler()
    llm = scripted(callback_manager=CallbackManager([handler]))
    for _ in range(3):
        llm.chat(ASK)
    assert len(handler.events()) == 3
    handler.uninstall()
    llm.chat(ASK)
    assert not handler.installed
    assert len(handler.events()) == 3


def test_point_10_global_settings_take_it_too(
    scripted: Make, new_handler: Make, index: VectorStoreIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = new_handler()
    monkeypatch.setattr(Settings, "_callback_manager", CallbackManager([handler]))
    index.as_query_engine(llm=scripted()).query("How long does a refund take?")
    assert len([event for event in handler.events() if event.operation == "chat"]) == 1


def test_point_10_two_handlers_see_the_same(scripted: Make, new_handler: Make) -> None:
    with new_handler() as one, new_handler() as other:
        scripted().chat(ASK)
    assert [event.breakdown for event in one.events()] == [event.breakdown for event in other.events()]
    assert len(one.events()) == 1


def test_point_10_what_never_ends_is_bounded(
    scripted: Make, tracker: TokenBreakdownHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_OPEN", 10)
    llm = scripted()
    for _ in range(50):
        llm.stream_chat(ASK)  # never read, hence neither ended nor closed
    assert len(tracker._listener._requests) <= 10
    llm.chat(ASK)
    assert len(tracker.events()) == 1


def test_point_10_finished_spans_leave_nothing_behind(
    scripted: Make, index: VectorStoreIndex, tracker: TokenBreakdownHandler
) -> None:
    engine = index.as_chat_engine("condense_plus_context", llm=scripted())
    for _ in range(3):
        engine.chat("How long does a refund take?")
        assert "".join(engine.stream_chat("And now?").response_gen)
    state = tracker._listener
    assert not state._requests
    assert not state._facts
    assert not state._batches
    assert not any(state._idle.values())
    assert not router.spans
    assert not router.streams
    (spans,) = [handler for handler in get_dispatcher().span_handlers if "TokenBreakdown" in handler.class_name()]
    assert not spans.open_spans
    assert not spans.completed_spans


def test_point_10_a_copy_is_the_handler_itself_and_a_pickle_a_fresh_one(new_handler: Make) -> None:
    handler = new_handler()
    assert copy.copy(handler) is copy.deepcopy(handler) is handler
    loaded = pickle.loads(pickle.dumps(handler))
    assert loaded is not handler
    assert not loaded.installed
    assert loaded.events() == ()


# Embeddings, counted apart --------------------------------------------------------------------------------------------


def test_embeddings_are_events_of_their_own_outside_the_breakdown(
    index: VectorStoreIndex, tracker: TokenBreakdownHandler
) -> None:
    tracker.reset()
    index.as_retriever().retrieve("How long does a refund take?")
    (event,) = tracker.events()
    assert event.operation == "embedding"
    assert event.usage.input_tokens == tokens("How long does a refund take?")
    assert tracker.breakdown().total_tokens == 0


@pytest.mark.parametrize("awaited", [False, True])
async def test_each_batch_of_embeddings_is_one_event(awaited: bool, tracker: TokenBreakdownHandler) -> None:
    model = MockEmbedding(4, embed_batch_size=2)
    texts = ["one", "two", "three", "four", "five words stand here now"]
    if awaited:
        await model.aget_text_embedding_batch(texts)
    else:
        model.get_text_embedding_batch(texts)
    events = tracker.events()
    assert [event.messages for event in events] == [2, 2, 1]
    assert [event.usage.input_tokens for event in events] == [2, 2, 5]


def test_a_failed_embedding_is_an_error(tracker: TokenBreakdownHandler) -> None:
    class Refusing(MockEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        Refusing(4).get_text_embedding("one")
    assert [(event.operation, str(event.status)) for event in tracker.events()] == [("embedding", "error")]


def test_a_template_with_a_variable_of_another_name_is_the_users(
    scripted: Make, tracker: TokenBreakdownHandler
) -> None:
    scripted().predict(PromptTemplate("Write a poem about {topic}, in four lines."), topic="kettles and their lids")
    (event,) = tracker.events()
    assert event.breakdown["user_input"] == tokens(" kettles and their lids")
    assert event.breakdown["system_prompt"] > 5
