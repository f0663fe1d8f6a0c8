"""Points 11 to 22 of the checklist: what a first-rate memory for LlamaIndex does and a naive one gets wrong."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    CitableBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.memory.types import BaseMemory
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from llama_index.llms.openai.utils import to_openai_message_dicts

from tests.llamaindex.talking import (
    FACTS,
    Talker,
    answer,
    answered,
    call,
    called,
    core_memory,
    result,
    summing,
    system,
    talk,
    texts,
    tokens,
    user,
    words,
)
from tokenwise_core.errors import BadInput
from tokenwise_core.memory import BlockSummary
from tokenwise_llamaindex import SummaryBufferMemory, TokenwiseLLM

LONG = "It says: " + "much and more, " * 80


def look(what: str) -> str:
    """Look something up."""
    return f"{what}: {LONG}"


def touching() -> FunctionTool:
    """Return a tool that changes the agent's state."""

    async def touch(ctx: Any) -> str:
        async with ctx.store.edit_state() as state:
            state["state"] = {"touched": True}
        return "touched"

    touch.__annotations__["ctx"] = Context  # the tool reads the annotation itself, not its text
    return FunctionTool.from_defaults(async_fn=touch, name="touch", description="Change the state.")


def looking(times: int) -> Any:
    """Return a model's behaviour: to look *times* times, then to answer."""
    done = 0

    def say(*_: Any) -> ChatMessage | str:
        nonlocal done
        done += 1
        return call(f"c{done}") if done <= times else "All was looked up."

    return say


def elsewhere(text: str) -> dict[str, Any]:
    """Return what was written, as another process reads it: there the session is not open."""
    data: dict[str, Any] = json.loads(text)
    data["dumped"]["living"] = "another process"
    return data


# 11 -------------------------------------------------------------------------------------------------------------------


def test_11_an_empty_memory_is_true_so_no_engine_or_agent_replaces_it() -> None:
    memory = summing()
    assert memory
    assert not hasattr(type(memory), "__len__")
    assert "__bool__" not in dir(type(memory))


async def test_11_an_agent_keeps_the_empty_memory_that_it_is_given() -> None:
    memory = summing()
    await FunctionAgent(tools=[], llm=Talker()).run("Hello?", memory=memory)
    assert texts(memory.get_all())[0] == "Hello?"


# 12 -------------------------------------------------------------------------------------------------------------------


def test_12_a_deep_copy_is_the_memory_itself_so_a_state_that_is_copied_forks_no_conversation() -> None:
    memory = summing()
    assert copy.deepcopy(memory) is memory
    assert memory.model_copy(deep=True) is memory
    assert copy.copy(memory) is memory


async def test_12_a_tool_that_edits_the_state_leaves_the_callers_memory_the_agents() -> None:
    memory = summing()

    def say(messages: list[ChatMessage], _: Any) -> ChatMessage | str:
        if answered(messages):
            return "Done."
        return ChatMessage(role="assistant", blocks=[ToolCallBlock(tool_call_id="t", tool_name="touch")])

    agent = FunctionAgent(tools=[touching()], llm=Talker(say))
    context = Context(agent)
    await agent.run("Touch it.", ctx=context, memory=memory)
    assert [message.role.value for message in memory.get_all()] == ["user", "assistant", "tool", "assistant"]
    assert await context.store.get("memory") is memory


async def test_12_runs_that_go_on_with_one_context_go_on_with_the_callers_memory() -> None:
    llm = Talker()
    memory = summing(llm)
    agent = FunctionAgent(tools=[], llm=Talker())
    context = Context(agent)  # it is written down and read again before each run
    for number in range(3):
        await agent.run(words(number), ctx=context, memory=memory)
    inside = await context.store.get("memory")
    assert texts(memory.get_all())[::2] == [words(number) for number in range(3)]
    assert inside.get_all() == memory.get_all()
    assert inside.llm is llm
    assert inside.memory is memory.memory


