"""Which settings of a model and of a call change its answer: what a cached answer must have in common with a call.

Named are those that count, never those that do not: a key, a header or a client of a model is neither hashed nor kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms.llm import LLM

from tokenwise_llamaindex.convert import provider_of

_FIELDS = frozenset(
    (
        "additional_kwargs", "additional_model_request_fields", "api_base", "api_version", "audio_config",
        "azure_endpoint", "base_url", "built_in_tools", "cached_content", "candidate_count", "context_window",
        "deployment_name", "do_sample", "endpoint_url", "engine", "format", "frequency_penalty", "generate_kwargs",
        "generation_config", "guardrail_identifier", "guardrail_version", "include", "inner", "instructions",
        "json_mode", "json_schema", "length_penalty", "llm", "location", "logit_bias", "logprobs",
        "max_completion_tokens", "max_length", "max_new_tokens", "max_output_tokens", "max_tokens", "min_p",
        "modalities", "model", "model_id", "model_kwargs", "model_name", "model_path", "model_type", "n", "output_cls",
        "presence_penalty", "project", "provider", "quantization", "random_seed", "reasoning", "reasoning_effort",
        "reasoning_options", "region", "region_name", "repeat_penalty", "repetition_penalty", "response_format",
        "response_mime_type", "response_schema", "safe_mode", "safe_prompt", "safety_settings", "seed", "stop",
        "stop_sequences", "stop_words", "stopping_ids", "strict", "structured_output", "system_prompt", "temperature",
        "text_format", "thinking", "thinking_budget", "thinking_config", "thinking_dict", "thinking_level",
        "tokenizer_name", "top_a", "top_k", "top_logprobs", "top_p", "truncation", "typical_p", "use_beam_search",
        "verbosity", "web_search_options",
    )
)  # fmt: skip
"""Fields of integrations' models that change an answer. `system_prompt` is among them for models that add it
themselves."""

_UNSAID = frozenset(
    (
        "extra_headers", "functions", "http_client", "metadata", "prompt_cache_key", "prompt_cache_retention",
        "request_timeout", "safety_identifier", "service_tier", "store", "stream", "stream_options", "timeout", "tools",
        "user",
    )
)  # fmt: skip
"""Parameters of a call that change nothing, or stand in the prompt's view already (the tools)."""

_SECRET = re.compile(
    r"(?:^|_)(?:api_?key|access_key(?:_id)?|subscription_key|private_key|secret(?:_key)?|password|authorization|auth"
    r"|credentials?|cookies?|headers?|(?:access|api|auth|bearer|hf|refresh|session)_token)$|^token$",
    re.IGNORECASE,
)
_BAGS = frozenset(("additional_kwargs", "extra_body", "generate_kwargs", "model_kwargs"))
"""Settings that hold parameters by name, among which a secret may stand. In others (a schema, a tool) a field named
`password` is a name like any other."""
_DEEP = 12  # levels of nesting that a setting may have


class NoKeyError(Exception):
    """A call holds something that cannot be compared (an open file, a function made on the spot): no cache for it."""


def model_settings(llm: LLM) -> dict[str, Any]:
    """Return what identifies a configured model, as JSON: its class and those fields that change an answer."""
    fields = {name: value for name, value in llm.__dict__.items() if name in _FIELDS and value is not None}
    return {"class": llm.class_name(), **{name: _plain(name, value) for name, value in sorted(fields.items())}}


def call_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of one call that change its answer, as JSON."""
    return {
        name: _plain(name, value)
        for name, value in sorted(params.items())
        if value is not None and name not in _UNSAID and not is_secret(name)
    }


def model_label(llm: LLM) -> str:
    """Return the model's name, its class where it has none."""
    return llm.metadata.model_name or llm.class_name()


def provider_name(llm: LLM) -> str | None:
    """Return the provider: as the integration says in its payload, else as its name tells."""
    said = llm.to_payload().get("provider")
    return said if isinstance(said, str) else provider_of(llm.class_name())


def is_secret(name: str) -> bool:
    """Say whether a setting of this name is a key, a password or a header."""
    return _SECRET.search(name) is not None


def _plain(name: str, value: Any, deep: int = 0) -> Any:
    """Return *value* as JSON without secrets; raise `NoKeyError` where that would not tell it from another."""
    if deep > _DEEP:
        raise NoKeyError(name)
    if isinstance(value, str):
        return _address(value) if "://" in value and name.endswith(("_base", "_url", "endpoint")) else value
    if isinstance(value, Enum):
        return _plain(name, value.value, deep + 1)
    if value is None or isinstance(value, int | float | bool):
        return value
    if isinstance(value, LLM):
        return model_settings(value)
    if isinstance(value, BaseModel):
        return _plain(name, value.model_dump(mode="json", exclude_none=True), deep + 1)
    if isinstance(value, Mapping):
        inner = ((str(key), content) for key, content in value.items())
        bag = name in _BAGS
        return {key: _plain(key, content, deep + 1) for key, content in inner if not (bag and is_secret(key))}
    if isinstance(value, list | tuple):
        return [_plain(name, content, deep + 1) for content in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(name, content, deep + 1) for content in value), key=json.dumps)
    if isinstance(value, type):
        schema = getattr(value, "model_json_schema", None)
        return schema() if callable(schema) else f"{value.__module__}.{value.__qualname__}"
    raise NoKeyError(name)


def _address(url: str) -> str:
    """Return an address without the user, password and query that may stand in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
