"""Which query engine it is: what makes two engines answer alike, read off the objects that LlamaIndex builds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from hashlib import blake2b
from operator import itemgetter
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms.llm import LLM

from tokenwise_llamaindex.cache.parameters import is_secret, model_settings

MANY = 64  # items from which on a list is hashed, and lists whose hashes are remembered
_DEEP = 8
_CREDENTIALS = re.compile(r"://[^/@\s]*@")  # user and password in an address
_LIVE = frozenset(("callback_manager", "_callback_manager", "_docstore", "_index", "_storage_context", "_vector_store"))


class EngineSetup:
    """How an engine is set up, read anew each time: prompts may be changed later."""

    def __init__(self, engine: BaseQueryEngine) -> None:
        self._engine = engine
        self._long: dict[int, tuple[list[Any], int, str]] = {}

    def settings(self) -> dict[str, Any]:
        """Return retriever, synthesizer (prompts and model included) and postprocessors as JSON, by their classes and
        settings. What is no setting (a store, a client) is there by its class alone.
        """
        engine = self._engine
        parts = (_retriever(engine), _synthesizer(engine), *getattr(engine, "_node_postprocessors", ()))
        return {"engine": _name(engine), "parts": [[_name(part), self._settings(part)] for part in parts]}

    def _settings(self, value: Any, deep: int = 0) -> dict[str, Any]:
        """Return the attributes of an object, or the items of a mapping, that are settings."""
        fields = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
        named = sorted(((str(name), content) for name, content in fields.items()), key=itemgetter(0))
        return {
            name: self._described(content, deep + 1)
            for name, content in named
            if name not in _LIVE and not is_secret(name)
        }

    def _described(self, value: Any, deep: int) -> Any:
        """Return *value* as JSON, without secrets and live objects."""
        if isinstance(value, Enum):
            return self._described(value.value, deep + 1)
        if value is None or isinstance(value, int | float | bool):
            return value
        if isinstance(value, str):
            return _CREDENTIALS.sub("://", value)
        if deep > _DEEP:
            return _name(value)
        if isinstance(value, LLM):
            return model_settings(value)
        if isinstance(value, BaseEmbedding):
            return [_name(value), value.model_name]
        if isinstance(value, Mapping):
            return self._settings(value, deep)
        if isinstance(value, list) and len(value) > MANY:
            return self._digest(value)
        if isinstance(value, list | tuple | set | frozenset):
            items = [self._described(item, deep + 1) for item in value]
            return sorted(items, key=str) if isinstance(value, set | frozenset) else items
        if isinstance(value, BaseModel):
            return [_name(value), self._settings(value, deep)]
        if callable(value) and hasattr(value, "__qualname__"):
            return f"{value.__module__}.{value.__qualname__}"
        return _name(value)

    def _digest(self, value: list[Any]) -> str:
        """Return the hash of a long list (a retriever over a simple store lists all its nodes), made once a list."""
        known = self._long.get(id(value))
        if known is not None and known[0] is value and known[1] == len(value):
            return known[2]
        digest = blake2b(json.dumps(value, default=str).encode(), digest_size=16).hexdigest()
        if len(self._long) >= MANY:
            self._long.clear()
        self._long[id(value)] = (value, len(value), digest)
        return digest


def index_of(engine: BaseQueryEngine) -> Any:
    """Return the index that an engine's retriever searches, None where there is not exactly that."""
    return getattr(_retriever(engine), "_index", None)


def index_id_of(engine: BaseQueryEngine) -> str | None:
    """Return the id of that index, which lasts as long as the index is stored."""
    found = getattr(index_of(engine), "index_id", None)
    return found if isinstance(found, str) else None


def model_of(engine: BaseQueryEngine) -> LLM | None:
    """Return the model that an engine answers with."""
    llm = getattr(_synthesizer(engine), "_llm", None)
    return llm if isinstance(llm, LLM) else None


def output_class_of(engine: BaseQueryEngine) -> type[BaseModel] | None:
    """Return what the engine's answers are objects of, if they are."""
    found = getattr(_synthesizer(engine), "_output_cls", None) or getattr(model_of(engine), "output_cls", None)
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def streams(engine: BaseQueryEngine) -> bool:
    """Say whether an engine answers in streams, as far as it tells."""
    return getattr(_synthesizer(engine), "_streaming", False) is True


def _retriever(engine: BaseQueryEngine) -> Any:
    return getattr(engine, "_retriever", None) or getattr(engine, "retriever", None)


def _synthesizer(engine: BaseQueryEngine) -> Any:
    return getattr(engine, "_response_synthesizer", None)


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