@pytest.mark.parametrize("way", ["to_dict", "model_dump_json", "to_string", "to_json"])
def test_12_it_comes_back_from_strict_json(way: str) -> None:
    llm = Talker()
    memory = summing(llm)
    talk(memory, 16)
    match way:
        case "to_dict":
            text = json.dumps(memory.to_dict(), allow_nan=False)
            again = SummaryBufferMemory.from_dict(elsewhere(text), llm=llm)
        case "to_string":
            text = memory.to_string()
            again = SummaryBufferMemory.from_string(json.dumps(elsewhere(text)), llm=llm)
        case "to_json":
            text = memory.to_json()
            again = SummaryBufferMemory.from_json(json.dumps(elsewhere(text)), llm=llm)
        case _:
            text = memory.model_dump_json()
            again = SummaryBufferMemory.model_validate_json(json.dumps(elsewhere(text)))
            again.llm = llm
    assert again.memory is not memory.memory
    assert again.get_all() == memory.get_all()
    assert texts(again.get()) == texts(memory.get())
    assert any("ORD-1234" in one for one in texts(again.get()))
    assert "very-secret" not in text


def test_12_every_kind_of_block_comes_back_as_it_was() -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\x00\xff" * 20
    blocks = [
        TextBlock(text="a 😀 b {x}"),
        ThinkingBlock(content="hm", num_tokens=3, additional_information={"signature": "s", "raw": b"\xff\x00"}),
        ToolCallBlock(tool_call_id="1", tool_name="t", tool_kwargs={"deep": {"er": [1, None, 2.5, "x"]}}),
        ImageBlock(image=png, detail="low"),
        CitableBlock(title="t", source="s", content=[TextBlock(text="cited")]),
    ]
    message = ChatMessage(role="assistant", blocks=blocks, additional_kwargs={"thought_signatures": [b"\xfe", None]})
    memory = summing()
    memory.put(user("?"))
    memory.put(message)
    text = json.dumps(memory.to_dict(), allow_nan=False)
    assert SummaryBufferMemory.from_dict(elsewhere(text)).get_all()[1] == message
    assert memory.get_all()[1] == message


async def test_12_an_agents_context_brings_the_memory_back() -> None:
    llm = Talker(looking(1))
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(look)], llm=llm)
    context, memory = Context(agent), summing(llm)
    await agent.run("Look it up.", ctx=context, memory=memory)
    saved = json.loads(json.dumps(context.to_dict()))
    await memory.aput(user("It went on."))
    again = Context.from_dict(agent, saved)
    await agent.run("And what was that?", ctx=again)
    restored = await again.store.get("memory")
    assert isinstance(restored, SummaryBufferMemory)
    assert texts(restored.get_all())[:4] == texts(memory.get_all())[:4]
    assert texts(restored.get_all())[4] == "And what was that?"
    assert texts(memory.get_all())[4:] == ["It went on."]  # one conversation was taken up where it was saved


# 13 -------------------------------------------------------------------------------------------------------------------


def test_13_all_keywords_of_chat_engines_are_taken() -> None:
    history = [user("Hello?"), answer("Hello.")]
    memory = SummaryBufferMemory.from_defaults(
        chat_history=history, llm=None, token_limit=500, tokenizer_fn=str.split, token_flush_size=3
    )
    assert memory.get(input=None, initial_token_count=7, whatever=1) == history
    assert memory.get() == history
    assert len(memory.tokenizer_fn("one two three")) == 3


def test_13_the_tokenizer_that_is_shown_counts_as_the_memory_does() -> None:
    memory = summing()
    assert len(memory.tokenizer_fn("Hello, world")) == memory.memory.counter.text("Hello, world") == 3


async def test_13_the_async_half_takes_them_too() -> None:
    memory = summing()
    await memory.aput(user("Hello?"))
    assert texts(await memory.aget(input="Hello?", initial_token_count=7, whatever=1)) == ["Hello?"]


def test_13_a_limit_that_means_nothing_is_refused_with_its_remedy() -> None:
    with pytest.raises(BadInput, match="token_limit=0"):
        SummaryBufferMemory.from_defaults(token_limit=0)
    with pytest.raises(BadInput, match="max_tokens=100"):
        SummaryBufferMemory.from_defaults(token_limit=100, memory=core_memory())


