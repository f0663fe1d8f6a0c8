"""LangChain's half of the demo: a tool-calling agent with memory and retrieval, RAG chains, on the same desk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from typing import Annotated, Any, NotRequired

import numpy as np
from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr
from langchain.chat_models import init_chat_model
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, FewShotChatMessagePromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from numpy.typing import NDArray
from pydantic import ConfigDict, PrivateAttr

from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.runner import Ask, DemoAnswer, DemoContext, play
from tokenwise_core.demo.workload import Conversation
from tokenwise_core.memory import Memory
from tokenwise_core.messages import Message, Prompt, ToolDefinition
from tokenwise_core.protocols import Embedder
from tokenwise_core.testing import PromptCache, Replay
from tokenwise_langchain.cache.middleware import SemanticCacheMiddleware
from tokenwise_langchain.cache.runnable import CachedRunnable
from tokenwise_langchain.callbacks import TokenBreakdownHandler
from tokenwise_langchain.memory.history import SummaryBufferHistory
from tokenwise_langchain.memory.middleware import SummaryBufferMiddleware
from tokenwise_langchain.testing import ReplayChatModel

PAGES = 5  # handbook pages given with a question; the right one is among them for 93 % of the workload


def run(context: DemoContext) -> list[DemoAnswer]:
    """Put every turn to the agent or, in RAG style, to the chain; in the help box nothing is remembered."""
    handler = TokenBreakdownHandler(runtime=context.runtime)
    model, retriever = _model(context), HandbookRetriever(context.workload.documents, context.embedder, k=PAGES)
    chain = rag_chain(model, retriever, context)
    played, styled = partial(play, context, framework="langchain"), context.workload.styled
    answers = [
        *played(styled("agent", "mixed"), lambda c: agent_for(c, model, retriever, context, handler), path="agent"),
        *played(styled("rag"), lambda c: chat_for(c, chain, model, context, handler), path="chain"),
        *played(styled("faq"), lambda _: help_box_for(chain, handler), path="help box"),
    ]
    handler.flush()
    return answers


def _model(context: DemoContext) -> BaseChatModel:
    if context.model is not None:
        model: BaseChatModel = init_chat_model(context.model)
        return model
    cache = PromptCache(clock=context.clock)
    return ReplayChatModel(replay=Replay(context.workload, tier=context.tier, clock=context.clock, prompt_cache=cache))


# The agent ------------------------------------------------------------------------------------------------------------


def agent_for(
    conversation: Conversation,
    model: BaseChatModel,
    retriever: BaseRetriever,
    context: DemoContext,
    handler: TokenBreakdownHandler,
) -> Ask:
    """Return a way to ask a `create_agent` agent that remembers this conversation.

    Cache and memory stand outside of what inserts the pages: what was asked decides, not what was found for it, and
    pages are no part of the conversation.
    """
    middleware: list[Any] = [HandbookMiddleware(retriever)]
    if context.memories is not None:
        middleware.insert(0, SummaryBufferMiddleware(context.memories.agent))
    if context.cache is not None:
        middleware.insert(0, SemanticCacheMiddleware(context.cache))
    agent: Any = create_agent(
        model,
        desk_tools(context.desk(), context.workload.tools),
        system_prompt=context.workload.system_prompt,
        middleware=middleware,
        checkpointer=InMemorySaver(),
        name=conversation.agent,
    )
    config = {"callbacks": [handler], "configurable": {"thread_id": conversation.id}, "recursion_limit": 50}

    def ask(question: str) -> str:
        state = agent.invoke({"messages": [HumanMessage(question)]}, config=config)
        return str(state["messages"][-1].text)

    return ask


def desk_tools(desk: Desk, definitions: Sequence[ToolDefinition]) -> list[BaseTool]:
    """Return the desk's tools as LangChain tools with the JSON schemas as they are."""
    return [_tool(desk, definition) for definition in definitions]


def _tool(desk: Desk, definition: ToolDefinition) -> BaseTool:
    def call(**arguments: Any) -> str:
        return desk.call(definition.name, arguments)

    return StructuredTool(
        name=definition.name, description=definition.description, args_schema=dict(definition.parameters), func=call
    )


class _State(AgentState[Any]):
    """The agent's state with the handbook pages found for the turn."""

    pages: NotRequired[Annotated[list[Document], PrivateStateAttr]]


