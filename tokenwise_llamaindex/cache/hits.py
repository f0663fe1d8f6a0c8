"""The event of a hit: a call that was answered from a cache, so that no model event tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.bridge.pydantic import Field
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.span import active_span_id

from tokenwise_core.cache import Hit

dispatcher = get_dispatcher(__name__)


class TokenwiseCacheHitEvent(BaseEvent):
    """Stands in for the start and the end of a model call that was not made.

    A model event with zero usage would not do: token counters take a zero for "not reported", and estimate it.
    *messages*, *additional_kwargs* and *model_dict* are those of the call, *tokenwise* says what kind of hit it was and
    what it saved, *hit* is core's own value. A *prompt* was one text.
    """

    messages: list[ChatMessage]
    response: ChatResponse | CompletionResponse
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    model_dict: dict[str, Any] = Field(default_factory=dict)
    tokenwise: dict[str, Any] = Field(default_factory=dict)
    prompt: bool = False
    streamed: bool = False
    hit: Any = Field(default=None, exclude=True, repr=False)

    @classmethod
    def class_name(cls) -> str:
        return "TokenwiseCacheHitEvent"


def announce(
    hit: Hit,
    response: ChatResponse | CompletionResponse,
    *,
    messages: Sequence[ChatMessage],
    params: Mapping[str, Any],
    model: Mapping[str, Any],
    prompt: bool = False,
    streamed: bool = False,
) -> None:
    """Tell all handlers of a hit, in the span of the call that it answers."""
    event = TokenwiseCacheHitEvent.model_construct(
        messages=list(messages),
        response=response,
        additional_kwargs=dict(params),
        model_dict=dict(model),
        tokenwise=hit.metadata(),
        prompt=prompt,
        streamed=streamed,
        hit=hit,
        id_=str(uuid4()),
        timestamp=datetime.now(),  # noqa: DTZ005  as all events of LlamaIndex
        span_id=active_span_id.get(),
        tags={},
    )  # all fields are given: pydantic looks into a default factory's signature each time, which takes 70 µs
    dispatcher.event(event)
