"""`SummaryBufferMiddleware`: the memory of an agent, which edits what is sent and leaves the history whole."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware.internal_call_transformer import InternalCallTransformer
from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
    PrivateStateAttr,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages.utils import convert_to_messages
from langchain_core.runnables.config import RunnableConfig, ensure_config
from langgraph.types import Command

from tokenwise_core.errors import BadInput
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.request import Request
from tokenwise_core.memory.usage import MemoryUsage
from tokenwise_core.memory.view import View
from tokenwise_core.switch import enabled
from tokenwise_langchain.memory.fixed import FixedTokens
from tokenwise_langchain.memory.keeper import Keeper, Kept, SummarizerOf
from tokenwise_langchain.memory.models import is_played, named, price_ratio, usage_of
from tokenwise_langchain.memory.naming import SessionOf, session_of
from tokenwise_langchain.memory.recalling import STATE, recalling_tool
from tokenwise_langchain.memory.reopened import Reopened
from tokenwise_langchain.memory.summarizer import Model, Shown, Summarizer
from tokenwise_langchain.runs import Guard, traced

Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]
AsyncHandler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
Response = ModelResponse[Any] | ExtendedModelResponse[Any]


def _newest(_: dict[str, Any] | None, view: dict[str, Any]) -> dict[str, Any]:
    """Keep the view that was derived last."""
    return view


class MemoryState(AgentState[Any]):
    """The agent's state with what memory derived from its messages: versioned JSON, in no input or output schema."""

    tokenwise_memory: NotRequired[Annotated[dict[str, Any], PrivateStateAttr, _newest]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One model call as memory takes it."""

    session: str | None
    view: View | None
    asked: Request
    summarizer: SummarizerOf


class SummaryBufferMiddleware(Reopened, AgentMiddleware[MemoryState, Any, Any]):
    """Shows an agent's model a shorter conversation where that pays, and one that fits in any case.

    >>> agent = create_agent(model, tools, middleware=[SummaryBufferMiddleware(Memory(target_tokens=4_000))])

    The history in the agent's state stays whole: only the request is edited. What memory derived from it is private
    state, so it is stored, forked and resumed with the thread; without a checkpointer it lives in this process.

    Summaries are made by the application's own model, behind what it was just sent (the provider reads that from its
    cache), or by *summarizer*; where an answer's format or a tool is forced, the own model is asked apart. The call is
    tagged as internal: no stream of messages shows it, `TokenBreakdownHandler` books it under `tokenwise:summary`.

    A session is a thread and the graph in it; *session* names another, or tells it from the call's config.
    *recall_tool* offers the model a tool `recall(id)` for what left its context. Two in one agent would share a state:
    put one. It stands inside of a cache and of what edits the user's messages (PII), outside of routers, retries and
    fallbacks (`in_order` sorts ours): a cache inside would be asked with another key after each summary. What marks
    the request for a provider's prompt cache (`AnthropicPromptCachingMiddleware`) stands outside, too: the summary's
    request then bears the same marks.
    """

    state_schema = MemoryState
    transformers = (InternalCallTransformer,)
    place = "memory"
    opened = frozenset({"_keeper", "_fixed", "_guard", "tools"})

    def __init__(
        self,
        memory: Memory | None = None,
        *,
        summarizer: BaseChatModel | None = None,
        session: SessionOf = None,
        recall_tool: bool = False,
        name: str = "SummaryBufferMiddleware",
    ) -> None:
        super().__init__()
        self.memory = memory or Memory()
        self._summarizer, self._session, self._name = summarizer, session, name
        self._offers_recall = recall_tool
        self._begin()

    def _begin(self) -> None:
        self._keeper = Keeper(self.memory)
        self._fixed = FixedTokens(self.memory)
        self._guard = Guard("memory")
        self.tools = [recalling_tool(self._keeper, self._session)] if self._offers_recall else []

    @property
    def name(self) -> str:
        """The name under which an agent knows this middleware."""
        return self._name

    @property
    def errors(self) -> int:
        """How many calls went on without us, because the adapter failed; what failed in core, `memory.stats()` says."""
        return self._guard.errors

    def usage(self, state: Mapping[str, Any], config: RunnableConfig | None = None) -> MemoryUsage:
        """Return what an agent's *state* holds and shows: tokens in all, by role, summaries, stable prefix.

        >>> middleware.usage(agent.get_state(config).values)

        What `invoke` returns lacks the private part, in which the view stands: then *config* names the thread, whose
        view this process may know; where it does not, all is taken to be shown.
        """
        messages = state.get("messages") if isinstance(state, Mapping) else None
        if messages is None:
            raise BadInput("state holds no messages: give the agent's state, such as agent.get_state(config).values")
        derived, known = state.get(STATE), convert_to_messages(messages)
        session = session_of(self._session, ensure_config(config), known)
        return self._keeper.usage(session, known, view=View.from_dict(derived) if derived else None)

    def wrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> Response:
        """Let the model answer what memory makes of the request."""
        if not enabled() or is_played(request.model):
            return handler(request)
        kept: Kept | None = None
        with self._guard("prepare"):
            call = self._call(request)
            kept = self._keeper.show(call.session, request.messages, call.asked, call.summarizer, view=call.view)
        if kept is None:
            return handler(request)
        with traced(kept.facts):
            response = handler(request.override(messages=kept.messages))
        with self._guard("learn"):
            self._keeper.learn(call.session, kept, usage_of(response.result), call.summarizer)
        return _told(response, kept)

    async def awrap_model_call(self, request: ModelRequest[Any], handler: AsyncHandler) -> Response:
        """Do the same without blocking the event loop."""
        if not enabled() or is_played(request.model):
            return await handler(request)
        kept: Kept | None = None
        with self._guard("prepare"):
            await self.memory.loaded()
            call = self._call(request)
            kept = await self._keeper.ashow(call.session, request.messages, call.asked, call.summarizer, view=call.view)
        if kept is None:
            return await handler(request)
        with traced(kept.facts):
            response = await handler(request.override(messages=kept.messages))
        with self._guard("learn"):
            await self._keeper.alearn(call.session, kept, usage_of(response.result), call.summarizer)
        return _told(response, kept)

    def _call(self, request: ModelRequest[Any]) -> _Call:
        state: Any = request.state
        derived = state.get(STATE)
        model, provider = named(request.model)
        other = self._summarizer
        is_own = other is None and _is_free(request)
        return _Call(
            session=session_of(self._session, ensure_config(), request.messages),
            view=View.from_dict(derived) if derived else None,
            asked=Request(
                fixed_tokens=self._fixed.of(request, provider),
                model=model,
                provider=provider,
                summariser="own" if is_own else "other",
                summariser_price=1.0 if other is None else price_ratio(self.memory.prices, other, request.model),
                offers_recall=bool(self.tools),
            ),
            summarizer=lambda shown: _summarizer(request, other, shown if is_own else None),
        )


def _is_free(request: ModelRequest[Any]) -> bool:
    """Say whether the model may answer the agent's very request in plain words."""
    return request.response_format is None and request.tool_choice in (None, "auto", "none")


def _summarizer(request: ModelRequest[Any], other: BaseChatModel | None, shown: Shown | None) -> Summarizer:
    if other is not None or shown is None:
        return Summarizer(other or request.model)
    system = [request.system_message] if request.system_message else []
    return Summarizer(request.model, bound=_bound(request), shown=lambda: [*system, *shown()])


def _bound(request: ModelRequest[Any]) -> Model:
    """Return the model with its tools as the agent binds them: the provider's cache goes by them, too."""
    if request.tools:
        return request.model.bind_tools(request.tools, tool_choice=request.tool_choice, **request.model_settings)
    return request.model.bind(**request.model_settings)


def _told(response: ModelResponse[Any], kept: Kept) -> ExtendedModelResponse[Any]:
    view = json.loads(json.dumps(kept.prepared.view.to_dict()))  # lists for tuples: a checkpoint may be read elsewhere
    return ExtendedModelResponse(model_response=response, command=Command(update={STATE: view}))