# 14 -------------------------------------------------------------------------------------------------------------------


def test_14_every_method_of_a_memory_has_an_async_half_of_its_own() -> None:
    for name in ("aget", "aget_all", "aput", "aput_messages", "aset", "areset"):
        assert getattr(SummaryBufferMemory, name) is not getattr(BaseMemory, name)


async def test_14_while_a_summary_is_made_the_event_loop_goes_on() -> None:
    memory = summing(Talker(delay_s=0.2))
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.005)

    heart = asyncio.create_task(beat())
    for number in range(14):
        await memory.aput(user(words(2 * number)))
        await memory.aget()
        await memory.aput(answer(words(2 * number + 1)))
    heart.cancel()
    assert memory.memory.stats().summaries["made"]
    assert beats > 10


async def test_14_several_messages_are_one_batch() -> None:
    memory = summing()
    sessions, batches = memory.memory.sessions, []
    append = sessions.append
    sessions.append = lambda session, items, **owner: (batches.append(len(items)), append(session, items, **owner))  # type: ignore[method-assign]
    await memory.aput_messages([user("a"), call("1"), result("1"), answer("b")])
    memory.put_messages([user("c"), answer("d")])
    assert batches == [4, 2]


def test_14_messages_that_many_threads_put_are_all_there() -> None:
    memory = summing()

    def put(worker: int) -> None:
        for number in range(25):
            memory.put(user(f"{worker}-{number}"))
            memory.get()

    threads = [threading.Thread(target=put, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = texts(memory.get_all())
    assert sorted(said) == sorted(f"{worker}-{number}" for worker in range(4) for number in range(25))
    for worker in range(4):
        assert [one for one in said if one.startswith(f"{worker}-")] == [f"{worker}-{n}" for n in range(25)]


# 15 -------------------------------------------------------------------------------------------------------------------


def test_15_reading_changes_nothing() -> None:
    memory = summing(Talker())
    talk(memory, 16)
    before = memory.get_all()
    first = memory.get()
    for _ in range(3):
        assert texts(memory.get()) == texts(first)
    assert memory.get_all() == before


@pytest.mark.parametrize("facts", [ConnectionError("429"), "", call("x")])
def test_15_a_summary_that_fails_replaces_nothing(facts: Any) -> None:
    llm = Talker(facts=facts)
    memory = summing(llm, max_tokens=1_700, strategy=BlockSummary(may_extract=False))
    shown = talk(memory, 19)
    assert llm.summary_requests
    assert shown[-1] == texts(memory.get_all())[:-1]


def test_15_where_summaries_fail_the_limit_holds_all_the_same() -> None:
    memory = summing(Talker(facts=ConnectionError("429")), max_tokens=900)
    talk(memory, 20)
    memory.put(user("And now?"))
    shown = memory.get()
    assert tokens(memory, shown) <= 900
    assert texts(shown)[-1] == "And now?"
    assert len(memory.get_all()) == 41


# 16 -------------------------------------------------------------------------------------------------------------------


def test_16_summaries_are_made_of_new_messages_only_and_not_each_turn() -> None:
    llm = Talker()
    memory = summing(llm)
    talk(memory, 40)
    asked = [texts(messages)[-1] for messages in llm.summary_requests]
    assert 0 < len(asked) <= 14
    for number in range(40):
        assert sum(f"Message {2 * number} " in one for one in asked) <= 1


def test_16_by_default_nothing_waits_for_a_summary() -> None:
    begun, may_go = threading.Event(), threading.Event()

    def facts(*_: Any) -> str:
        begun.set()
        assert may_go.wait(10)
        return FACTS

    memory = summing(Talker(facts=facts), summaries="background", max_tokens=1_500)
    talk(memory, 15)
    assert begun.wait(10)
    talk(memory, 1, start=15)
    may_go.set()
    assert memory.memory.drain(10)
    assert any(FACTS in one for one in talk(memory, 6, start=16)[-1])


# 17 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [250, 400, 900])
def test_17_calls_and_results_stay_together_and_a_user_comes_first(limit: int) -> None:
    memory = summing(None, target_tokens=200, max_tokens=limit)
    for number in range(20):
        memory.put(user(words(number)))
        shown = memory.get()
        assert shown[0].role is MessageRole.USER
        assert called(shown) == answered(shown)
        ids = [f"{number}-{n}" for n in range(number % 3 + 1)]
        memory.put_messages([call(*ids), *(result(one, words(number)) for one in ids), answer(words(number))])


def test_17_a_call_that_waits_for_its_result_is_never_left_out() -> None:
    memory = summing(None, target_tokens=200, max_tokens=300)
    talk(memory, 10)
    memory.put_messages([user("Look."), call("open"), result("open", LONG)])
    shown = memory.get()
    assert [message.role.value for message in shown[-3:]] == ["user", "assistant", "tool"]
    assert called(shown) == answered(shown) == ["open"]


def test_17_a_conversation_that_was_cut_never_begins_with_an_answer() -> None:
    memory = summing(None, target_tokens=200, max_tokens=300, pin=lambda message: message.text == "Welcome.")
    memory.put(answer("Welcome."))
    talk(memory, 10)
    memory.put(user("And now?"))
    assert memory.get()[0].role is MessageRole.USER
    assert "Welcome." in texts(memory.get())


# 18 -------------------------------------------------------------------------------------------------------------------


def test_18_calls_thoughts_citations_and_images_count() -> None:
    memory = summing()
    big = "word " * 200
    memory.put(user("?"))
    small = memory.usage().total_tokens
    for block in (
        ToolCallBlock(tool_call_id="1", tool_name="t", tool_kwargs={"text": big}),
        ThinkingBlock(content=big),
        CitableBlock(title="t", source="s", content=[TextBlock(text=big)]),
        ImageBlock(url="https://nobody.example/never-fetched.png"),
    ):
        memory.put(ChatMessage(role="assistant", blocks=[block]))
        grown = memory.usage().total_tokens
        assert grown - small >= 200, block.block_type
        small = grown


def test_18_a_call_that_stands_twice_in_a_message_counts_once() -> None:
    once, twice = summing(), summing()
    arguments = json.dumps({"text": "word " * 100})
    blocks = [ToolCallBlock(tool_call_id="1", tool_name="t", tool_kwargs=arguments)]
    wired = [{"id": "1", "type": "function", "function": {"name": "t", "arguments": arguments}}]
    once.put(ChatMessage(role="assistant", blocks=blocks))
    twice.put(ChatMessage(role="assistant", blocks=blocks, additional_kwargs={"tool_calls": wired}))
    assert once.usage().total_tokens == twice.usage().total_tokens


# 19 -------------------------------------------------------------------------------------------------------------------


async def test_19_the_limit_holds_for_a_history_that_is_set() -> None:
    history = [message for n in range(100) for message in (user(words(2 * n)), answer(words(2 * n + 1)))]
    memory = summing(None, max_tokens=1_000)
    await memory.aset([*history, user("And now?")])
    shown = await memory.aget()
    assert tokens(memory, shown) <= 1_000
    assert texts(shown)[-1] == "And now?"
    assert len(await memory.aget_all()) == 201


def test_19_system_messages_stay_as_they_are() -> None:
    memory = summing(Talker(), max_tokens=900)
    memory.set([system("You are a clerk."), user("Hello?"), answer("Hello."), system("The shop closes at 5.")])
    shown = talk(memory, 20)
    for one in shown:
        assert one[0] == "You are a clerk."
        assert "The shop closes at 5." in one


def test_19_a_history_that_is_set_again_with_more_keeps_its_summaries() -> None:
    llm = Talker()
    memory = summing(llm)
    talk(memory, 16)
    made = len(llm.summary_requests)
    memory.set([*memory.get_all(), user("And now?")])
    assert any(FACTS in one for one in texts(memory.get()))
    assert len(llm.summary_requests) == made


# 20 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["get", "get_all"])
def test_20_what_is_handed_out_may_be_changed_without_changing_the_history(reader: str) -> None:
    memory = summing()
    memory.put(user("Hello?"))
    memory.put(call("1"))
    memory.put(result("1"))
    for message in getattr(memory, reader)():
        for block in message.blocks:
            if isinstance(block, TextBlock):
                block.text = "changed"
            if isinstance(block, ToolCallBlock):
                assert isinstance(block.tool_kwargs, dict)
                block.tool_kwargs["changed"] = True
        message.additional_kwargs["changed"] = True
        message.blocks.append(TextBlock(text="more"))
    assert memory.get_all() == [user("Hello?"), call("1"), result("1")]


@pytest.mark.parametrize("reader", ["get", "get_all"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_20_nor_what_others_were_shown(reader: str, is_cut: bool) -> None:
    memory = summing(Talker())
    talk(memory, 16 if is_cut else 1)
    memory.put(user("And now?"))
    read = getattr(memory, reader)
    theirs, mine = read(), read()
    before = [message.model_copy(deep=True) for message in theirs]
    for message in mine:
        message.blocks[0].text = "changed"
        message.additional_kwargs["changed"] = True
        message.role = MessageRole.SYSTEM
    assert theirs == before
    assert [message.model_dump() for message in read()] == [message.model_dump() for message in before]


def test_20_what_is_put_may_be_changed_afterwards() -> None:
    memory = summing()
    message = user("Hello?")
    memory.put(message)
    message.blocks[0].text = "changed"  # type: ignore[union-attr]
    assert texts(memory.get()) == ["Hello?"]
    assert not message.additional_kwargs


async def test_20_the_state_prompt_of_an_agent_is_not_stored() -> None:
    memory = summing()
    agent = FunctionAgent(tools=[], llm=Talker(), initial_state={"step": 1})
    await agent.run("Hello?", memory=memory)
    assert texts(memory.get_all())[0] == "Hello?"


def test_20_nothing_of_ours_reaches_a_provider() -> None:
    memory = summing(Talker())
    talk(memory, 16)
    memory.put(user("And now?"))
    shown = memory.get()
    assert all(not message.additional_kwargs for message in shown)
    assert "tokenwise" not in json.dumps(to_openai_message_dicts(shown))
    assert "tokenwise" not in json.dumps([message.model_dump(mode="json") for message in shown])


# 21 -------------------------------------------------------------------------------------------------------------------


def test_21_system_messages_come_first_unchanged_and_summaries_behind_them_in_the_users_role() -> None:
    memory = summing(Talker())
    memory.put(system("You are a clerk."))
    talk(memory, 20)
    memory.put(user("And now?"))
    shown = memory.get()
    assert shown[0] == system("You are a clerk.")
    summaries = [message for message in shown if FACTS in (message.content or "")]
    assert summaries
    assert {message.role for message in summaries} == {MessageRole.USER}


def test_21_what_was_shown_is_the_beginning_of_what_is_shown_next_unless_a_cut_says_so() -> None:
    memory = summing(Talker())
    before: list[str] = []
    cuts = 0
    for number in range(40):
        memory.put(user(words(2 * number)))
        shown = texts(memory.get())
        assert memory.outcome is not None
        if memory.outcome.reason:
            cuts += 1
        else:
            assert shown[: len(before)] == before
        before = shown
        memory.put(answer(words(2 * number + 1)))
    assert 0 < cuts < 15


# 22 -------------------------------------------------------------------------------------------------------------------


async def test_22_the_tool_loop_of_a_run_is_bounded_by_the_wrapper_of_the_model() -> None:
    llm = Talker(looking(30))
    agent = FunctionAgent(
        tools=[FunctionTool.from_defaults(look)],
        llm=TokenwiseLLM(llm, memory=core_memory(target_tokens=1_000, max_tokens=3_000)),
        system_prompt="You are a clerk.",
    )
    memory = summing()
    await agent.run("Look it all up.", memory=memory, max_iterations=100)
    assert len(llm.requests) == 31
    for messages in llm.requests:
        assert tokens(memory, messages) <= 3_000
        assert texts(messages)[0] == "You are a clerk."
        assert "Look it all up." in texts(messages)
        assert called(messages) == answered(messages)
    assert len(answered(memory.get_all())) == 30  # the history is whole
