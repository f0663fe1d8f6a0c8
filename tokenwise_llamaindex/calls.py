"""A model call on its way through the levers, and the model at the end of it: what `tokenwise_core.stack` drives."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    ThinkingBlock,
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.tools import BaseTool

from tokenwise_core.usage.call import component_of_variable
from tokenwise_core.usage.components import Component
from tokenwise_llamaindex.convert import finish_reason

MAX_PIECES = 32  # chunks of a replayed answer: each carries the whole text so far

Response = ChatResponse | CompletionResponse
_WORDS = re.compile(r"\s*\S+\s*$|\s*\S+|\s+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is known of where a call's prompt came from.

    *query* is what is asked; *templated* says that the messages were filled in from a template, so that without a
    *query* nobody knows where in them the question stands. *output_cls* is what the answer is going to be read as.
    """

    query: str | None = None
    templated: bool = False
    output_cls: type[BaseModel] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMCall:
    """One call as the application made it: messages, or one *prompt* (then *messages* is empty) and its *params*.

    A lever that changes it proceeds with a `dataclasses.replace` of it; *llm* is the model that will be asked.
    """

    llm: LLM
    messages: Sequence[ChatMessage] = ()
    prompt: str | None = None
    formatted: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    asked: Asked = field(default_factory=Asked)
    streamed: bool = False

    def shown(self) -> Sequence[ChatMessage]:
        """Return the messages; a plain prompt is that of a user."""
        if self.prompt is None:
            return self.messages
        return [ChatMessage(role=MessageRole.USER, content=self.prompt)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMAnswer:
    """A response; of a stream its last chunk, the provider's object of its first, and why it stopped.

    A provider may report the input's usage in the first chunk, and why it stopped in the last but one.
    """

    response: Response
    began: object = None
    finish_reason: str | None = None


class Answering:
    """The model behind the last lever: asks the `llm` of the call that arrives."""

    def call(self, request: LLMCall) -> LLMAnswer:
        """Answer."""
        llm, params = request.llm, request.params
        if request.prompt is None:
            return LLMAnswer(response=llm.chat(request.messages, **params))
        return LLMAnswer(response=llm.complete(request.prompt, formatted=request.formatted, **params))

    async def acall(self, request: LLMCall) -> LLMAnswer:
        """Answer, awaited."""
        llm, params = request.llm, request.params
        if request.prompt is None:
            return LLMAnswer(response=await llm.achat(request.messages, **params))
        return LLMAnswer(response=await llm.acomplete(request.prompt, formatted=request.formatted, **params))

    def open(self, request: LLMCall) -> Iterator[Response]:
        """Begin to answer as a stream."""
        llm, params = request.llm, request.params
        if request.prompt is None:
            return llm.stream_chat(request.messages, **params)
        return llm.stream_complete(request.prompt, formatted=request.formatted, **params)

    async def aopen(self, request: LLMCall) -> AsyncIterator[Response]:
        """Begin to answer as a stream, awaited."""
        llm, params = request.llm, request.params
        if request.prompt is None:
            return await llm.astream_chat(request.messages, **params)
        return await llm.astream_complete(request.prompt, formatted=request.formatted, **params)

    def gather(self, said: LLMAnswer | None, chunk: Response) -> LLMAnswer:
        """Return the answer so far: LlamaIndex's chunks hold all that was said before them."""
        reason = finish_reason(chunk.raw)
        if said is None:
            return LLMAnswer(response=_copied(chunk), began=chunk.raw, finish_reason=reason)
        return LLMAnswer(response=_copied(chunk), began=said.began, finish_reason=reason or said.finish_reason)

    def replay(self, answer: LLMAnswer) -> Iterator[Response]:
        """Cut an answer into chunks as a stream has them: the text so far and what is new, the rest with the last."""
        response = answer.response
        return _chat_chunks(response) if isinstance(response, ChatResponse) else _completion_chunks(response)


def _copied(chunk: Response) -> Response:
    """Return a chunk of our own: its reader may change the last one before we learn that it was the last."""
    copied = chunk.model_copy()
    if isinstance(copied, ChatResponse):
        message = copied.message.model_copy()
        message.blocks = [block.model_copy() for block in message.blocks]
        message.additional_kwargs = dict(message.additional_kwargs)
        copied.message = message
    return copied


def _chat_chunks(whole: ChatResponse) -> Iterator[Response]:
    thoughts = [block.content for block in whole.message.blocks if isinstance(block, ThinkingBlock) and block.content]
    extra = {**whole.additional_kwargs, "thinking_delta": "".join(thoughts)} if thoughts else whole.additional_kwargs
    *first, last = pieces(whole.message.content or "")
    said = ""
    for piece in first:
        said += piece
        message = ChatMessage(role=whole.message.role, content=said)
        yield ChatResponse(message=message, delta=piece, raw=whole.raw, additional_kwargs=dict(extra))
        extra = whole.additional_kwargs
    yield whole.model_copy(update={"delta": last, "additional_kwargs": dict(extra)})


def _completion_chunks(whole: CompletionResponse) -> Iterator[Response]:
    *first, last = pieces(whole.text)
    said = ""
    for piece in first:
        said += piece
        yield CompletionResponse(text=said, delta=piece, raw=whole.raw, additional_kwargs=dict(whole.additional_kwargs))
    yield whole.model_copy(update={"delta": last})


def pieces(text: str) -> list[str]:
    """Cut a text between its words, into at least one piece and at most `MAX_PIECES`."""
    words = _WORDS.findall(text) or [text]
    size = -(-len(words) // MAX_PIECES)
    return ["".join(words[at : at + size]) for at in range(0, len(words), size)]


def asked_in(
    template: BasePromptTemplate, variables: Mapping[str, Any], output_cls: type[BaseModel] | None = None
) -> Asked:
    """Say what a template asks: its `query_str`, else the one variable that usually holds a user's question."""
    filled = {**template.kwargs, **variables}
    query = filled.get("query_str")
    if query is None:
        named = [value for name, value in filled.items() if component_of_variable(name) is Component.USER_INPUT]
        query = named[0] if len(named) == 1 else None
    return Asked(query=query if isinstance(query, str) else None, templated=True, output_cls=output_cls)


class FilledIn(list[ChatMessage]):
    """Messages that a program filled in from its template, and hands on as they are."""


def asked_by(messages: Sequence[ChatMessage]) -> Asked:
    """Say what is known of messages that nobody said more about."""
    return Asked(templated=isinstance(messages, FilledIn))


def offered(
    tools: Sequence[BaseTool],
    user_msg: str | ChatMessage | None,
    chat_history: list[ChatMessage] | None,
    flags: tuple[bool, bool, bool],
) -> dict[str, Any]:
    """Return the arguments of a call with tools; the history copied: some integrations append to the list they get.

    *flags*: verbose, allow_parallel_tool_calls, tool_required.
    """
    history = None if chat_history is None else list(chat_history)
    named = dict(zip(("verbose", "allow_parallel_tool_calls", "tool_required"), flags, strict=True))
    return {"tools": tools, "user_msg": user_msg, "chat_history": history, **named}
