"""`SummaryMemoryBlock` in LlamaIndex's `Memory`: what the queue flushes is summarised, bounded, and kept apart."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import InsertMethod, Memory

from tests.llamaindex.talking import FACTS, Talker, answer, call, result, system, texts, user, words
from tokenwise_core.errors import BadInput
from tokenwise_llamaindex import SummaryMemoryBlock


def remembering(block: SummaryMemoryBlock, **options: Any) -> Memory:
    given = {"token_limit": 1_000, "token_flush_size": 150, "chat_history_token_ratio": 0.5, **options}
    return Memory.from_defaults(memory_blocks=[block], **given)


async def talked(memory: Memory, block: SummaryMemoryBlock, turns: int) -> str:
    """Hold a conversation; return the content of the block that is shown at its end."""
    for number in range(turns):
        await memory.aput(user(words(2 * number)))
        await memory.aget()
        await memory.aput(answer(words(2 * number + 1)))
        assert await block.memory.adrain()
    return texts(await memory.aget())[0]


async def test_what_leaves_the_queue_is_summarised_and_what_the_summary_lost_is_listed() -> None:
    llm = Talker()
    block = SummaryMemoryBlock(llm=llm, max_tokens=400)
    shown = await talked(remembering(block), block, 30)
    assert "<summary>" in shown
    assert FACTS in shown
    assert "ORD-1000" in shown  # lost by the summary, which speaks of ORD-1234 alone
    assert llm.summary_requests


@pytest.mark.parametrize("llm", [None, Talker(facts=ConnectionError("429")), Talker(facts="")])
async def test_without_a_summary_the_messages_own_sentences_stand_in(llm: Any) -> None:
    block = SummaryMemoryBlock(llm=llm, max_tokens=400)
    shown = await talked(remembering(block), block, 30)
    assert "is about order ORD-" in shown
    assert len(shown) > 100


@pytest.mark.parametrize("llm", [None, Talker(), Talker(facts=ConnectionError("429"))])
@pytest.mark.parametrize("bound", [100, 300])
async def test_the_content_never_exceeds_its_bound(llm: Any, bound: int) -> None:
    block = SummaryMemoryBlock(llm=llm, max_tokens=bound)
    memory = remembering(block)
    for number in range(40):
        await memory.aput_messages([user(words(2 * number)), answer(words(2 * number + 1))])
        content = await block.aget(session_id=memory.session_id)
        assert block.memory.counter.text(content) <= bound


async def test_it_is_cut_down_where_memory_needs_the_room() -> None:
    block = SummaryMemoryBlock(max_tokens=400)
    memory = remembering(block)
    await talked(memory, block, 30)
    content = await block.aget(session_id=memory.session_id)
    count = block.memory.counter.text
    shorter = await block.atruncate(content, 60)
    assert shorter
    assert count(shorter) <= count(content) - 60
    assert await block.atruncate(content, count(content)) is None
    assert await block.atruncate("", 10) is None


async def test_sessions_are_kept_apart_and_outlive_the_process(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'blocks.sqlite'}"
    block = SummaryMemoryBlock(max_tokens=400, sessions=url)
    for name in ("anna", "berta"):
        await block.aput([user(f"{name} ordered ORD-1."), answer("Noted.")], session_id=name)
    assert "anna" in await block.aget(session_id="anna")
    assert "berta" not in await block.aget(session_id="anna")
    block.memory.close()
    again = SummaryMemoryBlock(max_tokens=400, sessions=url)
    assert "berta ordered ORD-1." in await again.aget(session_id="berta")
    assert not await again.aget(session_id="clara")


async def test_nothing_is_written_into_the_messages() -> None:
    message = user("Hello?")
    await SummaryMemoryBlock().aput([message], from_short_term_memory=True, session_id="s")
    assert not message.additional_kwargs


async def test_it_takes_only_what_it_is_meant_to() -> None:
    block = SummaryMemoryBlock(accept_short_term_memory=False)
    await block.aput([user("Hello?")], from_short_term_memory=True, session_id="s")
    assert not await block.aget(session_id="s")
    await block.aput([user("Hello?")], session_id="s")
    assert "Hello?" in await block.aget(session_id="s")


async def test_what_breaks_in_it_breaks_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    block = SummaryMemoryBlock()
    memory = remembering(block)

    def broken(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(block, "_of", broken, raising=False)
    object.__setattr__(block, "_of", broken)
    for number in range(20):
        await memory.aput_messages([user(words(2 * number)), answer(words(2 * number + 1))])
    assert await memory.aget()


@pytest.mark.parametrize("insert", list(InsertMethod))
async def test_agents_and_engines_run_with_it(insert: InsertMethod) -> None:
    llm = Talker("Yes. " * 20)
    block = SummaryMemoryBlock(llm=llm, max_tokens=400)
    memory = remembering(block, insert_method=insert)
    agent = FunctionAgent(tools=[], llm=llm)
    for number in range(20):
        await agent.run(words(number), memory=memory)
    assert "<summary>" in "\n".join(texts(llm.requests[-1]))
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
    assert (await engine.achat("And now?")).response.startswith("Yes.")


async def test_calls_and_results_are_in_it() -> None:
    block = SummaryMemoryBlock(max_tokens=400)
    await block.aput([user("Look."), call("ORD-77"), result("ORD-77", "It is in Leeds.")], session_id="s")
    content = await block.aget(session_id="s")
    assert "look" in content
    assert "ORD-77" in content
    assert "It is in Leeds." in content


async def test_system_messages_that_memory_flushes_are_not_lost() -> None:
    block = SummaryMemoryBlock(max_tokens=400)
    memory = remembering(block)
    await memory.aput(system("Never promise a refund."))
    shown = await talked(memory, block, 30)
    assert "Never promise a refund." in shown


def test_a_copy_is_the_block_itself_and_it_describes_itself() -> None:
    block = SummaryMemoryBlock(name="before", description="What was said before.")
    assert copy.deepcopy(block) is block
    assert block.model_dump()["max_tokens"] == 1_500
    with pytest.raises(BadInput, match="max_tokens=10"):
        SummaryMemoryBlock(max_tokens=10)


def test_the_sync_half_of_memory_runs_with_it() -> None:
    block = SummaryMemoryBlock(max_tokens=400)
    memory = remembering(block)
    for number in range(20):
        memory.put_messages([user(words(2 * number)), ChatMessage(role="assistant", content=words(2 * number + 1))])
    assert "<summary>" in texts(memory.get())[0]
