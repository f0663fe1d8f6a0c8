"""Points 24 to 33 of the checklist for LangChain (research, section 4), one by one; and 31, 32 in its numbers."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from tests.core.memory.histories import random_history
from tests.langchain.memories import FILLER, LEXICAL, SUMMARY, answers, asked, eager, is_for_summary, sent
from tokenwise_core.memory import BlockSummary, Memory, Rates, Request, ToolResults
from tokenwise_core.messages import Message
from tokenwise_langchain import ReplayChatModel, SummaryBufferHistory, SummaryBufferMiddleware
from tokenwise_langchain.convert import snapshot, to_prompt
from tokenwise_langchain.memory import mirror
from tokenwise_langchain.memory.keeper import Keeper
from tokenwise_langchain.memory.mirror import Mirrors

THREAD: Any = {"configurable": {"thread_id": "t"}}


@tool
def look(order: str) -> str:
    """Look an order up."""
    return f"Order {order} was sent to Lisbon."


class Watching(BaseCallbackHandler):
    """What each of the application's own requests held, and what memory said of it."""

    run_inline = True

    def __init__(self) -> None:
        self.seen: list[tuple[list[BaseMessage], dict[str, Any]]] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, *, metadata: Any = None, **kwargs: Any) -> None:
        if not is_for_summary(messages[0]):
            self.seen.append((list(messages[0]), metadata))


def uses_tools(messages: list[BaseMessage]) -> Any:
    """Answer a human with one to three parallel calls, and their results with words."""
    if is_for_summary(messages):
        return SUMMARY
    if not isinstance(messages[-1], HumanMessage):
        return f"All were sent. {FILLER}"
    name = messages[-1].text.split()[1].strip(".")
    calls = [
        {"name": "look", "args": {"order": f"{name}-{n}"}, "id": f"c-{name}-{n}"} for n in range(1 + int(name) % 3)
    ]
    return AIMessage("", tool_calls=calls)


def talk(agent: Any, turns: int, *, first: int = 0, callbacks: Any = ()) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for n in range(first, first + turns):
        given = {"messages": [("human", f"Orders {n}. {FILLER}")]}
        state = agent.invoke(given, {**THREAD, "callbacks": list(callbacks)})
    return state


def new_agent(model: Any, memory: Memory, **settings: Any) -> Any:
    middleware = [SummaryBufferMiddleware(memory, summarizer=settings.pop("summarizer", None))]
    return create_agent(
        model, middleware=middleware, checkpointer=InMemorySaver(), system_prompt="Be kind.", **settings
    )


def on_the_wire(message: BaseMessage) -> tuple[Any, ...]:
    calls = [(call["name"], str(call["args"]), call["id"]) for call in getattr(message, "tool_calls", ())]
    return message.type, message.content, calls, getattr(message, "tool_call_id", None)


def orphans(messages: list[BaseMessage]) -> set[str]:
    """Calls without their result, and results without their call before them."""
    open_calls: set[str] = set()
    lost: set[str] = set()
    for message in messages:
        if isinstance(message, AIMessage):
            open_calls |= {str(call["id"]) for call in message.tool_calls}
        elif isinstance(message, ToolMessage):
            lost |= set() if message.tool_call_id in open_calls else {message.tool_call_id}
            open_calls.discard(message.tool_call_id)
    return lost | open_calls


def as_langchain(message: Message) -> BaseMessage:
    if message.role == "tool":
        return ToolMessage(message.text, tool_call_id=message.tool_call_id or "")
    if message.role == "assistant":
        calls = [{"name": call.name, "args": {}, "id": call.id} for call in message.tool_calls]
        return AIMessage(message.text, tool_calls=calls)
    return SystemMessage(message.text) if message.role == "system" else HumanMessage(message.text)


# 24


def test_point_24_the_checkpointed_history_is_whole_with_every_id_it_had(counted: Any) -> None:
    model = counted(says=uses_tools, usage=None)
    agent = new_agent(model, eager(), tools=[look])
    ids: list[str] = []
    for n in range(20):
        messages = talk(agent, 1, first=n)["messages"]
        assert [message.id for message in messages][: len(ids)] == ids
        ids = [message.id for message in messages]
    assert len(ids) == len(set(ids))
    assert len(sent(model)[-1]) < len(ids) / 2


# 25


