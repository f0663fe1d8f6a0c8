"""What stands before an agent's conversation: system message, tools, answer format; counted once."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from langchain.agents.middleware.types import ModelRequest
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy

from tokenwise_core.memory.engine import Memory
from tokenwise_core.tokens.memo import Memo, content_key
from tokenwise_langchain.convert import snapshot, to_prompt

_KEPT = 256


class FixedTokens:
    """Tokens before the conversation, by the objects that a request holds: agents offer the same ones each time."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._known: Memo[tuple[int, Any]] = Memo(_KEPT)

    def of(self, request: ModelRequest[Any], provider: str | None) -> int:
        """Return the tokens of all that is sent with *request* beside its messages."""
        system, wanted = request.system_message, request.response_format
        key = (
            content_key(system.content) if system else None,
            tuple(map(_tool_key, request.tools)),
            id(wanted),
            provider,
        )
        found = self._known.get(key)
        if found is None:
            prompt = to_prompt([snapshot(system)] if system else [], bound_params(request), provider)
            found = self._memory.fixed_tokens(prompt), (list(request.tools), wanted)  # ids stay theirs while kept
            self._known.put(key, found)
        return found[0]


def _tool_key(tool: Any) -> Hashable:
    if isinstance(tool, dict):
        return content_key(tool) or id(tool)
    return id(tool), getattr(tool, "name", None), getattr(tool, "description", None)


def bound_params(request: ModelRequest[Any]) -> dict[str, Any]:
    """Return tools and answer format as an agent binds them to its model, as far as they are sent."""
    wanted: Any = request.response_format  # typed as a strategy, yet a middleware may set a bare schema
    params: dict[str, Any] = {"tools": list(request.tools)}
    if wanted is None:
        return params
    if not isinstance(wanted, AutoStrategy | ToolStrategy | ProviderStrategy):
        wanted = AutoStrategy(schema=wanted)
    if isinstance(wanted, AutoStrategy):
        profile = getattr(request.model, "profile", None) or {}
        by_provider = profile.get("structured_output")
        wanted = ProviderStrategy(wanted.schema) if by_provider else ToolStrategy(wanted.schema)
    if isinstance(wanted, ProviderStrategy):
        return {**params, **wanted.to_model_kwargs()}
    params["tools"] += [
        {
            "type": "function",
            "function": {"name": one.name, "description": one.description, "parameters": one.json_schema},
        }
        for one in wanted.schema_specs
    ]
    return params
