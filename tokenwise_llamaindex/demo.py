"""LlamaIndex's half of the demo: a `FunctionAgent` with memory, a chat engine and a query engine, on the same desk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from importlib import import_module
from typing import Any

from llama_index.core import ChatPromptTemplate, VectorStoreIndex
from llama_index.core.agent.workflow import AgentOutput, FunctionAgent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.bridge.pydantic import BaseModel, ConfigDict, Field
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.llms import LLM
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode
from llama_index.core.tools import AsyncBaseTool, BaseTool, FunctionTool, ToolMetadata

from tokenwise_core.demo.desk import Desk
from tokenwise_core.demo.runner import APPLICATION, Ask, DemoAnswer, DemoContext, play
from tokenwise_core.demo.workload import Conversation, Document, Turn
from tokenwise_core.errors import BadInput
from tokenwise_core.messages import Message, Prompt, ToolDefinition
from tokenwise_core.protocols import Embedder
from tokenwise_core.scoping import scope
from tokenwise_core.testing import PromptCache, Replay
from tokenwise_llamaindex.cache.engine import CachedQueryEngine
from tokenwise_llamaindex.callbacks import TokenBreakdownHandler
from tokenwise_llamaindex.convert import CoreEmbedding
from tokenwise_llamaindex.llm import TokenwiseLLM
from tokenwise_llamaindex.memory.buffer import SummaryBufferMemory
from tokenwise_llamaindex.testing import ReplayLLM

PAGES = 5  # handbook pages given with a question, as in LangChain's half
HISTORY_TOKENS = 100_000  # more than any conversation has: cutting it is a later lever's work


def run(context: DemoContext) -> list[DemoAnswer]:
    """Put the conversations to the agent or, in RAG style, to the chat engine; single questions to the query engine.

    The help box is a query engine, too, with a day's questions of many people.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(context)
    with ThreadPoolExecutor(1) as pool:  # a notebook's loop runs here, and the agent needs one of its own
        return pool.submit(copy_context().run, _run, context).result()


def _run(context: DemoContext) -> list[DemoAnswer]:
    workload, plain = context.workload, _model(context)
    model = plain if context.cache is None else TokenwiseLLM(plain, cache=context.cache)
    single = partial(query_for, plain, context=context)  # cached as a whole: its model needs no cache
    talks, chats, faq = workload.styled("agent", "mixed"), workload.styled("rag"), workload.styled("faq")
    singles = [chat for chat in chats if not chat.is_long]  # those are about memory, and a query engine has none
    with TokenBreakdownHandler(runtime=context.runtime) as handler, asyncio.Runner() as runner:
        with scope(application=APPLICATION, task="indexing"):
            retriever = index_of(workload.documents, context.embedder).as_retriever(similarity_top_k=PAGES)
        played = partial(play, context, framework="llamaindex")
        answers = [
            *played(talks, lambda c: agent_for(c, model, retriever, context, runner), path="agent"),
            *played(chats, lambda c: chat_for(c, model, retriever, context), path="chat engine"),
            *played(singles, lambda _: single(retriever), path="query engine", only=_is_single),
            *played(faq, lambda _: single(retriever), path="help box"),
        ]
        handler.flush()
    return answers


def _is_single(turn: Turn) -> bool:
    """Say whether the handbook alone answers a question."""
    return turn.kind == "document"


# The model ------------------------------------------------------------------------------------------------------------

_INTEGRATIONS = {
    "openai": ("llama_index.llms.openai", "OpenAI"),
    "anthropic": ("llama_index.llms.anthropic", "Anthropic"),
    "google_genai": ("llama_index.llms.google_genai", "GoogleGenAI"),
    "mistralai": ("llama_index.llms.mistralai", "MistralAI"),
    "groq": ("llama_index.llms.groq", "Groq"),
    "ollama": ("llama_index.llms.ollama", "Ollama"),
}
_FAMILIES = {
    "gpt": "openai", "o1": "openai", "o3": "openai", "o4": "openai", "claude": "anthropic", "gemini": "google_genai",
    "mistral": "mistralai",
}  # fmt: skip


