"""The one wrapper of a model: `TokenwiseLLM` stands where any LlamaIndex `LLM` is expected and carries the levers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, Self, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.bridge.pydantic import BaseModel, Field, PrivateAttr, SerializeAsAny
from llama_index.core.chat_engine.types import AgentChatResponse
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.tools import BaseTool
from llama_index.core.types import TokenAsyncGen, TokenGen
from typing_extensions import override

from tokenwise_core.cache import SemanticCache
from tokenwise_core.errors import BadInput
from tokenwise_core.memory import Memory
from tokenwise_core.stack import Lever, Stack
from tokenwise_llamaindex.cache.lever import CacheLever, Question
from tokenwise_llamaindex.cache.warming import Answer, Asking, Dictated, warmed
from tokenwise_llamaindex.calls import Asked, FilledIn, LLMAnswer, LLMCall, asked_by, asked_in, offered
from tokenwise_llamaindex.memory.lever import MemoryLever
from tokenwise_llamaindex.recent import Recent

_MIRRORED = (
    "callback_manager", "rate_limiter", "system_prompt", "messages_to_prompt", "completion_to_prompt", "output_parser",
    "pydantic_program_mode", "query_wrapper_prompt",
)  # fmt: skip
"""Fields that the frameworks reads off an LLM or sets on it: the wrapper's are the wrapped model's."""

_CALLS = (
    "chat", "achat", "stream_chat", "astream_chat", "complete", "acomplete", "stream_complete", "astream_complete",
)  # fmt: skip
_UNKNOWN = Asked()


class TokenwiseLLM(FunctionCallingLLM):
    """A model with the levers of TokenWise around it; drop it in for the model.

    >>> llm = TokenwiseLLM(OpenAI("gpt-4o-mini"), cache=SemanticCache(shared=True))
    >>> Settings.llm = llm

    Each of its calls passes the levers in the order of `tokenwise_core.stack.ORDER` before it reaches the model; what
    composes calls (`predict`, programs, structured output, tools) runs as the model itself would run it. *cache*
    serves repeated and rephrased questions; what is asked is known from the templates of LlamaIndex, and *query* finds
    it in the messages where you know better. *memory* shortens long conversations where that pays, the tool loop of an
    agent's run included, which no memory of LlamaIndex sees. *levers* are more of them, your own among them.

    A hit is marked in `response.additional_kwargs["tokenwise"]` and told as a `TokenwiseCacheHitEvent`; the model's own
    events tell of its calls alone.
    """

    inner: SerializeAsAny[LLM] = Field(description="The model that is asked.", exclude=True, repr=False)
    _stack: Stack[LLMCall, LLMAnswer] = PrivateAttr()
    _model: Recent = PrivateAttr(default_factory=Recent)
    _given: dict[str, Any] = PrivateAttr()

    def __init__(
        self,
        llm: LLM,
        *,
        cache: SemanticCache | None = None,
        query: Question | None = None,
        memory: Memory | None = None,
        levers: Sequence[Lever[LLMCall, LLMAnswer]] = (),
    ) -> None:
        if not isinstance(llm, LLM):
            raise BadInput(f"llm is a {type(llm).__name__}: give a LlamaIndex LLM, such as OpenAI('gpt-5-mini')")
        super().__init__(inner=llm, **{name: getattr(llm, name) for name in _MIRRORED})
        self._given = {"llm": llm, "cache": cache, "query": query, "memory": memory, "levers": tuple(levers)}
        caching = () if cache is None else (CacheLever(cache, query=query),)
        remembering = () if memory is None else (MemoryLever(memory),)
        self._stack = Stack((*caching, *remembering, *levers))

    @classmethod
    def class_name(cls) -> str:
        return "TokenwiseLLM"

    @property
    def metadata(self) -> LLMMetadata:
        return self.inner.metadata

    @property
    def cache(self) -> SemanticCache | None:
        """The cache that answers before the model is asked."""
        return cast("SemanticCache | None", self._given["cache"])

    @property
    def memory(self) -> Memory | None:
        """The memory that shortens conversations."""
        return cast("Memory | None", self._given["memory"])

    @property
    def recent(self) -> Recent:
        """What was sent last: a memory's summaries can be asked behind it."""
        return self._model

    @override
    def to_payload(self) -> dict[str, Any]:
        """Describe the model as events do: as the wrapped one."""
        return self.inner.to_payload()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in _MIRRORED and "inner" in self.__dict__:
            setattr(self.inner, name, value)  # `Settings` sets a callback manager on the model that it is given

    def __getstate__(self) -> dict[str, Any]:
        return dict(self._given)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a cache opens its store anew where it is loaded

    def __copy__(self) -> Self:
        return type(self)(**self._given)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return the same levers around a copy of the model: what is in flight, and counted, stays one."""
        return type(self)(**{**self._given, "llm": self.inner.model_copy(deep=True)})

    def warm(
        self,
        pairs: Iterable[tuple[Asking, Answer]],
        *,
        params: Mapping[str, Any] | None = None,
        progress: bool | None = None,
        total: int | None = None,
    ) -> int:
        """Store answers in the cache under the keys that the calls will have, with a progress bar in a terminal.

        Returns how many were handed to the store.

        What is asked is a text (`complete`), messages (`chat`), or a template with its variables (`predict`); the
        answer a text or a response. *params* are keywords that the calls will be given (a temperature, tools).

        >>> llm.warm([("How long does a refund take?", "Five working days."), ((template, {"query_str": "…"}), "…")])
        """
        lever = next((lever for lever in self._stack.levers if isinstance(lever, CacheLever)), None)
        if lever is None:
            raise BadInput("there is no cache to warm: give one, TokenwiseLLM(llm, cache=SemanticCache(…))")
        double = copy(self)
        double._stack = Stack(self._stack.levers[: self._stack.levers.index(lever)])  # noqa: SLF001  ours
        double._model = model = Dictated()  # noqa: SLF001  ours
        return warmed(
            lever.cache,
            pairs,
            lambda asked, answer: lever.entry(*model.exchange(double, asked, answer, params or {})),
            progress=progress,
            total=total,
        )

    # The eight calls --------------------------------------------------------------------------------------------------

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._chat(asked_by(messages), messages, **kwargs)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._achat(asked_by(messages), messages, **kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        return self._stream_chat(asked_by(messages), messages, **kwargs)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        return await self._astream_chat(asked_by(messages), messages, **kwargs)

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return self._complete(_UNKNOWN, prompt, formatted, **kwargs)

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return await self._acomplete(_UNKNOWN, prompt, formatted, **kwargs)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return self._stream_complete(_UNKNOWN, prompt, formatted, **kwargs)

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        return await self._astream_complete(_UNKNOWN, prompt, formatted, **kwargs)

    # ... with what is known of where their prompt came from

    def _chat(self, asked: Asked, messages: Sequence[ChatMessage], **params: Any) -> ChatResponse:
        call = LLMCall(llm=self.inner, messages=messages, params=params, asked=asked)
        return cast("ChatResponse", self._stack.call(call, self._model).response)

    async def _achat(self, asked: Asked, messages: Sequence[ChatMessage], **params: Any) -> ChatResponse:
        call = LLMCall(llm=self.inner, messages=messages, params=params, asked=asked)
        return cast("ChatResponse", (await self._stack.acall(call, self._model)).response)

    def _stream_chat(self, asked: Asked, messages: Sequence[ChatMessage], **params: Any) -> ChatResponseGen:
        call = LLMCall(llm=self.inner, messages=messages, params=params, asked=asked, streamed=True)
        return cast("ChatResponseGen", self._stack.stream(call, self._model))

    async def _astream_chat(self, asked: Asked, messages: Sequence[ChatMessage], **params: Any) -> ChatResponseAsyncGen:
        call = LLMCall(llm=self.inner, messages=messages, params=params, asked=asked, streamed=True)
        return cast("ChatResponseAsyncGen", await self._stack.astream(call, self._model))

    def _complete(self, asked: Asked, prompt: str, formatted: bool = False, **params: Any) -> CompletionResponse:
        call = LLMCall(llm=self.inner, prompt=prompt, formatted=formatted, params=params, asked=asked)
        return cast("CompletionResponse", self._stack.call(call, self._model).response)

    async def _acomplete(self, asked: Asked, prompt: str, formatted: bool = False, **params: Any) -> CompletionResponse:
        call = LLMCall(llm=self.inner, prompt=prompt, formatted=formatted, params=params, asked=asked)
        return cast("CompletionResponse", (await self._stack.acall(call, self._model)).response)

    def _stream_complete(
        self, asked: Asked, prompt: str, formatted: bool = False, **params: Any
    ) -> CompletionResponseGen:
        call = LLMCall(llm=self.inner, prompt=prompt, formatted=formatted, params=params, asked=asked, streamed=True)
        return cast("CompletionResponseGen", self._stack.stream(call, self._model))

    async def _astream_complete(
        self, asked: Asked, prompt: str, formatted: bool = False, **params: Any
    ) -> CompletionResponseAsyncGen:
        call = LLMCall(llm=self.inner, prompt=prompt, formatted=formatted, params=params, asked=asked, streamed=True)
        return cast("CompletionResponseAsyncGen", await self._stack.astream(call, self._model))

    @override
    def _extend_messages(self, messages: list[ChatMessage]) -> list[ChatMessage]:
        return FilledIn(super()._extend_messages(messages))  # programs send what they have filled in through here

    # What is composed of them -----------------------------------------------------------------------------------------

    def _as_it_would(self, asked: Asked = _UNKNOWN) -> Any:
        """Return the model as it is, but that its eight calls pass the levers.

        Its own code composes them then: a provider's native structured output, the way it offers tools.
        """
        double = self.inner.model_copy()
        for name in _CALLS:
            passing = getattr(self, f"_{name}")
            double.__dict__[name] = partial(passing, asked)
            if isinstance(double, TokenwiseLLM):  # it composes what bears the underscore
                double.__dict__[f"_{name}"] = passing
        return double

    @override
    def predict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        return str(self._as_it_would(asked_in(prompt, prompt_args)).predict(prompt, **prompt_args))

    @override
    async def apredict(self, prompt: BasePromptTemplate, **prompt_args: Any) -> str:
        return str(await self._as_it_would(asked_in(prompt, prompt_args)).apredict(prompt, **prompt_args))

    @override
    def stream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenGen:
        return cast("TokenGen", self._as_it_would(asked_in(prompt, prompt_args)).stream(prompt, **prompt_args))

    @override
    async def astream(self, prompt: BasePromptTemplate, **prompt_args: Any) -> TokenAsyncGen:
        double = self._as_it_would(asked_in(prompt, prompt_args))
        return cast("TokenAsyncGen", await double.astream(prompt, **prompt_args))

    @override
    def structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        double = self._as_it_would(asked_in(prompt, prompt_args, output_cls))
        return double.structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    @override
    async def astructured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        double = self._as_it_would(asked_in(prompt, prompt_args, output_cls))
        return await double.astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)

    @override
    def stream_structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        double = self._as_it_would(asked_in(prompt, prompt_args, output_cls))
        return cast(
            "Generator[Any, None, None]",
            double.stream_structured_predict(output_cls, prompt, llm_kwargs, **prompt_args),
        )

    @override
    async def astream_structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        double = self._as_it_would(asked_in(prompt, prompt_args, output_cls))
        return cast(
            "AsyncGenerator[Any, None]",
            await double.astream_structured_predict(output_cls, prompt, llm_kwargs, **prompt_args),
        )

    @override
    def _structured_stream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        double = self._as_it_would(asked_in(prompt, prompt_args, output_cls))
        return cast(
            "Generator[Any, None, None]",
            double._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args),  # noqa: SLF001  the model's own
        )

    @override
    async def _structured_astream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        double = self._as_it_would(asked_in(prompt, prompt_args, output_cls))
        return cast(
            "AsyncGenerator[Any, None]",
            await double._structured_astream_call(output_cls, prompt, llm_kwargs, **prompt_args),  # noqa: SLF001
        )

    # Tools ------------------------------------------------------------------------------------------------------------

    @override
    def chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        offer = offered(tools, user_msg, chat_history, (verbose, allow_parallel_tool_calls, tool_required))
        return cast("ChatResponse", self._with_functions().chat_with_tools(**offer, **kwargs))

    @override
    async def achat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        offer = offered(tools, user_msg, chat_history, (verbose, allow_parallel_tool_calls, tool_required))
        return cast("ChatResponse", await self._with_functions().achat_with_tools(**offer, **kwargs))

    @override
    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseGen:
        offer = offered(tools, user_msg, chat_history, (verbose, allow_parallel_tool_calls, tool_required))
        return cast("ChatResponseGen", self._with_functions().stream_chat_with_tools(**offer, **kwargs))

    @override
    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        offer = offered(tools, user_msg, chat_history, (verbose, allow_parallel_tool_calls, tool_required))
        return cast("ChatResponseAsyncGen", await self._with_functions().astream_chat_with_tools(**offer, **kwargs))

    @override
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,  # by name: LlamaIndex leaves it out for classes whose signature lacks it
        **kwargs: Any,
    ) -> dict[str, Any]:
        offer = offered(tools, user_msg, chat_history, (verbose, allow_parallel_tool_calls, tool_required))
        return self._functions()._prepare_chat_with_tools_compat(**offer, **kwargs)  # noqa: SLF001

    @override
    def _validate_chat_with_tools_response(
        self, response: ChatResponse, tools: Sequence[BaseTool], allow_parallel_tool_calls: bool = False, **kwargs: Any
    ) -> ChatResponse:
        return self._functions()._validate_chat_with_tools_response(  # noqa: SLF001
            response, tools, allow_parallel_tool_calls=allow_parallel_tool_calls, **kwargs
        )

    @override
    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        return self._functions().get_tool_calls_from_response(
            response, error_on_no_tool_call=error_on_no_tool_call, **kwargs
        )

    @override
    def predict_and_call(self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any) -> AgentChatResponse:
        return cast("AgentChatResponse", self._as_it_would().predict_and_call(tools, *args, **kwargs))

    @override
    async def apredict_and_call(self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any) -> AgentChatResponse:
        return cast("AgentChatResponse", await self._as_it_would().apredict_and_call(tools, *args, **kwargs))

    def _functions(self) -> FunctionCallingLLM:
        if not isinstance(self.inner, FunctionCallingLLM):
            raise BadInput(f"{self.inner.class_name()} calls no functions: wrap a FunctionCallingLLM")
        return self.inner

    def _with_functions(self) -> Any:
        self._functions()
        return self._as_it_would()
