"""The same conversation through LangChain and through LlamaIndex has the same parts: tools, pages, history and all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.prompts import ChatPromptTemplate as LangChainTemplate
from langchain_core.prompts import MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever as LangChainRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langgraph.checkpoint.memory import InMemorySaver
from llama_index.core import ChatPromptTemplate as LlamaIndexTemplate
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.base_retriever import BaseRetriever as LlamaIndexRetriever
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

import tokenwise_langchain.demo
import tokenwise_llamaindex.demo
from tokenwise_core import scope
from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.workload import Conversation, Workload, load_workload
from tokenwise_core.testing import Replay
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import UsageEvent
from tokenwise_core.usage.runtime import make_runtime
from tokenwise_core.usage.store import MemoryStore
from tokenwise_langchain import ReplayChatModel
from tokenwise_langchain import TokenBreakdownHandler as LangChainHandler
from tokenwise_llamaindex import ReplayLLM
from tokenwise_llamaindex import TokenBreakdownHandler as LlamaIndexHandler

TURNS = 6


@pytest.fixture(scope="module")
def workload() -> Workload:
    return load_workload()


@pytest.fixture(params=["c10", "c13", "c16"])
def conversation(request: pytest.FixtureRequest, workload: Workload) -> Iterator[Conversation]:
    """A conversation with tool calls, their results, and questions about what was said before."""
    (chosen,) = (found for found in workload.conversations if found.id == request.param)
    with scope(session=chosen.id):
        yield chosen


def reported(event: UsageEvent) -> Sequence[int | None]:
    """Return what both hand on of a provider's usage; LangChain says 0 where the provider said nothing."""
    usage = event.usage
    return usage.input_tokens, usage.output_tokens, usage.cache_read, usage.reasoning


def agent_of_langchain(conversation: Conversation, workload: Workload) -> Sequence[UsageEvent]:
    handler = LangChainHandler(runtime=make_runtime(MemoryStore()))
    agent: Any = create_agent(
        ReplayChatModel(replay=Replay(workload, tier="strong")),
        tokenwise_langchain.demo.desk_tools(Desk(), workload.tools),
        system_prompt=workload.system_prompt,
        checkpointer=InMemorySaver(),
    )
    config = {"callbacks": [handler], "configurable": {"thread_id": conversation.id}, "recursion_limit": 50}
    for turn in conversation.turns[:TURNS]:
        agent.invoke({"messages": [HumanMessage(turn.user)]}, config=config)
    return handler.events()


def agent_of_llamaindex(conversation: Conversation, workload: Workload) -> Sequence[UsageEvent]:
    agent = FunctionAgent(
        llm=ReplayLLM(replay=Replay(workload, tier="strong")),
        tools=list(tokenwise_llamaindex.demo.desk_tools(Desk(), workload.tools)),
        system_prompt=workload.system_prompt,
    )
    memory = ChatMemoryBuffer.from_defaults(token_limit=100_000)

    async def talk() -> None:
        for turn in conversation.turns[:TURNS]:
            await agent.run(turn.user, memory=memory)

    with LlamaIndexHandler(runtime=make_runtime(MemoryStore())) as handler:
        asyncio.run(talk())
    return handler.events()


def test_an_agents_calls_have_the_same_parts(conversation: Conversation, workload: Workload) -> None:
    ones, others = agent_of_langchain(conversation, workload), agent_of_llamaindex(conversation, workload)
    assert len(ones) == len(others) > TURNS
    for one, other in zip(ones, others, strict=True):
        assert one.breakdown == other.breakdown
        assert reported(one) == reported(other)
        assert (one.messages, one.tools_offered) == (other.messages, other.tools_offered)
        assert (one.model, one.provider, one.finish_reason) == (other.model, other.provider, other.finish_reason)
        assert (one.fingerprint, one.stable_prefix_tokens) == (other.fingerprint, other.stable_prefix_tokens)
    everything = sum(event.breakdown for event in ones)
    told = (Component.TOOL_DEFINITIONS, Component.TOOL_RESULTS, Component.AGENT_MESSAGES, Component.HISTORY)
    assert all(everything[component] > 0 for component in told)


# Questions over the handbook, with the same template in both ----------------------------------------------------------

PAGES, ASKS = 3, "Handbook pages:\n\n{context_str}\n\nThe customer asks: {query_str}"


class PagesOfLangChain(LangChainRetriever):
    pages: list[str]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [Document(page) for page in self.pages]


class PagesOfLlamaIndex(LlamaIndexRetriever):
    def __init__(self, pages: Sequence[str]) -> None:
        super().__init__()
        self._pages = pages

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text=page), score=1.0) for page in self._pages]


def chain_of_langchain(question: str, pages: Sequence[str], workload: Workload) -> UsageEvent:
    handler = LangChainHandler(runtime=make_runtime(MemoryStore()))
    examples = [message for asked, said in workload.few_shot for message in (HumanMessage(asked), AIMessage(said))]
    template = LangChainTemplate.from_messages(
        [("system", workload.system_prompt), MessagesPlaceholder("examples"), ("human", ASKS)]
    )
    written = PagesOfLangChain(pages=list(pages)) | RunnableLambda(
        lambda found: "\n\n".join(page.page_content for page in found)
    )
    chain = (
        {"context_str": written, "query_str": RunnablePassthrough()}
        | template.partial(examples=examples)
        | ReplayChatModel(replay=Replay(workload, tier="strong"))
    )
    chain.invoke(question, config={"callbacks": [handler]})
    (event,) = handler.events()
    return event


def engine_of_llamaindex(question: str, pages: Sequence[str], workload: Workload) -> UsageEvent:
    examples = [
        ChatMessage(role=role, content=text)
        for pair in workload.few_shot
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    system = ChatMessage(role="system", content=workload.system_prompt)
    template = LlamaIndexTemplate([system, *examples, ChatMessage(role="user", content=ASKS)])
    llm = ReplayLLM(replay=Replay(workload, tier="strong"))
    engine = RetrieverQueryEngine.from_args(PagesOfLlamaIndex(pages), llm=llm, text_qa_template=template)
    with LlamaIndexHandler(runtime=make_runtime(MemoryStore())) as handler:
        engine.query(question)
    (event,) = handler.events()
    return event


@pytest.mark.parametrize("number", range(4))
def test_a_question_over_retrieved_pages_has_the_same_parts(number: int, workload: Workload) -> None:
    turns = [t for c in workload.conversations if c.style == "rag" for t in c.turns if t.kind == "document"]
    pages = [page.text for page in workload.documents[number * PAGES : (number + 1) * PAGES]]
    with scope(session=f"question {number}"):
        one = chain_of_langchain(turns[number].user, pages, workload)
        other = engine_of_llamaindex(turns[number].user, pages, workload)
    assert one.breakdown == other.breakdown
    assert reported(one) == reported(other)
    parts = (Component.SYSTEM_PROMPT, Component.FEW_SHOT, Component.RETRIEVED_CONTEXT, Component.USER_INPUT)
    assert all(one.breakdown[component] > 0 for component in parts)
