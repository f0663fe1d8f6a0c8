"""What of a chat model and of a call changes the answer, as canonical JSON for a cache's key."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, is_typeddict
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from pydantic import BaseModel, PydanticUserError, SecretStr, TypeAdapter

from tokenwise_core.tokens.memo import Memo, content_key
from tokenwise_langchain.blocks import Fields, digest_of
from tokenwise_langchain.wire import openai_tool

_UNIMPORTANT = frozenset(
    ("cache", "callbacks", "callback_manager", "verbose", "tags", "metadata", "name", "profile", "rate_limiter",
     "custom_get_token_ids", "max_retries", "request_timeout", "timeout", "default_request_timeout", "http_client",
     "http_async_client", "http_socket_options", "client", "async_client", "root_client", "root_async_client",
     "max_concurrency", "streaming", "stream", "stream_usage", "stream_options", "stream_chunk_timeout",
     "disable_streaming", "include_response_headers", "service_tier", "store", "prompt_cache_key",
     "prompt_cache_retention", "ls_structured_output_format", "structured_output_format")
)  # fmt: skip
"""Parameters that change how a call is made, traced or billed, not what is answered. All others are in the key: one
that nobody knows costs a hit at worst."""

_CHANGING = frozenset(
    ("model", "model_name", "model_id", "model_kwargs", "base_url", "temperature", "top_p", "top_k", "min_p", "seed",
     "n", "stop", "stop_sequences", "max_tokens", "max_output_tokens", "max_completion_tokens", "num_ctx",
     "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias", "num_predict", "reasoning",
     "reasoning_effort", "thinking", "thinking_budget", "verbosity", "system", "system_prompt", "format",
     "response_format")
)  # fmt: skip
_SECRET = re.compile(r"(^|_)(api_?key|secret|password|authorization|cookie|credentials?|(access|auth)_(key|token))$")
_MAX_DEPTH = 12
PROCESS = uuid4().hex
_serials: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A model call as far as its answer depends on it.

    *parameters* is canonical JSON; *params* are the call's own (tools, `response_format`, …) as the integration gets
    them.
    """

    model: str
    provider: str | None
    parameters: Mapping[str, Any]
    params: Fields


def called(model: BaseChatModel, params: Fields) -> Called:
    """Read a model as it is now, and the parameters of one call of it.

    LangChain's own string for this is computed once a model and goes stale when an attribute changes (langchain#39598);
    this one is made anew.
    """
    tracing = _tracing(model, params)
    name = tracing.get("ls_model_name") or model_name(model)
    parameters = {"model": model_parameters(model), "call": call_parameters(params)}
    return Called(model=str(name), provider=tracing.get("ls_provider"), parameters=parameters, params=params)


def call_parameters(params: Fields) -> dict[str, Any]:
    """Return the parameters of one call, its tools as hashes; in which order they are offered changes no meaning."""
    given = important(params)
    tools = {name: given.pop(name) for name in ("tools", "functions") if isinstance(given.get(name), list | tuple)}
    parameters: dict[str, Any] = canonical(given)
    parameters.update((name, sorted(_tool_digest(tool) for tool in offered)) for name, offered in tools.items())
    return {name: value for name, value in parameters.items() if value != []}


def _tool_digest(tool: Any) -> str:
    """Hash a tool's canonical JSON, once for each content of a dict: the same tools come with every call."""
    content = content_key(tool)
    digest = None if content is None else _tool_digests.get(content)
    if digest is None:
        digest = digest_of(canonical(tool, depth=2))  # as deep as it stands in a call's parameters
        if content is not None:
            _tool_digests.put(content, digest)
    return digest


_tool_digests: Memo[str] = Memo(4_096)


def model_name(model: BaseChatModel) -> str:
    """Return the name that the provider knows the model by, else that of its class."""
    names = (getattr(model, attribute, None) for attribute in ("model_name", "model", "model_id"))
    return next((name for name in names if isinstance(name, str) and name), type(model).__name__)


def model_parameters(model: BaseChatModel) -> dict[str, Any]:
    """Return a model's class and settings; secrets and what cannot be read (clients, tokenizers) are left out."""
    if model.is_lc_serializable():
        settings: Fields = dumpd(model).get("kwargs") or {}
    else:
        settings = {**_declared(model), **model._get_invocation_params()}  # noqa: SLF001  what integrations override
    return {"class": _path(type(model)), "settings": canonical(important(settings))}


