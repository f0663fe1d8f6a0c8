"""A memory's messages: ours that are put in, copies of the application's, and both as JSON and as core's views."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Self

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr
from typing_extensions import override

from tokenwise_core.memory import Keep, Plan, Put
from tokenwise_core.messages import Message
from tokenwise_core.usage.components import Component
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.convert import to_message

LEFT_OUT = "[The beginning of this conversation is left out]"
_BYTES = "__bytes__"
HEADS = (MessageRole.SYSTEM, MessageRole.DEVELOPER)
ANSWERING = (MessageRole.ASSISTANT, MessageRole.CHATBOT, MessageRole.MODEL)
ASKING = (MessageRole.USER, MessageRole.TOOL, MessageRole.FUNCTION)
"""Roles of a model's own messages, and of those after which it is its turn."""


class MemoryMessage(ChatMessage):
    """A message of ours, in the user's role: a summary, or what was recalled.

    What it is stands in a private attribute: several integrations send all of `additional_kwargs` to the provider,
    which refuses fields that it does not know. Prompt templates leave its text alone, braces and all.
    """

    _tokenwise: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, text: str, component: Component, mark: str | None) -> Self:
        """Return a message of *component*; *mark* is where its saving is announced."""
        message = cls(role=MessageRole.USER, blocks=[TextBlock(text=text)])
        message._tokenwise = {"component": str(component), "source": mark}
        return message

    @classmethod
    def marked(cls, message: ChatMessage, mark: str) -> Self:
        """Return a copy of a tool's result, shortened, that bears *mark*."""
        copy = cls(role=message.role, blocks=message.blocks, additional_kwargs=message.additional_kwargs)
        copy._tokenwise = {"component": str(Component.TOOL_RESULTS), "source": mark}
        return copy

    @property
    def tokenwise(self) -> dict[str, Any]:
        """Its tag: component and source."""
        return self._tokenwise

    @override
    def get_template_vars(self) -> list[str]:
        return []

    @override
    def format_vars(self, **kwargs: Any) -> Self:
        return self.model_copy(deep=True)


# Carrying out a plan --------------------------------------------------------------------------------------------------


def shown(plan: Plan, messages: Sequence[ChatMessage], mark: str | None) -> Iterator[ChatMessage]:
    """Yield what the model is shown: *messages* themselves, and messages of ours."""
    is_borne = any(isinstance(part, Put) for part in plan.parts)  # the mark, by a message of ours, else the first copy
    for part in plan.parts:
        if isinstance(part, Keep):
            yield from messages[part.start : part.stop]
        elif isinstance(part, Put):
            yield MemoryMessage.of(part.text, part.component, mark)
        else:
            copy = swapped(messages[part.position], part.text)
            yield copy if is_borne or mark is None else MemoryMessage.marked(copy, mark)
            is_borne = True


def opened(messages: list[ChatMessage], mark: str | None) -> list[ChatMessage]:
    """Let a conversation that was cut begin with a user: providers refuse one that begins with an answer."""
    first = next((at for at, message in enumerate(messages) if message.role not in HEADS), len(messages))
    if first < len(messages) and messages[first].role in (*ANSWERING, *ASKING[1:]):
        return [*messages[:first], MemoryMessage.of(LEFT_OUT, Component.SUMMARY, mark), *messages[first:]]
    return messages


def swapped(message: ChatMessage, text: str) -> ChatMessage:
    """Return a copy of a tool's result with *text* in the place of its own; what else it holds stays."""
    kept = [block for block in message.blocks if not isinstance(block, TextBlock)]
    copied = message.model_copy()
    copied.blocks = [TextBlock(text=text), *kept]
    return copied


# As core sees them ----------------------------------------------------------------------------------------------------


def view_of(message: ChatMessage, index: int) -> Message:
    """Project a message."""
    return to_message(snapshots.of_message(message), index)


# As JSON --------------------------------------------------------------------------------------------------------------


def written(message: ChatMessage) -> dict[str, Any]:
    """Return a message as strict JSON, from which `read` makes an equal one."""
    extra = {name: value for name, value in message.additional_kwargs.items() if name != "images"}  # blocks hold them
    return {
        "role": message.role.value,
        "blocks": [_json(block) for block in message.blocks],
        "additional_kwargs": _json(extra),
    }


def read(data: Mapping[str, Any]) -> ChatMessage:
    """Return the message that `written` wrote."""
    return ChatMessage.model_validate(_back(data))


def _json(value: Any) -> Any:
    """Return *value* as strict JSON: bytes marked, models as their fields, what JSON has no form for as text."""
    if value is None or (isinstance(value, str | bool | int) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return {_BYTES: b64encode(value).decode("ascii")}
    if isinstance(value, BaseModel):
        return _json(value.model_dump(exclude_none=True))
    if isinstance(value, Mapping):
        return {str(name): _json(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_json(one) for one in value]
    return _json(value.value) if isinstance(value, Enum) else str(value)


def _back(value: Any) -> Any:
    if isinstance(value, Mapping):
        if len(value) == 1 and isinstance(value.get(_BYTES), str):
            return b64decode(value[_BYTES])
        return {name: _back(one) for name, one in value.items()}
    return [_back(one) for one in value] if isinstance(value, list) else value