def _model(context: DemoContext) -> LLM:
    if context.model is not None:
        return live_model(context.model)
    cache = PromptCache(clock=context.clock)
    return ReplayLLM(replay=Replay(context.workload, tier=context.tier, clock=context.clock, prompt_cache=cache))


def live_model(name: str) -> LLM:
    """Return the model that `init_chat_model` knows by *name* (`openai:gpt-5-mini`), from LlamaIndex's integration."""
    provider, _, model = name.rpartition(":")
    provider = provider or next((known for start, known in _FAMILIES.items() if model.startswith(start)), "")
    if provider not in _INTEGRATIONS:
        known = ", ".join(_INTEGRATIONS)
        raise BadInput(f"the LlamaIndex half of the demo cannot tell {name!r}: give provider:model, one of {known}")
    module, class_name = _INTEGRATIONS[provider]
    try:
        integration = import_module(module)
    except ModuleNotFoundError as error:
        package = module.replace("_", "-").replace(".", "-")
        raise BadInput(f"{module} is not installed: pip install {package}") from error
    llm: LLM = getattr(integration, class_name)(model=model)
    return llm


# The agent ------------------------------------------------------------------------------------------------------------


class HandbookAgent(FunctionAgent):
    """A function-calling agent that is shown the handbook's pages just before the newest question.

    Before the question, not in the system prompt: what stands in front stays the same from call to call. Memory keeps
    none of the pages.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)
    retriever: BaseRetriever = Field(exclude=True)

    async def take_step(
        self, ctx: Any, llm_input: list[ChatMessage], tools: Sequence[AsyncBaseTool], memory: BaseMemory
    ) -> AgentOutput:
        """Insert the pages, looked up once a question, and go on as any agent."""
        asked = max((i for i, m in enumerate(llm_input) if m.role == MessageRole.USER), default=0)
        pages = await ctx.store.get("pages", default=None)
        if pages is None:
            pages = written(await self.retriever.aretrieve(llm_input[asked].content or ""))
            await ctx.store.set("pages", pages)
        shown = ChatMessage(role=MessageRole.USER, content=f"Handbook pages for the next question:\n\n{pages}")
        return await super().take_step(ctx, [*llm_input[:asked], shown, *llm_input[asked:]], tools, memory)


def agent_for(
    conversation: Conversation,
    model: LLM,
    retriever: BaseRetriever,
    context: DemoContext,
    runner: asyncio.Runner,
) -> Ask:
    """Return a way to ask an agent that remembers this conversation; it runs on *runner*'s loop."""
    agent = HandbookAgent(
        name=conversation.agent,
        description="The support desk",
        system_prompt=context.workload.system_prompt,
        tools=list(desk_tools(context.desk(), context.workload.tools)),
        llm=model,
        retriever=retriever,
        streaming=False,
    )
    memory = agent_memory(f"{conversation.id} llamaindex agent", context)

    async def answered(question: str) -> str:
        return str(await agent.run(question, memory=memory))

    def ask(question: str) -> str:
        return runner.run(answered(question), context=copy_context())  # with the scope of the turn

    return ask


class DeskToolMetadata(ToolMetadata):
    """A tool's metadata with the JSON schema as it is given; LlamaIndex would make one from a class, and cut it."""

    def __init__(self, definition: ToolDefinition) -> None:
        super().__init__(name=definition.name, description=definition.description, fn_schema=BaseModel)
        self._parameters = dict(definition.parameters)

    def get_parameters_dict(self) -> dict[str, Any]:
        """Return the schema of the parameters."""
        return self._parameters


def desk_tools(desk: Desk, definitions: Sequence[ToolDefinition]) -> Iterator[BaseTool]:
    """Yield the desk's tools as LlamaIndex tools with the JSON schemas as they are."""
    for definition in definitions:
        yield _tool(desk, definition)


