"""The tool `recall`: an agent's model asks for what was shortened or has left its context."""

from __future__ import annotations

from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ToolCallBlock
from llama_index.core.tools import FunctionTool

from tests.llamaindex.talking import Talker, call, core_memory, result, summing, talk, texts, user
from tokenwise_core.memory import Recall, ToolResults
from tokenwise_core.scoping import scope
from tokenwise_llamaindex import TokenwiseLLM
from tokenwise_llamaindex.memory import MemoryLever, recall_tool

LOG = "\n".join(f"line {n} of a log that says nothing new" for n in range(400))


def look(what: str) -> str:
    """Look."""
    return LOG


def recalls(id: str) -> ChatMessage:
    block = ToolCallBlock(tool_call_id="r", tool_name="recall", tool_kwargs={"id": id})
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])


def looks_then_recalls(messages: Any, _: Any) -> Any:
    """Look; ask for the whole of what came; answer."""
    last = messages[-1]
    if last.role is not MessageRole.TOOL:
        return call("c0")
    if 'recall("' in (last.content or ""):
        return recalls((last.content or "").split('recall("')[1].split('"')[0])
    return "Done."


async def test_an_agent_recalls_the_whole_of_a_result_that_the_lever_shortened() -> None:
    inner = Talker(looks_then_recalls)
    lever = MemoryLever(core_memory(target_tokens=8_000, max_tokens=None, tool_results=ToolResults(max_tokens=200)))
    tools = [FunctionTool.from_defaults(look), recall_tool(lever)]
    with scope(session="s"):
        run = await FunctionAgent(tools=tools, llm=TokenwiseLLM(inner, levers=[lever])).run("Look.")
    assert str(run) == "Done."
    assert texts(inner.requests[-1])[-1] == LOG, "what was asked for is not shortened again"
    assert [output.tool_output.content for output in run.tool_calls] == [LOG, LOG]
    with scope(session="another"):
        name = texts(inner.requests[1])[-1].split('recall("')[1].split('"')[0]
        assert lever.recall(name) == "", "another session's"


async def test_without_the_tool_no_result_names_it() -> None:
    inner = Talker(looks_then_recalls)
    memory = core_memory(target_tokens=8_000, max_tokens=None, tool_results=ToolResults(max_tokens=200))
    await FunctionAgent(tools=[FunctionTool.from_defaults(look)], llm=TokenwiseLLM(inner, memory=memory)).run("Look.")
    assert 'kept as "' in texts(inner.requests[-1])[-1]
    assert "recall" not in texts(inner.requests[-1])[-1]


def test_a_buffer_returns_results_by_their_id_and_turns_by_words() -> None:
    memory = summing(
        target_tokens=400, max_tokens=1_200, tool_results=ToolResults(max_tokens=100), recall=Recall(embedder=None)
    )
    tool = recall_tool(memory)
    assert tool("zebra crossing").content == "Nothing was found for 'zebra crossing'."
    memory.put_messages([user("Look. It is about a blue heron."), call("c0"), result("c0", LOG)])
    name = next(text for text in texts(memory.get()) if "recall(" in text).split('recall("')[1].split('"')[0]
    memory.memory._workers.rest(5)
    assert tool(name).content == LOG
    talk(memory, 12)
    assert "blue heron" in tool("blue heron").content


async def test_the_agent_of_a_buffer_finds_earlier_turns() -> None:
    memory = summing(recall=Recall(embedder=None, when=lambda _: False))
    memory.put(user("The heron stands at pond 7."))
    talk(memory, 12)

    def say(messages: Any, _: Any) -> Any:
        return "At pond 7." if messages[-1].role is MessageRole.TOOL else recalls("heron pond")

    agent = FunctionAgent(tools=[recall_tool(memory)], llm=Talker(say))
    run = await agent.run("Where does the heron stand?", memory=memory)
    assert "The heron stands at pond 7." in run.tool_calls[0].tool_output.content