class HandbookMiddleware(AgentMiddleware[_State, None, Any]):
    """Looks the question up once a turn and shows the pages to the model just before it; history keeps none of them.

    Before the question, not in the system prompt: what stands in front stays the same from call to call.
    """

    state_schema = _State

    def __init__(self, retriever: BaseRetriever) -> None:
        super().__init__()
        self._retriever = retriever

    def before_agent(self, state: _State, runtime: Any) -> dict[str, Any]:
        """Retrieve for the newest question."""
        return {"pages": self._retriever.invoke(state["messages"][-1].text)}

    def wrap_model_call(
        self, request: ModelRequest[None], handler: Callable[[ModelRequest[None]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Insert the pages in front of the newest question."""
        pages: list[Document] = request.state.get("pages", [])  # type: ignore[assignment]  # our own key
        asked = max((i for i, m in enumerate(request.messages) if isinstance(m, HumanMessage)), default=0)
        shown = HumanMessage(f"Handbook pages for the next question:\n\n{written(pages)}")
        return handler(request.override(messages=[*request.messages[:asked], shown, *request.messages[asked:]]))


# The chain ------------------------------------------------------------------------------------------------------------


def chat_for(
    conversation: Conversation,
    chain: Runnable[dict[str, Any], str],
    model: BaseChatModel,
    context: DemoContext,
    handler: TokenBreakdownHandler,
) -> Ask:
    """Return a way to ask the chain; the history is kept by the caller, as chains leave it to one."""
    plain: list[BaseMessage] = []
    summarizer = model.model_copy(update={"callbacks": [handler]})  # asked beside the chain, whose handler it lacks
    ours = None if context.memories is None else _history(conversation, context.memories.chain, context, summarizer)

    def ask(question: str) -> str:
        asked = HumanMessage(question)
        shown = plain if ours is None else ours.messages_for([asked])
        text = chain.invoke({"question": question, "history": shown}, config={"callbacks": [handler]})
        said = [asked, AIMessage(text)]
        plain.extend(said) if ours is None else ours.add_messages(said)
        return text

    return ask


def _history(
    conversation: Conversation, memory: Memory, context: DemoContext, summarizer: BaseChatModel
) -> SummaryBufferHistory:
    """Return our history of *conversation*, which is told what the chain sends before it."""
    workload = context.workload
    texts = [workload.system_prompt, *(text for pair in workload.few_shot for text in pair)]
    fixed = memory.fixed_tokens(Prompt(messages=tuple(Message(role="user", text=text) for text in texts)))
    name = f"{conversation.id} langchain chain"
    return SummaryBufferHistory(name, memory, summarizer=summarizer, fixed_tokens=fixed)


def help_box_for(chain: Runnable[dict[str, Any], str], handler: TokenBreakdownHandler) -> Ask:
    """Return a way to ask the chain single questions."""

    def ask(question: str) -> str:
        return chain.invoke({"question": question, "history": []}, config={"callbacks": [handler]})

    return ask


def rag_chain(model: BaseChatModel, retriever: BaseRetriever, context: DemoContext) -> Runnable[dict[str, Any], str]:
    """Return the chain: system prompt, worked examples, history, then the pages and the question in one message.

    With the cache around all of it: a hit retrieves nothing.
    """
    workload = context.workload
    examples = FewShotChatMessagePromptTemplate(
        example_prompt=ChatPromptTemplate.from_messages([("human", "{question}"), ("ai", "{answer}")]),
        examples=[{"question": question, "answer": answer} for question, answer in workload.few_shot],
        input_variables=[],
    )
    prompt = ChatPromptTemplate.from_messages(
        [
            SystemMessage(workload.system_prompt),
            examples,
            MessagesPlaceholder("history"),
            ("human", "Handbook pages:\n\n{context}\n\nQuestion: {question}"),
        ]
    )
    found = RunnablePassthrough.assign(context=itemgetter("question") | retriever | written)
    chain = found | prompt | model | StrOutputParser()
    if context.cache is None:
        return chain
    return CachedRunnable(chain, context.cache, query="question", name="handbook", version=workload.fingerprint)


# The handbook ---------------------------------------------------------------------------------------------------------


class HandbookRetriever(BaseRetriever):
    """The *k* pages whose embedding is nearest to the question's."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    k: int = PAGES
    _pages: list[Document] = PrivateAttr()
    _vectors: NDArray[np.float32] = PrivateAttr()
    _embedder: Embedder = PrivateAttr()

    def __init__(self, pages: Sequence[Any], embedder: Embedder, *, k: int = PAGES) -> None:
        super().__init__(k=k)  # type: ignore[call-arg]  # a field of this class
        self._pages = [Document(page.text, id=page.id, metadata={"title": page.title}) for page in pages]
        self._embedder = embedder
        self._vectors = embedder.embed([f"title: {page.title}\n\n{page.text}" for page in pages])

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        scores = self._vectors @ self._embedder.embed([query])[0]
        return [self._pages[i] for i in np.argsort(-scores, kind="stable")[: self.k]]


def written(pages: Sequence[Document]) -> str:
    """Write pages down as the model reads them."""
    return "\n\n".join(f"# {page.metadata['title']}\n{page.page_content}" for page in pages)
