"""The chat model behind a cache's lookup, and the two strings that LangChain hands to a cache.

LangChain computes the string of a model's parameters once and keeps it, also when an attribute is changed later
(langchain#39598), and writes a class in it (an answer's schema) by its name only. Where the call comes from a chat
model, we therefore read the model itself; the strings decide where there is none.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

from tokenwise_langchain.blocks import Fields
from tokenwise_langchain.cache.parameters import PROCESS, Called, call_parameters, called, canonical, important

MESSAGES: Mapping[str, type[BaseMessage]] = {
    kind.__name__: kind
    for kind in (
        HumanMessage, AIMessage, SystemMessage, ToolMessage, FunctionMessage, ChatMessage, HumanMessageChunk,
        AIMessageChunk, SystemMessageChunk, ToolMessageChunk, FunctionMessageChunk, ChatMessageChunk,
    )
}  # fmt: skip
"""The only classes that are ever built of a serialised prompt."""

_CALLERS = frozenset({"_generate_with_cache", "_agenerate_with_cache"})
_MAX_FRAMES = 12  # a cache of the user's around ours, a subclass of either
_ADDRESS = " at 0x"
_CLASS = "<class "


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The model call that a lookup serves, and what its run is traced under."""

    called: Called
    metadata: Fields = field(default_factory=dict)


def find_caller(prompt: str, llm_string: str) -> Caller | None:
    """Return the model call whose lookup or update of these very strings this is; None where there is none."""
    for local in _callers():
        model = local.get("self")
        if isinstance(model, BaseChatModel) and (local.get("prompt"), local.get("llm_string")) == (prompt, llm_string):
            manager = local.get("run_manager")
            return Caller(
                called=called(model, {**(local.get("kwargs") or {}), "stop": local.get("stop")}),
                metadata=getattr(manager, "metadata", None) or {},
            )
    return None


def _callers() -> Iterator[Mapping[str, Any]]:
    frame = sys._getframe(1)  # noqa: SLF001  BaseCache's interface names no model
    for _ in range(_MAX_FRAMES):
        if frame.f_back is None:
            return
        frame = frame.f_back
        if frame.f_code.co_name in _CALLERS:
            yield frame.f_locals


def unbound(model: Any) -> tuple[BaseChatModel, dict[str, Any]]:
    """Return the chat model inside of what is bound to it, and that; AttributeError for another kind of runnable."""
    if isinstance(model, BaseChatModel):
        return model, {}
    inner, params = unbound(model.bound)
    return inner, {**params, **model.kwargs}


def read_prompt(prompt: str) -> list[Fields] | None:
    """Return the fields of the messages in a serialised prompt; None for a plain text, or an unknown class."""
    if not prompt.startswith("["):
        return None
    try:
        parsed = json.loads(prompt)
    except ValueError:
        return None
    return [one["kwargs"] for one in parsed] if parsed and all(map(_is_message, parsed)) else None


def load_messages(prompt: str) -> list[BaseMessage]:
    """Build the messages of a serialised prompt, of those classes only."""
    return [MESSAGES[one["id"][-1]](**one["kwargs"]) for one in json.loads(prompt)]


def is_chat(prompt: str) -> bool:
    """Say whether a prompt that cannot be read comes from a chat model all the same (a message class of the user's)."""
    return prompt.startswith('[{"lc"')


def _is_message(one: object) -> bool:
    if not isinstance(one, Mapping) or one.get("type") != "constructor" or not isinstance(one.get("kwargs"), Mapping):
        return False
    path = one.get("id")
    return isinstance(path, list) and len(path) > 1 and path[-1] in MESSAGES and str(path[0]).startswith("langchain")


def read_llm_string(llm_string: str) -> Called:
    """Read the parameters as LangChain wrote them: a model's JSON, `---`, a call's; or a call's alone.

    What holds a class, or an address in memory, means what it says in this process only.
    """
    settings, end = _leading_json(llm_string)
    rest = llm_string[end:].removeprefix("---")
    params = _pairs(rest)
    parameters: dict[str, Any] = {"model": canonical(important(settings)), "call": call_parameters(params or {})}
    if params is None:
        parameters["call"] = rest
        if _CLASS in rest or _ADDRESS in rest:
            parameters["process"] = PROCESS
    known = {**settings, **(params or {})}
    name = next((known[key] for key in ("model_name", "model", "model_id") if isinstance(known.get(key), str)), None)
    return Called(
        model=name or str(known.get("_type") or "unknown"), provider=None, parameters=parameters, params=params or {}
    )


def _leading_json(text: str) -> tuple[Fields, int]:
    if not text.startswith("{"):
        return {}, 0
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return {}, 0
    kwargs = value.get("kwargs")
    return ({**kwargs, "class": value.get("id")}, end) if isinstance(kwargs, Mapping) else ({}, 0)


def _pairs(text: str) -> dict[str, Any] | None:
    """Read `str(sorted(params.items()))`; None where it is something else, or holds what is no literal."""
    if not text:
        return {}
    try:
        pairs = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if isinstance(pairs, list) and all(isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in pairs):
        return dict(pairs)
    return None
