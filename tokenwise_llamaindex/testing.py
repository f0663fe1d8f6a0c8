"""A recorded model for tests, notebooks and the demo: LlamaIndex's face of `tokenwise_core.testing.Replay`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import Field
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index.core.tools import BaseTool
from typing_extensions import override

from tokenwise_core.demo.workload import load_workload
from tokenwise_core.messages import Api, Prompt, ToolCall
from tokenwise_core.testing import ProviderFormat, Replay, ReplayAnswer, ReplayChunk
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.convert import to_prompt

_APIS: Mapping[ProviderFormat, Api] = {"openai": "chat", "anthropic": "anthropic", "google": "google"}


class ReplayLLM(FunctionCallingLLM):
    """Plays recorded turns back, as far as the prompt that really arrives allows it.

    It calls tools, streams, answers under a schema, and reports usage in its provider's format on `raw` (in a stream
    on the last chunk's). *replay* decides (default: the bundled workload, strong tier); *stream_usage* off leaves the
    usage out of streams, as an OpenAI-compatible server does unless it is asked. One event a call: no method calls
    another decorated one.

    >>> ReplayLLM().complete("What was never asked?").text
    'I have no recording for this.'
    """

    replay: Replay = Field(default_factory=lambda: Replay(load_workload(), tier="strong"), exclude=True, repr=False)
    stream_usage: bool = True
    max_tokens: int | None = None
    context_window: int = 128_000

    @classmethod
    def class_name(cls) -> str:
        return "ReplayLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.max_tokens or 1024,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.replay.model,
        )

    def to_payload(self) -> dict[str, Any]:
        """Describe the model as events do, with the provider whose format it reports in."""
        return {**super().to_payload(), "provider": self.replay.provider_format}

    # Chat -------------------------------------------------------------------------------------------------------------

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._response(self.replay.answer(self._prompt(messages, kwargs)))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        prompt = self._prompt(messages, kwargs)
        return self._response(await asyncio.to_thread(self.replay.answer, prompt))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._streamed(self._prompt(messages, kwargs))

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return self._astreamed(self._prompt(messages, kwargs))

    # Completion -------------------------------------------------------------------------------------------------------

    @override
    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return _completion(self._response(self.replay.answer(self._asked(prompt, kwargs))))

    @override
    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return _completion(self._response(await asyncio.to_thread(self.replay.answer, self._asked(prompt, kwargs))))

    @override
    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        asked = self._asked(prompt, kwargs)

        def pieces() -> CompletionResponseGen:
            for response in self._streamed(asked):
                yield _completion(response)

        return pieces()

    @override
    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        asked = self._asked(prompt, kwargs)

        async def pieces() -> CompletionResponseAsyncGen:
            async for response in self._astreamed(asked):
                yield _completion(response)

        return pieces()

    # Tools ------------------------------------------------------------------------------------------------------------

    @override
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or ())  # a copy: the caller keeps using the list
        if user_msg:
            messages.append(
                ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
            )
        if not tools:
            return {"messages": messages, **kwargs}
        specifications = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
        choice = tool_choice or ("required" if tool_required else "auto")
        return {"messages": messages, "tools": specifications, "tool_choice": choice, **kwargs}

    @override
    def _validate_chat_with_tools_response(
        self, response: ChatResponse, tools: Sequence[BaseTool], allow_parallel_tool_calls: bool = False, **kwargs: Any
    ) -> ChatResponse:
        if not allow_parallel_tool_calls:
            later = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)][1:]
            response.message.blocks = [block for block in response.message.blocks if block not in later]
        return response

    @override
    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the calls in an answer or in a chunk of it, whose arguments may have come only in part."""
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            raise ValueError("expected at least one tool call, but the answer has none")
        return [
            ToolSelection(
                tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=_arguments(call.tool_kwargs)
            )
            for call in calls
        ]

    # What it received, what it says -----------------------------------------------------------------------------------

    def _prompt(self, messages: Sequence[ChatMessage], params: Mapping[str, Any]) -> Prompt:
        if self.max_tokens is not None:
            params = {"max_tokens": self.max_tokens, **params}
        copies = [snapshots.of_message(message) for message in messages]
        return to_prompt(copies, params, api=_APIS[self.replay.provider_format])

    def _asked(self, prompt: str, params: Mapping[str, Any]) -> Prompt:
        return self._prompt([ChatMessage(role=MessageRole.USER, content=prompt)], params)

    def _response(self, answered: ReplayAnswer) -> ChatResponse:
        answer = answered.answer
        raw = {**self._raw(_identity(), answer.finish_reason, answered.usage), "replay": why(answered)}
        return ChatResponse(message=_message(answer.text, answer.tool_calls), raw=raw)

    def _streamed(self, prompt: Prompt) -> ChatResponseGen:
        said, identity = _Said(), _identity()
        for piece in self.replay.stream(prompt):
            said.add(piece)
            usage = piece.usage if self.stream_usage else None
            raw = self._raw(identity, piece.finish_reason, usage)
            yield ChatResponse(message=_message(said.text, said.calls()), delta=piece.text, raw=raw)

    async def _astreamed(self, prompt: Prompt) -> ChatResponseAsyncGen:
        for response in self._streamed(prompt):
            yield response
            await asyncio.sleep(0)  # a real stream lets other tasks in between two chunks

    def _raw(self, identity: str, finish_reason: str | None, usage: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what stands around an answer in the provider's own object."""
        name = self.replay.model
        if self.replay.provider_format == "google":
            candidates = [{"finish_reason": finish_reason}]
            return {"response_id": identity, "model_version": name, "candidates": candidates, "usage_metadata": usage}
        if self.replay.provider_format == "anthropic":
            return {"id": identity, "model": name, "stop_reason": finish_reason, "usage": usage}
        choices = [{"index": 0, "finish_reason": finish_reason}]
        return {"id": identity, "object": "chat.completion", "model": name, "choices": choices, "usage": usage}


class _Said:
    """What a stream has said so far: LlamaIndex's chunks are cumulative."""

    def __init__(self) -> None:
        self.text = ""
        self._calls: dict[int, ToolCall] = {}

    def add(self, piece: ReplayChunk) -> None:
        """Append a chunk."""
        self.text += piece.text
        delta = piece.tool_call
        if delta is not None:
            known = self._calls.get(delta.index) or ToolCall(name=delta.name or "", arguments="", id=delta.id)
            self._calls[delta.index] = ToolCall(
                name=known.name, arguments=known.arguments + delta.arguments, id=known.id
            )

    def calls(self) -> tuple[ToolCall, ...]:
        """Return the calls so far; the arguments of the last one may break off."""
        return tuple(self._calls.values())


def why(answered: ReplayAnswer) -> dict[str, Any]:
    """Return why the replayed model answered so, for `raw["replay"]`."""
    return {
        "why": answered.why,
        "turn": answered.turn_id,
        "missing": [f"{evidence.kind}:{evidence.id}" for evidence in answered.missing],
    }


def _identity() -> str:
    return f"replay-{uuid4().hex}"


def _message(text: str, calls: Sequence[ToolCall]) -> ChatMessage:
    blocks: list[Any] = [TextBlock(text=text)] if text else []
    blocks += [ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments) for call in calls]
    return ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)


def _completion(response: ChatResponse) -> CompletionResponse:
    return CompletionResponse(text=response.message.content or "", delta=response.delta, raw=response.raw)


def _arguments(arguments: str | dict[str, Any]) -> dict[str, Any]:
    if not isinstance(arguments, str):
        return arguments
    try:
        parsed = parse_partial_json(arguments) if arguments else {}
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