def _tool(desk: Desk, definition: ToolDefinition) -> BaseTool:
    async def call(**arguments: Any) -> str:
        return desk.call(definition.name, arguments)

    return FunctionTool(async_fn=call, metadata=DeskToolMetadata(definition))


# The engines ----------------------------------------------------------------------------------------------------------


def chat_for(conversation: Conversation, model: LLM, retriever: BaseRetriever, context: DemoContext) -> Ask:
    """Return a way to ask a chat engine that remembers one conversation; it streams from a thread of its own."""
    engine = ContextChatEngine.from_defaults(
        retriever=retriever,
        llm=model,
        memory=chat_memory(f"{conversation.id} llamaindex chat engine", model, context),
        system_prompt=context.workload.system_prompt,
    )

    def ask(question: str) -> str:
        return "".join(engine.stream_chat(question).response_gen)

    return ask


def agent_memory(session: str, context: DemoContext) -> BaseMemory:
    """Return what keeps an agent's conversation; ours is told what is sent in front of it.

    It makes summaries of the conversation's own sentences: a model asked by itself would read all of it at the full
    price, which under a prompt cache costs more than a summary saves here.
    """
    if context.memories is None:
        return ChatMemoryBuffer.from_defaults(token_limit=HISTORY_TOKENS)
    memory = context.memories.agent
    fixed = memory.fixed_tokens(Prompt(messages=_system(context), tools=context.workload.tools))
    return SummaryBufferMemory.from_defaults(memory=memory, session_id=session, fixed_tokens=fixed)


def chat_memory(session: str, model: LLM, context: DemoContext) -> BaseMemory:
    """Return what keeps a chat engine's conversation."""
    if context.memories is None:
        return ChatMemoryBuffer.from_defaults(token_limit=HISTORY_TOKENS)
    memory = context.memories.chat_engine
    fixed = memory.fixed_tokens(Prompt(messages=_system(context)))
    return SummaryBufferMemory.from_defaults(llm=model, memory=memory, session_id=session, fixed_tokens=fixed)


def _system(context: DemoContext) -> tuple[Message]:
    return (Message(role="system", text=context.workload.system_prompt),)


def query_for(model: LLM, retriever: BaseRetriever, *, context: DemoContext) -> Ask:
    """Return a way to ask a query engine, which remembers nothing; a hit in the cache around it retrieves nothing."""
    workload = context.workload
    examples = [
        ChatMessage(role=role, content=text)
        for question, answer in workload.few_shot
        for role, text in ((MessageRole.USER, question), (MessageRole.ASSISTANT, answer))
    ]
    template = ChatPromptTemplate([
        ChatMessage(role=MessageRole.SYSTEM, content=workload.system_prompt),
        *examples,
        ChatMessage(role=MessageRole.USER, content="Handbook pages:\n\n{context_str}\n\nQuestion: {query_str}"),
    ])  # fmt: skip
    engine: BaseQueryEngine = RetrieverQueryEngine.from_args(retriever, llm=model, text_qa_template=template)
    if context.cache is not None:
        engine = CachedQueryEngine(engine, cache=context.cache)

    def ask(question: str) -> str:
        return str(engine.query(question))

    return ask


# The handbook ---------------------------------------------------------------------------------------------------------


def index_of(pages: Sequence[Document], embedder: Embedder) -> VectorStoreIndex:
    """Embed the handbook, a page a node."""
    nodes = [TextNode(id_=page.id, text=page.text, metadata={"title": page.title}) for page in pages]
    return VectorStoreIndex(nodes, embed_model=CoreEmbedding(embedder, embed_batch_size=len(nodes)))


def written(pages: Sequence[NodeWithScore]) -> str:
    """Write pages down as the model reads them, each with its title."""
    return "\n\n".join(page.node.get_content(metadata_mode=MetadataMode.LLM) for page in pages)