def canonical(value: object, depth: int = 0) -> Any:
    """Return *value* as JSON in which equal things are equal: names sorted when written, classes by their schema.

    An object that cannot be read is equal to itself alone, and only in this process.
    """
    if value is None or isinstance(value, str | bool | int):
        return value.value if isinstance(value, Enum) else value
    if depth > _MAX_DEPTH:
        return _serial(value)
    if isinstance(value, Mapping):
        return _canonical_mapping(value, depth)
    if isinstance(value, list | tuple):
        return [canonical(item, depth + 1) for item in value]
    return _canonical_object(value, depth)


def _canonical_mapping(value: Fields, depth: int) -> dict[str, Any]:
    if value.get("lc") == 1 and value.get("type") == "not_implemented":
        return {"class": value.get("id")}  # its `repr` holds an address
    return {
        str(name): canonical(item, depth + 1)
        for name, item in value.items()
        if not _SECRET.search(str(name).lower().replace("-", "_"))
    }


def _canonical_object(value: Any, depth: int) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Enum):
        return canonical(value.value, depth + 1)
    if isinstance(value, type):
        return _canonical_class(value)
    if isinstance(value, BaseTool):
        return canonical(openai_tool(value), depth + 1)
    if isinstance(value, BaseChatModel):
        return model_parameters(value)
    if isinstance(value, BaseMessage | Document):
        return canonical({k: v for k, v in value.__dict__.items() if k in _SHOWN}, depth + 1)
    if isinstance(value, SecretStr):
        return None
    if isinstance(value, BaseModel):
        return [_path(type(value)), canonical(dict(value), depth + 1)]
    if isinstance(value, set | frozenset):
        return sorted((canonical(item, depth + 1) for item in value), key=repr)
    if isinstance(value, date | Decimal | UUID | PurePath | bytes):
        return str(value)
    return _serial(value)


_SHOWN = ("type", "content", "name", "tool_calls", "role", "page_content", "metadata")


def _canonical_class(value: type) -> Any:
    """Return a class by its name and schema: two versions of one class are two answer formats."""
    if not (issubclass(value, BaseModel) or is_typeddict(value) or is_dataclass(value)):
        return _serial(value)
    try:
        return {"class": value.__name__, "schema": TypeAdapter(value).json_schema()}
    except PydanticUserError:  # `typing.TypedDict` before Python 3.12; a field without a schema
        return {"class": value.__name__, "fields": sorted(f"{name}: {kind!r}" for name, kind in _annotations(value))}


def _annotations(value: type) -> list[tuple[str, Any]]:
    return [
        (name, kind) for base in reversed(value.__mro__) for name, kind in vars(base).get("__annotations__", {}).items()
    ]


def _serial(value: Any) -> str:
    """Return a name of *value* that no other object bears while this process lives."""
    try:
        return _serials.setdefault(value, f"{PROCESS}:{type(value).__name__}:{uuid4().hex}")
    except TypeError:  # cannot be remembered: equal to nothing
        return f"{PROCESS}:{uuid4().hex}"


def _declared(model: BaseChatModel) -> dict[str, Any]:
    """Return the fields that are known to change answers, and models inside: others may count calls or hold clients."""
    fields = {name: getattr(model, name, None) for name in type(model).model_fields}
    return {name: value for name, value in fields.items() if name in _CHANGING or isinstance(value, BaseChatModel)}


def important(params: Fields) -> dict[str, Any]:
    """Leave out the parameters that do not change an answer, and those that are not set."""
    return {name: value for name, value in params.items() if name not in _UNIMPORTANT and value is not None}


def _tracing(model: BaseChatModel, params: Fields) -> Fields:
    """Return what the integration says of itself for tracing: the provider, and the name of the model of this call."""
    try:
        return dict(model._get_ls_params(**params))  # noqa: SLF001  integrations override it
    except Exception:  # an integration's own code, asked for a name only
        return {}


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def tool_parameters(tools: Iterable[Any]) -> list[Any]:
    """Return tools in the form that is bound: dicts of the provider's own stay as they are."""
    return [tool if isinstance(tool, Mapping) else openai_tool(tool) for tool in tools]
