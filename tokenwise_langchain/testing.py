"""A recorded chat model for tests, notebooks and the demo: LangChain's face of `tokenwise_core.testing.Replay`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, Field

from tokenwise_core.demo.workload import load_workload
from tokenwise_core.messages import Prompt, ToolCall
from tokenwise_core.testing import Replay, ReplayAnswer, ReplayChunk
from tokenwise_core.usage.normalize import normalize_usage
from tokenwise_langchain.convert import snapshot, to_prompt

_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "google": "google_genai"}


class ReplayChatModel(BaseChatModel):
    """Plays recorded turns back, as far as the prompt that really arrives allows it.

    It binds tools, streams, answers under a schema, and reports usage in its provider's format. *replay* decides
    (default: the bundled workload, strong tier); *stream_usage* off leaves the usage out of streams, as
    `ChatOpenAI` does with a base URL of one's own. Stop sequences are ignored: what was recorded is not cut.

    >>> ReplayChatModel().invoke("What was never asked?").content
    'I have no recording for this.'
    """

    replay: Replay = Field(default_factory=lambda: Replay(load_workload(), tier="strong"), exclude=True, repr=False)
    stream_usage: bool = True
    max_tokens: int | None = None
    profile: ModelProfile | None = Field(
        default_factory=lambda: ModelProfile(
            max_input_tokens=128_000, max_output_tokens=16_384, tool_calling=True, structured_output=True
        ),
        exclude=True,
    )

    @property
    def model_name(self) -> str:
        """The name in metadata: `replay-cheap` or `replay-strong`."""
        return self.replay.model

    @property
    def _llm_type(self) -> str:
        return "tokenwise-replay"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model_name, "max_tokens": self.max_tokens}

    @property
    def _provider(self) -> str:
        return _PROVIDERS[self.replay.provider_format]

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = self._provider
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools, converted to OpenAI's form; *tool_choice* is "auto", "any", "none", True or a tool's name."""
        if tool_choice:
            kwargs["tool_choice"] = "any" if tool_choice is True else tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["function_calling", "json_schema"] = "function_calling",
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer as *schema* (a pydantic class or a JSON schema), by a forced tool or by a response format."""
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        wire = convert_to_json_schema(schema)
        answer_format = {"name": wire.get("title", "response"), "schema": wire, "strict": kwargs.get("strict")}
        model = self.bind(
            response_format={"type": "json_schema", "json_schema": answer_format},
            ls_structured_output_format={"kwargs": {"method": method}, "schema": schema},
        )
        parser: Runnable[Any, Any] = JsonOutputParser()
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            parser = PydanticOutputParser[BaseModel](pydantic_object=schema)
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def _prompt(self, messages: Sequence[BaseMessage], params: Mapping[str, Any]) -> Prompt:
        if self.max_tokens is not None:
            params = {"max_tokens": self.max_tokens, **params}
        return to_prompt([snapshot(message) for message in messages], params, self._provider)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        answered = self.replay.answer(self._prompt(messages, kwargs))
        answer = answered.answer
        calls = [_call(call) for call in answer.tool_calls]
        message = AIMessage(
            content=answer.text,
            tool_calls=[call for call in calls if call["type"] == "tool_call"],
            invalid_tool_calls=[call for call in calls if call["type"] == "invalid_tool_call"],
            usage_metadata=self._usage(answered.usage),
            response_metadata={**self._metadata(answer.finish_reason), "replay": why(answered)},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self.replay.stream(self._prompt(messages, kwargs)):
            yield ChatGenerationChunk(message=self._chunk(piece))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in await asyncio.to_thread(lambda: list(self.replay.stream(self._prompt(messages, kwargs)))):
            yield ChatGenerationChunk(message=self._chunk(piece))

    def _chunk(self, piece: ReplayChunk) -> AIMessageChunk:
        if piece.tool_call is not None:
            delta = piece.tool_call
            part = tool_call_chunk(name=delta.name, args=delta.arguments, id=delta.id, index=delta.index)
            return AIMessageChunk(content="", tool_call_chunks=[part])
        if piece.finish_reason is None:
            return AIMessageChunk(content=piece.text)
        return AIMessageChunk(
            content=piece.text,
            usage_metadata=self._usage(piece.usage) if self.stream_usage else None,
            response_metadata=self._metadata(piece.finish_reason),
            chunk_position="last",
        )

    def _metadata(self, finish_reason: str | None) -> dict[str, Any]:
        return {"model_name": self.model_name, "model_provider": self._provider, "finish_reason": finish_reason}

    def _usage(self, raw: Mapping[str, Any] | None) -> UsageMetadata | None:
        """Convert the provider's usage as LangChain's integrations do: inclusive totals, details as subsets."""
        usage = normalize_usage(self.replay.provider_format, raw)
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        return UsageMetadata(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            total_tokens=usage.input_tokens + usage.output_tokens,
            input_token_details=InputTokenDetails(
                cache_read=usage.cache_read or 0,
                cache_creation=(usage.cache_write_5m or 0) + (usage.cache_write_1h or 0),
            ),
            output_token_details=OutputTokenDetails(reasoning=usage.reasoning or 0),
        )


def why(answered: ReplayAnswer) -> dict[str, Any]:
    """Return why the replayed model answered so, for `response_metadata["replay"]`."""
    return {
        "why": answered.why,
        "turn": answered.turn_id,
        "missing": [f"{evidence.kind}:{evidence.id}" for evidence in answered.missing],
    }


def _call(call: ToolCall) -> Any:
    try:
        return tool_call(name=call.name, args=json.loads(call.arguments), id=call.id)
    except ValueError as error:
        return invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=str(error))
