"""A chat model that plays a cached answer back: whole, streamed, or as events, with the callbacks of a real one."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import Field

from tokenwise_langchain.cache.parameters import model_name

_PIECES = re.compile(r"\S+\s*|\s+")
_WORDS = 8  # in a chunk: a cached answer need not trickle


class ServedModel(BaseChatModel):
    """Stands in for the model that gave *message*, under its name and with its features.

    What is bound to it (tools, an answer's format) is accepted and changes nothing: the answer was given under it.
    """

    message: AIMessage = Field(exclude=True, repr=False)
    model_name: str = "cached"
    provider: str | None = None
    cache: Any = Field(default=False, exclude=True)
    """Off: the answer of one cache is none that another should look up, or store."""

    @classmethod
    def of(cls, message: AIMessage, *, standing_for: BaseChatModel) -> ServedModel:
        """Return the model that plays *message* back in place of another."""
        tracing = standing_for._get_ls_params()  # noqa: SLF001  what integrations override to name themselves
        return cls(
            message=unbilled(message),
            model_name=tracing.get("ls_model_name") or model_name(standing_for),
            provider=tracing.get("ls_provider"),
            profile=standing_for.profile,
            output_version=standing_for.output_version,
            disable_streaming=standing_for.disable_streaming,
            callbacks=standing_for.callbacks,
            tags=standing_for.tags,
            metadata=standing_for.metadata,
        )

    @property
    def _llm_type(self) -> str:
        return "tokenwise-served"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(ls_model_type="chat", ls_model_name=self.model_name)
        if self.provider is not None:
            params["ls_provider"] = self.provider
        return params

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Take tools as any model does."""
        return self.bind(**kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.message.model_copy(deep=True))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in message_chunks(self.message.model_copy(deep=True)):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in message_chunks(self.message.model_copy(deep=True)):
            yield ChatGenerationChunk(message=chunk)


def unbilled(message: AIMessage) -> AIMessage:
    """Mark a message's usage as LangChain marks it on a hit: the tokens stand for what was not spent."""
    usage: Any = {**message.usage_metadata, "total_cost": 0} if message.usage_metadata else None
    return message.model_copy(update={"usage_metadata": usage})


def message_chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """Yield the pieces of a message as a stream brings them: the text, the calls, last the usage and the metadata."""
    if isinstance(message.content, str):
        yield from (AIMessageChunk(content=piece) for piece in text_pieces(message.content))
    else:
        yield AIMessageChunk(content=message.content)
    calls: list[tuple[str | None, str | None, str | None]]
    calls = [(call["name"], json.dumps(call["args"], ensure_ascii=False), call["id"]) for call in message.tool_calls]
    calls += [(call["name"], call["args"], call["id"]) for call in message.invalid_tool_calls]
    for index, (name, arguments, call_id) in enumerate(calls):
        part = tool_call_chunk(name=name, args=arguments, id=call_id, index=index)
        yield AIMessageChunk(content="", tool_call_chunks=[part])
    yield AIMessageChunk(
        content="" if isinstance(message.content, str) else [],
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        chunk_position="last",
    )


def text_pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of some words, which join to it."""
    pieces = _PIECES.findall(text)
    for start in range(0, len(pieces), _WORDS):
        yield "".join(pieces[start : start + _WORDS])
