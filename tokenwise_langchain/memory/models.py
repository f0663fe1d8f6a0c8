"""What memory must know of a chat model and of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from tokenwise_core.usage.events import Usage
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_langchain.snapshots import Reply

_PLAYED = "tokenwise-served"
"""The kind of the model by which our cache plays a hit back: nobody is asked, nothing is to be shortened or learnt."""


def is_played(model: Any) -> bool:
    """Say whether *model* only plays back what a cache holds."""
    return getattr(model, "_llm_type", None) == _PLAYED


def named(model: Any) -> tuple[str | None, str | None]:
    """Return the names of a chat model and its provider, as its integration tells them to tracers."""
    while not hasattr(model, "_get_ls_params"):
        if not hasattr(model, "bound"):
            return None, None
        model = model.bound
    params = model._get_ls_params()  # noqa: SLF001  what integrations override to name themselves
    return params.get("ls_model_name"), params.get("ls_provider")


def price_ratio(prices: PriceBook, other: Any, own: Any) -> float:
    """Return the input price of *other* in that of *own*; 1 where either is not known."""
    found = [prices.price(name, provider) for name, provider in (named(other), named(own)) if name]
    rates = [price.rate("input_uncached") for price in found if price is not None]
    return float(rates[0] / rates[1]) if len(rates) == 2 and rates[0] and rates[1] else 1.0


def usage_of(messages: Sequence[BaseMessage]) -> Usage | None:
    """Return the usage of the answer among *messages*; None where none is reported, or no provider was asked."""
    answers = [message for message in messages if isinstance(message, AIMessage)]
    if not answers:
        return None
    reply = Reply(LLMResult(generations=[[ChatGeneration(message=answers[0])]]))
    return None if reply.is_cache_hit else reply.answered().usage


def answered_by(answer: AIMessage | None) -> tuple[str | None, str | None]:
    """Return the names of the model and the provider that gave *answer*, as its metadata tells them."""
    metadata = answer.response_metadata if answer is not None else {}
    names = (metadata.get("model_name"), metadata.get("model_provider"))
    model, provider = (name if isinstance(name, str) else None for name in names)
    return model, provider
