"""What a chain is made of and what is asked of it, for a cache's key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.output_parsers.base import BaseOutputParser
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import (
    RunnableBinding,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.passthrough import RunnableAssign

from tokenwise_core.cache.gate import is_rendered
from tokenwise_core.messages import Message, Prompt
from tokenwise_core.usage.call import component_of_variable
from tokenwise_core.usage.components import Component
from tokenwise_langchain.cache.parameters import canonical, model_parameters
from tokenwise_langchain.convert import snapshot, to_messages

QueryOf = str | Callable[[Any], str | None] | None

_PLACEHOLDER = "\x00query\x00"


def make_up(runnable: Any, opaque: list[str]) -> Any:
    """Return what can be read of a chain (templates, models, settings) as JSON; name in *opaque* what cannot."""
    if isinstance(runnable, RunnableSequence):
        return [make_up(step, opaque) for step in runnable.steps]
    if isinstance(runnable, RunnableParallel):
        return {name: make_up(step, opaque) for name, step in runnable.steps__.items()}
    if isinstance(runnable, RunnableAssign):
        return ["assign", make_up(runnable.mapper, opaque)]
    if isinstance(runnable, RunnableBinding):
        return [make_up(runnable.bound, opaque), canonical(runnable.kwargs)]
    if isinstance(runnable, RunnableWithFallbacks):
        return ["fallbacks", *(make_up(one, opaque) for one in runnable.runnables)]
    if isinstance(runnable, BaseChatModel):
        return model_parameters(runnable)
    if isinstance(runnable, BaseOutputParser):
        return canonical(runnable)
    if type(runnable) is RunnablePassthrough and runnable.func is None and runnable.afunc is None:
        return "passthrough"
    return _dumped(runnable, opaque)


def streams_by_parts(runnable: Any) -> bool:
    """Say whether a chain streams a dict as parts that add up; a parser's grow, each the whole so far."""
    if isinstance(runnable, RunnableSequence):
        return streams_by_parts(runnable.last)
    if isinstance(runnable, RunnableBinding):
        return streams_by_parts(runnable.bound)
    return isinstance(runnable, RunnableParallel | RunnableAssign)


def _dumped(runnable: Any, opaque: list[str]) -> Any:
    data = dumpd(runnable)
    if not isinstance(data, Mapping) or data.get("type") != "constructor" or _has_gaps(data):
        opaque.append(type(runnable).__name__)
    return canonical({name: value for name, value in data.items() if name in ("id", "kwargs")})


def _has_gaps(data: Any) -> bool:
    if isinstance(data, Mapping):
        return data.get("type") == "not_implemented" or any(map(_has_gaps, data.values()))
    return isinstance(data, list) and any(map(_has_gaps, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An input, taken apart: the conversation with the question last, the question, and the rest as canonical JSON.

    *query* None is the last message as it stands; *semantic* False says that nobody knows what is asked.
    """

    prompt: Prompt
    query: str | None
    semantic: bool
    rest: Any


def take_apart(given: Any, query: QueryOf) -> Asked:
    """Find the question in a chain's input.

    *query* is a name in an input dict, or a callable that tells it; by default it is a text, the last of a list of
    messages, or the one value of a dict whose name says that it is the user's (`question`, `query`, `input`, …).
    """
    said, others = _said(given, query), _others(given)
    messages = tuple(to_messages(snapshot(message) for message in _messages(given)))
    if said is None and isinstance(given, str) and query is None:
        return _asked((Message(role="user", text=given),), None, not is_rendered(given), None)
    if said is None and messages:
        last = messages[-1]
        known = query is None and last.role == "user" and (bool(last.tags) or not is_rendered(last.text))
        return _asked(messages, None, known, others)
    if said is None:
        return _asked((Message(role="user", text=json.dumps(others, sort_keys=True)),), None, False, None)
    if messages and messages[-1].role == "user" and said in messages[-1].text:
        return _asked(messages, said, True, _without(others, said))
    if isinstance(given, str) and said in given:
        return _asked((Message(role="user", text=given),), said, True, None)
    last = Message(role="user", text=said, index=len(messages))
    return _asked((*messages, last), said, True, _without(others, said))


def _asked(messages: tuple[Message, ...], query: str | None, semantic: bool, rest: Any) -> Asked:
    return Asked(prompt=Prompt(messages=messages), query=query, semantic=semantic, rest=rest)


def _said(given: Any, query: QueryOf) -> str | None:
    if callable(query):
        return query(given)
    if not isinstance(given, Mapping):
        return None
    if query is not None:
        value = given.get(query)
        return value if isinstance(value, str) else None
    users = (value for name, value in given.items() if _component(name) is Component.USER_INPUT)
    texts = [value for value in users if isinstance(value, str)]
    return texts[0] if len(texts) == 1 else None


def _component(name: object) -> Component | None:
    return component_of_variable(name) if isinstance(name, str) else None


def _messages(given: Any) -> Sequence[BaseMessage]:
    """Return the messages in an input: its own, or those in the values of a dict."""
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, BaseMessage):
        return [given]
    if isinstance(given, Mapping):
        return [message for history in _histories(given).values() for message in history]
    return given if _is_history(given) else []


def _histories(given: Mapping[Any, Any]) -> dict[Any, Sequence[BaseMessage]]:
    """Return the lists of messages in a dict; under names such as `messages` in any form that LangChain takes."""
    found: dict[Any, Sequence[BaseMessage]] = {}
    for name, value in given.items():
        if _is_history(value):
            found[name] = value
        elif isinstance(value, list) and value and _component(name) is Component.HISTORY:
            with suppress(ValueError, TypeError, KeyError, NotImplementedError):  # a list of something else
                found[name] = convert_to_messages(value)
    return found


def _others(given: Any) -> Any:
    """Return what of an input is not in `_messages`, as canonical JSON; of several lists of messages their lengths."""
    if isinstance(given, PromptValue | BaseMessage) or _is_history(given):
        return None
    if not isinstance(given, Mapping):
        return canonical(given)
    histories = _histories(given)
    several = len(histories) > 1
    return {
        str(name): ["messages", len(value) if several else None] if name in histories else canonical(value)
        for name, value in given.items()
    }


def _is_history(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, BaseMessage) for item in value)


def _without(data: Any, query: str) -> Any:
    """Put a placeholder where the question stands in *data*: all else must be equal for a rephrased one to hit."""
    if isinstance(data, str):
        return data.replace(query, _PLACEHOLDER) if query else data
    if isinstance(data, Mapping):
        return {name: _without(item, query) for name, item in data.items()}
    return [_without(item, query) for item in data] if isinstance(data, list) else data
