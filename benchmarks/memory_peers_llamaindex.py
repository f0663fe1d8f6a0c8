"""LlamaIndex's own memories, driven as its agents do: what each would send for a request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse, LLMMetadata
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.llms import CustomLLM
from llama_index.core.memory import ChatSummaryMemoryBuffer, Memory, VectorMemoryBlock
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore, QueryBundle
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQuery, VectorStoreQueryResult
from pydantic import PrivateAttr

from benchmarks.memory_peers_langchain import AROUND, Sent, Summarise
from benchmarks.memory_texts import embedder, text_tokens
from tokenwise_core.messages import Message

HISTORY_SHARE, NODE_TOKENS = 0.2, 1
"""With its vector block, `Memory` gets a fifth of the budget for the last turns; each turn leaves by itself (best)."""


class SummaryMemory:
    """`ChatSummaryMemoryBuffer`: what does not fit is summarised at each `get`; summary and buffer fill the limit."""

    def __init__(self, limit: int, summarise: Summarise) -> None:
        self.memory = ChatSummaryMemoryBuffer.from_defaults(
            llm=Summariser(answer=summarise), token_limit=limit, tokenizer_fn=_tokens
        )

    def request(self, new: Sequence[Message]) -> list[Sent]:
        for message in new:
            self.memory.put(to_llamaindex(message))
        return [sent(message) for message in self.memory.get()]


class Queue:
    """`Memory` with its defaults: above its limit the oldest messages leave, many at once, and nothing stands in."""

    def __init__(self, limit: int, summarise: Summarise, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.memory = Memory.from_defaults(token_limit=limit, tokenizer_fn=_tokens, **options)

    def request(self, new: Sequence[Message]) -> list[Sent]:
        return self._runner.run(self._request(new))

    def put(self, new: Sequence[Message]) -> None:
        self._runner.run(self._put(new))

    def ask(self, question: str) -> list[str]:
        """Return what would stand in the context for *question*, which is not kept.

        The blocks are asked with the question alone: `Memory.aget` would mix the message before it into the query.
        """
        return self._runner.run(self._ask(question))

    def close(self) -> None:
        engine = getattr(self.memory.sql_store, "_async_engine", None)
        if engine is not None:
            self._runner.run(engine.dispose())
        self._runner.close()

    async def _request(self, new: Sequence[Message]) -> list[Sent]:
        await self._put(new)
        return [sent(message) for message in await self.memory.aget()]

    async def _ask(self, question: str) -> list[str]:
        asked, session = [ChatMessage(role="user", content=question)], self.memory.session_id
        history = await self.memory.sql_store.get_messages(session, status=MessageStatus.ACTIVE)
        recalled = [str(await block.aget(asked, session_id=session)) for block in self.memory.memory_blocks]
        return [*recalled, *(message.content or "" for message in history)]

    async def _put(self, new: Sequence[Message]) -> None:
        for message in new:
            await self.memory.aput(to_llamaindex(message))


def with_vectors(limit: int, summarise: Summarise) -> Queue:
    """Return `Memory` with its vector block, which fills what the last turns leave of the limit."""
    history = round(HISTORY_SHARE * limit)
    block = VectorMemoryBlock(
        vector_store=Vectors(),
        embed_model=Embedding(),
        similarity_top_k=200,
        node_postprocessors=[Fill(most=limit - history - AROUND)],
    )
    return Queue(
        limit,
        summarise,
        memory_blocks=[block],
        chat_history_token_ratio=HISTORY_SHARE,
        token_flush_size=min(NODE_TOKENS, limit),
    )


class Summariser(CustomLLM):
    """A model that makes summaries."""

    answer: Summarise

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=1_000_000)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        from llama_index.core.base.llms.types import ChatResponse

        text = self.answer([message.content or "" for message in messages])
        return ChatResponse(message=ChatMessage(role="assistant", content=text))

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.answer([prompt]))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError


class Embedding(BaseEmbedding):
    """The run's embedder."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return list(map(float, embedder().embed([text])[0]))

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


class Vectors(BasePydanticVectorStore):
    """A store in memory that keeps texts too: the vector block takes no other, and LlamaIndex's simple one does not."""

    stores_text: bool = True
    _nodes: list[BaseNode] = PrivateAttr(default_factory=list)

    @property
    def client(self) -> Any:
        return None

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        self._nodes += nodes
        return [node.node_id for node in nodes]

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        raise NotImplementedError

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        if not self._nodes:
            return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
        rows = np.asarray([node.embedding for node in self._nodes])
        likeness = rows @ np.asarray(query.query_embedding)
        best = np.argsort(-likeness)[: query.similarity_top_k]
        nodes = [self._nodes[at] for at in best]
        return VectorStoreQueryResult(
            nodes=nodes, similarities=[float(likeness[at]) for at in best], ids=[node.node_id for node in nodes]
        )


class Fill(BaseNodePostprocessor):
    """Keep what fits, the likest first."""

    most: int

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept, left = [], self.most
        for node in nodes:
            tokens = text_tokens(node.get_content()) + 1
            if tokens <= left:
                kept.append(node)
                left -= tokens
        return kept


def to_llamaindex(message: Message) -> ChatMessage:
    """Return *message* as LlamaIndex's."""
    more: dict[str, Any] = {}
    if message.tool_calls:
        more["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        more["tool_call_id"] = message.tool_call_id
    return ChatMessage(role=message.role, content=message.text, additional_kwargs=more)


def sent(message: ChatMessage) -> Sent:
    """Return *message* as it is counted."""
    calls = message.additional_kwargs.get("tool_calls")
    return str(message.role.value), (message.content or "") + (json.dumps(calls) if calls else "")


def _tokens(text: str) -> list[int]:
    """Stand in for a tokeniser: LlamaIndex takes the length, which is that of a message here."""
    return [0] * (text_tokens(text) + AROUND)
