"""`SemanticCacheMiddleware`: the semantic cache of an agent, streaming included."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
    PrivateStateAttr,
)
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as make_tool
from langgraph.types import Command

from tokenwise_core.cache.entry import CachedAnswer
from tokenwise_core.cache.request import CacheRequest
from tokenwise_core.cache.semantic import SemanticCache
from tokenwise_core.cache.ticket import Ticket
from tokenwise_core.errors import BadInput
from tokenwise_core.switch import enabled
from tokenwise_langchain.cache.calling import unbound
from tokenwise_langchain.cache.messages import message_of, to_cached
from tokenwise_langchain.cache.parameters import called, tool_parameters
from tokenwise_langchain.cache.requests import QueryOf, cache_request, checked, facts_of
from tokenwise_langchain.cache.served import ServedModel
from tokenwise_langchain.cache.warming import KnownPair, checked_pairs, how_many, known_pairs
from tokenwise_langchain.convert import snapshot
from tokenwise_langchain.runs import Guard, scoped, traced, whose

STATE_VERSION = 1

Handler = Callable[[ModelRequest[Any]], ModelResponse[Any]]
AsyncHandler = Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
Response = ModelResponse[Any] | ExtendedModelResponse[Any]


def _newest(_: dict[str, Any] | None, decision: dict[str, Any]) -> dict[str, Any]:
    """Keep the last decision of a step: where two caches stand around one another, that of the outer one."""
    return decision


class CacheState(AgentState[Any]):
    """The agent's state with the cache's last decision: versioned JSON, seen by no input or output schema."""

    tokenwise_cache: NotRequired[Annotated[dict[str, Any], PrivateStateAttr, _newest]]


class SemanticCacheMiddleware(AgentMiddleware[CacheState, Any, Any]):
    """Serves an agent's answers from *cache*; a hit streams, fires callbacks and is parsed as the model's own.

    >>> agent = create_agent(model, middleware=[SemanticCacheMiddleware(SemanticCache(namespace=lambda s: s.user))])

    On a hit the request goes on with a model that plays the answer back, so whatever stands inside sees a model call.
    Put it outside of routers, retries and fallbacks, and inside of what edits the user's messages (PII): the key is
    taken from the request as it comes in. Equal calls at the same time make one; after a tool's result only an equal
    request hits, and answers that call tools are stored only by a cache made with `tool_calls=True`.

    *query* tells what is asked, where the last message is a rendered template; *tags* are what all answers depend on
    (`cache.invalidate("prompt:7")`), *category* is the one whose life and vetoes *cache* may have set apart. Two in one
    agent need different *name*s. `agent.get_state(config)` holds the last decision under `tokenwise_cache`: `hit_id`
    for `cache.feedback`, or the reason why there was no hit.
    """

    state_schema = CacheState
    place = "cache"

    def __init__(
        self,
        cache: SemanticCache,
        *,
        query: QueryOf | None = None,
        tags: Sequence[str] = (),
        category: str | None = None,
        name: str = "SemanticCacheMiddleware",
    ) -> None:
        super().__init__()
        self.cache = checked(cache)
        self._query, self._tags, self._category, self._name = query, tuple(tags), category, name
        self._guard = Guard("cache")

    @property
    def name(self) -> str:
        """The name under which an agent knows this middleware."""
        return self._name

    @property
    def errors(self) -> int:
        """How many lookups and stores failed; the model answered in their place."""
        return self._guard.errors

    def wrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> Response:
        """Answer from the cache, or let the model answer and remember it."""
        if not enabled():
            return handler(request)
        ticket: Ticket | None = None
        with self._guard("look up"), scoped(whose(ensure_config())):
            ticket = self.cache.begin(self._request(request))
        served = None if ticket is None else self._served(request, ticket)
        if ticket is None or served is None:
            return handler(request)
        with ticket, traced(facts_of(ticket)):
            response = handler(served)
            self._complete(ticket, request, response)
        return _told(response, ticket)

    async def awrap_model_call(self, request: ModelRequest[Any], handler: AsyncHandler) -> Response:
        """Do the same without blocking the event loop."""
        if not enabled():
            return await handler(request)
        ticket: Ticket | None = None
        with self._guard("look up"), scoped(whose(ensure_config())):
            ticket = await self.cache.abegin(self._request(request))
        served = None if ticket is None else self._served(request, ticket)
        if ticket is None or served is None:
            return await handler(request)
        with ticket, traced(facts_of(ticket)):
            response = await handler(served)
            self._complete(ticket, request, response)
        return _told(response, ticket)

    def warm(
        self,
        pairs: Iterable[tuple[Any, Any]],
        *,
        model: BaseChatModel | str,
        system_prompt: SystemMessage | str | None = None,
        tools: Sequence[Any] = (),
        response_format: Any = None,
        model_settings: Mapping[str, Any] | None = None,
        progress: bool | None = None,
        total: int | None = None,
    ) -> int:
        """Store answers that are known, with a progress bar in a terminal; return how many were handed to the store.

        A pair is a question (a text, messages, an agent's input) and its answer (a text, an `AIMessage`). The rest is
        what `create_agent` was given, as it reaches this middleware: *tools* with those of other middleware, the prompt
        as the outer ones leave it; all of it is part of what is looked up. The namespace is that of the scope in force.
        `BadInput` for a pair that cannot be used; those before it are stored.
        """
        asked = _agent_request(model, system_prompt, tools, response_format, model_settings)
        formats = _formats(asked.response_format)

        def known(pair: KnownPair) -> tuple[CacheRequest, CachedAnswer]:
            messages: list[Any] = list(pair.messages())
            return self._request(asked.override(messages=messages)), to_cached([pair.choice()], formats=formats)

        made = map(known, known_pairs(checked_pairs(pairs)))
        return self.cache.warm(made, progress=progress, total=how_many(pairs, total))

    def _request(self, request: ModelRequest[Any]) -> CacheRequest:
        system = [request.system_message] if request.system_message else []
        messages: list[BaseMessage] = [*system, *request.messages]
        call = called(*_model_and_params(request))
        query = self._query(messages) if self._query else None
        return cache_request(
            [snapshot(message) for message in messages],
            call,
            query=query,
            semantic=query is not None or self._query is None,
            tags=self._tags,
            category=self._category,
        )

    def _served(self, request: ModelRequest[Any], ticket: Ticket) -> ModelRequest[Any] | None:
        """Return the request for a model that plays the hit back, as it is on a miss; None for an unreadable hit."""
        if ticket.hit is None:
            return request
        with self._guard("serve"):
            message = message_of(ticket.hit)
            if message is not None:
                return request.override(model=ServedModel.of(message, standing_for=unbound(request.model)[0]))
        return None

    def _complete(self, ticket: Ticket, request: ModelRequest[Any], response: ModelResponse[Any]) -> None:
        if ticket.hit is not None:
            return
        with self._guard("store"):
            answers = [message for message in response.result if isinstance(message, AIMessage)]
            formats = _formats(request.response_format)
            is_broken = (
                request.response_format is not None
                and _is_formal(answers, formats)
                and (response.structured_response is None)
            )
            if len(answers) == 1 and not is_broken:
                ticket.complete(to_cached([ChatGeneration(message=answers[0])], formats=formats))


def _agent_request(
    model: Any, system_prompt: Any, tools: Sequence[Any], wanted: Any, settings: Mapping[str, Any] | None
) -> ModelRequest[Any]:
    """Return the request that an agent made of these hands to its middleware, without messages."""
    chat = init_chat_model(model) if isinstance(model, str) else model
    try:
        unbound(chat)
    except AttributeError:
        raise BadInput(f"model is a {type(model).__name__}: give the chat model that the agent was made with") from None
    is_strategy = wanted is None or isinstance(wanted, ToolStrategy | ProviderStrategy | AutoStrategy)
    return ModelRequest(
        model=chat,
        messages=[],
        system_message=SystemMessage(system_prompt) if isinstance(system_prompt, str) else system_prompt,
        tools=[one if isinstance(one, BaseTool | dict) else make_tool(one) for one in tools],
        response_format=wanted if is_strategy else AutoStrategy(schema=wanted),
        model_settings=dict(settings or {}),
    )


def _model_and_params(request: ModelRequest[Any]) -> tuple[BaseChatModel, dict[str, Any]]:
    """Return the model that will be called, and what it will be called with: tools, the answer's format, settings."""
    model, bound = unbound(request.model)  # an AttributeError of another kind of runnable: no cache for it
    params = {**bound, **request.model_settings, "tool_choice": request.tool_choice}
    params["tools"] = [*params.get("tools", ()), *tool_parameters(request.tools)]
    wanted = request.response_format
    if isinstance(wanted, ProviderStrategy):
        params.update(wanted.to_model_kwargs())
    elif wanted is not None:
        specs = _specs(wanted)
        params["answer_format"] = [
            {"name": spec.name, "description": spec.description, "schema": spec.json_schema, "strict": spec.strict}
            for spec in specs
        ]
        params["answer_strategy"] = type(wanted).__name__
    return model, params


def _specs(wanted: Any) -> list[Any]:
    if isinstance(wanted, ToolStrategy):
        return wanted.schema_specs
    return ToolStrategy(wanted.schema if isinstance(wanted, AutoStrategy) else wanted).schema_specs


def _formats(wanted: Any) -> tuple[str, ...]:
    """Return the names of the tools that only give the answer its form."""
    return () if wanted is None or isinstance(wanted, ProviderStrategy) else tuple(s.name for s in _specs(wanted))


def _is_formal(answers: list[AIMessage], formats: tuple[str, ...]) -> bool:
    """Say whether this was to be the structured answer, not a call of a tool on the way to it."""
    return all(call["name"] in formats for answer in answers for call in answer.tool_calls)


def _told(response: ModelResponse[Any], ticket: Ticket) -> ExtendedModelResponse[Any]:
    decision = {"v": STATE_VERSION, **facts_of(ticket)}
    return ExtendedModelResponse(model_response=response, command=Command(update={"tokenwise_cache": decision}))