@given(seed=st.integers(0, 2**32), size=st.integers(1, 60), limit=st.sampled_from([120, 300, 600]))
def test_point_25_no_call_is_shown_without_its_result_nor_a_result_without_its_call(
    seed: int, size: int, limit: int
) -> None:
    messages = [as_langchain(one) for one in random_history(seed, size, well_formed=True)]
    memory = Memory(BlockSummary(epsilon=100.0), target_tokens=limit // 2, max_tokens=limit, tool_results=ToolResults())
    keeper = Keeper(memory)
    for stop in sorted(random.Random(seed).sample(range(len(messages) + 1), k=min(4, len(messages) + 1))):
        before = messages[:stop]
        kept = keeper.show("s", before, Request(summariser=None), lambda _: None)
        assert orphans(kept.messages) <= orphans(before), "what was unanswered before may be so still"
        assert all(any(one is other for other in before) or one.id or one.type == "tool" for one in kept.messages)


def test_point_25_in_an_agent_with_parallel_calls_every_request_is_valid(counted: Any) -> None:
    model = counted(says=uses_tools, usage=None)
    talk(new_agent(model, eager(max_tokens=700), tools=[look]), 40)
    assert all(not orphans(messages) for messages in model._asked)
    assert any(messages[1].text.startswith("[Summary") for messages in sent(model))


# 26


def test_point_26_the_summary_before_goes_into_the_next_one(counted: Any) -> None:
    model, other = counted(says=answers, usage=None), counted(says=lambda m: f"- fact {len(m[0].text)}")
    memory = Memory(
        BlockSummary(epsilon=1_000.0, summary_tokens=40, merge_at=2), rates=Rates(read=1.0, write=1.0, output=1.0),
        target_tokens=400, summaries="after_answer", recall=None,
    )  # fmt: skip
    talk(new_agent(model, memory, summarizer=other), 60)
    assert other.calls > 3
    said = [f"- fact {len(messages[0].text)}" for messages in other._asked]
    for before, messages in zip(said, other._asked[1:], strict=False):
        assert before in messages[0].text


def test_point_26_all_of_a_long_block_is_seen_in_chunks(counted: Any) -> None:
    other = counted(says="- a fact")
    history = SummaryBufferHistory("s", eager(target_tokens=2_000), summarizer=other)
    long = [f"Line {n}: order A-{n} goes to street {n}. {FILLER}" for n in range(700)]
    history.add_messages([HumanMessage("\n".join(long[:350])), AIMessage("\n".join(long[350:]))])
    for n in range(4):
        history.add_messages([HumanMessage(f"Go on {n}.")])
        history.messages  # noqa: B018
        history.add_messages([AIMessage(f"Noted {n}. {FILLER}")])
    prompts = "\n".join(messages[0].text for messages in other._asked)
    assert other.calls > 1
    assert all(f"order A-{n} goes" in prompts for n in range(700))
    assert "too long" not in prompts


# 27


def fails(messages: list[BaseMessage]) -> Any:
    return ConnectionError() if is_for_summary(messages) else f"Noted. {FILLER}"


def test_point_27_while_summaries_fail_all_is_kept_and_at_the_hard_limit_it_fits(counted: Any) -> None:
    whole = counted(says=fails, usage=None)
    talk(new_agent(whole, eager()), 15)
    assert len(sent(whole)[-1]) == 30
    fitted = counted(says=fails, usage=None)
    memory = eager(max_tokens=800)
    talk(new_agent(fitted, memory), 30)
    assert all(tokens(memory, messages) <= 800 for messages in sent(fitted))
    assert sent(fitted)[-1][1].text.startswith("[Summary")
    again = counted(says=fails, usage=None)
    talk(new_agent(again, eager(max_tokens=800)), 30)
    assert [list(map(on_the_wire, one)) for one in sent(again)] == [list(map(on_the_wire, one)) for one in sent(fitted)]


# 28


def test_point_28_a_summary_serves_many_turns_and_its_size_is_bounded(counted: Any) -> None:
    model = counted(says=lambda m: "- a fact and more. " * 300 if is_for_summary(m) else f"Noted. {FILLER}", usage=None)
    memory = Memory(target_tokens=1_500, summaries="after_answer", recall=None)
    watching = Watching()
    talk(new_agent(model, memory), 250, callbacks=[watching])
    cuts = [facts for _, facts in watching.seen if facts["tokenwise.memory"] != "unchanged"]
    assert 1 < len(cuts) < 250 / 10
    assert len(asked(model)) == len(cuts) or len(asked(model)) == len(cuts) + 1
    shown = [message for messages, _ in watching.seen for message in messages if message.text.startswith("[Summary")]
    assert max(memory.counter.text(message.text) for message in shown) < 600


# 29


class Verdict(BaseModel):
    """An answer, in a form that takes some tokens to describe by itself and in each of its fields."""

    answer: str
    reason: str


def tokens(memory: Memory, messages: list[BaseMessage], **params: Any) -> int:
    return memory.fixed_tokens(to_prompt([snapshot(message) for message in messages], params))


def test_point_29_the_limit_holds_with_system_prompt_tools_and_format(counted: Any) -> None:
    def says(messages: list[BaseMessage]) -> Any:
        if is_for_summary(messages):
            return SUMMARY
        call = {"name": "Verdict", "args": {"answer": FILLER, "reason": "so"}, "id": f"v-{len(messages)}"}
        return AIMessage("", tool_calls=[call])

    seen: list[Any] = []

    class Binding(counted):  # type: ignore[misc, valid-type]
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            seen.append(tools)
            return super().bind_tools(tools, **kwargs)

    memory = Memory(target_tokens=990, max_tokens=1_000, recall=None)
    model = Binding(says=says, usage=None)
    agent = new_agent(model, memory, tools=[look], response_format=ToolStrategy(Verdict))
    talk(agent, 25)
    sizes = [tokens(memory, messages, tools=seen[0]) for messages in sent(model)]
    bare = [tokens(memory, messages) for messages in sent(model)]
    assert max(sizes) <= 1_000 < max(sizes) + 250, "filled, not undercut by much"
    assert max(bare) < 950


def test_point_29_what_the_provider_reports_corrects_our_count(counted: Any) -> None:
    def usage_of(share: float) -> Any:
        class Reporting(counted):  # type: ignore[misc, valid-type]
            def _answer(self, messages: list[BaseMessage]) -> AIMessage:
                answer: AIMessage = super()._answer(messages)
                n = round(tokens(counting, messages) * share)
                answer.usage_metadata = {"input_tokens": n, "output_tokens": 5, "total_tokens": n + 5}
                return answer

        return Reporting(says=answers)

    counting = eager()
    sizes = []
    for share in (1.0, 1.8):
        model, memory = usage_of(share), Memory(target_tokens=990, max_tokens=1_000, recall=None)
        talk(new_agent(model, memory), 30)
        sizes.append(max(tokens(memory, messages) for messages in sent(model)[5:]))
    assert sizes[1] < sizes[0] * 0.7


# 30


@pytest.mark.parametrize("recall", [None, LEXICAL])
def test_point_30_a_request_continues_the_last_one_unless_a_change_is_told(counted: Any, recall: Any) -> None:
    model, watching = counted(says=uses_tools, usage=None), Watching()
    memory = Memory(target_tokens=1_500, summaries="after_answer", recall=recall, tool_results=ToolResults())
    talk(new_agent(model, memory, tools=[look]), 80, callbacks=[watching])
    changes = 0
    for (before, _), (after, facts) in zip(watching.seen, watching.seen[1:], strict=False):
        same = list(map(on_the_wire, before)) == list(map(on_the_wire, after))[: len(before)]
        changes += facts["tokenwise.memory"] != "unchanged"
        slot = any(message.id and message.id.startswith("tokenwise-memory") for message in before)
        new_turn = isinstance(after[-1], HumanMessage)
        assert same or facts["tokenwise.memory"] != "unchanged" or (slot and new_turn)
    assert 0 < changes < 15


def test_point_30_between_two_cuts_a_summary_is_one_message_with_one_id_and_marks_of_others_stay(counted: Any) -> None:
    marked = [{"type": "text", "text": f"Orders 1. {FILLER}", "cache_control": {"type": "ephemeral"}}]
    model, watching = counted(says=answers, usage=None), Watching()
    agent = new_agent(model, eager(max_tokens=900))
    agent.invoke({"messages": [HumanMessage(marked)]}, {**THREAD, "callbacks": [watching]})
    talk(agent, 30, first=1, callbacks=[watching])
    assert watching.seen[0][0][1].content == marked
    summaries = [(m.id, m.text) for messages, _ in watching.seen for m in messages if m.text.startswith("[Summary")]
    assert len({name for name, _ in summaries}) == len(set(summaries))
    assert len(set(summaries)) < len(summaries) / 2


def test_point_30_every_call_reports_its_stable_prefix(counted: Any) -> None:
    model, watching = counted(says=answers, usage=None), Watching()
    talk(new_agent(model, Memory(target_tokens=50_000)), 5, callbacks=[watching])
    stable = [facts["tokenwise.memory_stable"] for _, facts in watching.seen]
    after = [facts["tokenwise.memory_after"] for _, facts in watching.seen]
    assert stable[0] == 0
    assert stable[1:] == after[:-1]


# 31


def test_point_31_a_turn_reads_and_counts_its_new_messages_only(counted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    project = mirror.to_message
    monkeypatch.setattr(mirror, "to_message", lambda fields, at: read.append(at) or project(fields, at))
    agent = new_agent(counted(says=answers, usage=None), Memory(target_tokens=50_000))
    talk(agent, 20)
    assert read == list(range(39)), "each message once, though a checkpoint makes new objects of them each turn"


# 32


def count_of(message: BaseMessage) -> int:
    with Mirrors(Memory()).using("s", [message]) as (conversation, _):
        return conversation.total


def test_point_32_blocks_calls_pictures_and_chinese_are_counted_as_they_are_sent() -> None:
    call = {"name": "write", "args": {"text": "word " * 800}, "id": "c"}
    in_text, in_blocks = AIMessage("Done.", tool_calls=[call]), AIMessage([{"type": "text", "text": "Done."}])
    in_blocks.tool_calls = in_text.tool_calls
    assert count_of(in_blocks) == count_of(in_text) > 800
    url = "data:image/png;base64," + "iVBORw0KGgo" * 9_000
    assert 50 < count_of(HumanMessage([{"type": "image_url", "image_url": {"url": url}}])) < 3_000
    assert count_of(HumanMessage("退款需要五个工作日才能到账。" * 20)) > 20 * 14 * 0.5


# 33 (more in test_memory_history.py)


def test_point_33_two_processes_on_one_session_lose_nothing_and_store_nothing_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.sqlite'}"
    program = f"""
import sys, warnings
warnings.simplefilter("ignore")
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory
from tokenwise_core.memory import Memory
from tokenwise_langchain import SummaryBufferHistory

who = sys.argv[1]
memory = Memory(target_tokens=200, max_tokens=400, sessions={url!r}, deadline_ms=5_000)
chain = RunnableWithMessageHistory(
    RunnableLambda(lambda messages: AIMessage("To " + messages[-1].text)), lambda s: SummaryBufferHistory(s, memory)
)
config = {{"configurable": {{"session_id": "s"}}}}
for n in range(20):
    chain.invoke([HumanMessage(who + str(n) + " and some more words to fill it")], config)
memory.close()
"""
    running = [subprocess.Popen([sys.executable, "-c", program, who]) for who in "AB"]
    assert [one.wait(120) for one in running] == [0, 0]
    memory = Memory(sessions=url)
    stored = [message.text.split(" and")[0] for message in SummaryBufferHistory("s", memory).full_messages()]
    said = [f"{who}{n}" for who in "AB" for n in range(20)]
    assert sorted(stored) == sorted([*said, *(f"To {one}" for one in said)])
    memory.close()


# Long runs


def test_two_hundred_turns_with_a_recorded_model_stay_short_and_right(model: ReplayChatModel, turns: Any) -> None:
    @tool
    def get_weather(city: str) -> str:
        """Return the weather."""
        return f"It is sunny in {city}."

    memory = Memory(target_tokens=1_000, max_tokens=1_500, summaries="after_answer", recall=None)
    watching = Watching()
    agent = new_agent(model, memory, tools=[get_weather])
    for n in range(200):
        turn = turns[n % 2]
        given = {"messages": [("human", turn.user)]}
        state = agent.invoke(given, {**THREAD, "callbacks": [watching]})
        assert state["messages"][-1].text == turn.right
    assert len(watching.seen) == 300
    assert all(not orphans(messages) for messages, _ in watching.seen)
    assert max(facts["tokenwise.memory_after"] for _, facts in watching.seen) <= 1_500
    assert len(state["messages"]) == 600
