"""LangChain's messages as JSON and back, and as core's views of that JSON: what a session's log is written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from langchain_core.messages import (
    BaseMessage,
    BaseMessageChunk,
    message_chunk_to_message,
    message_to_dict,
    messages_from_dict,
)
from pydantic_core import to_jsonable_python

from tokenwise_core.messages import Message
from tokenwise_langchain.convert import to_message


def encode(message: BaseMessage) -> dict[str, Any]:
    """Return *message* as JSON, with an id; what JSON cannot hold (a tool's artifact, say) is left out."""
    whole = message_chunk_to_message(message) if isinstance(message, BaseMessageChunk) else message
    written: dict[str, Any] = to_jsonable_python(
        message_to_dict(whole), fallback=lambda _: None, bytes_mode="base64", inf_nan_mode="null"
    )
    written["data"]["id"] = written["data"].get("id") or str(uuid4())
    return written


def decode(written: Mapping[str, Any]) -> BaseMessage:
    """Build the message that `encode` wrote."""
    return messages_from_dict([dict(written)])[0]


def project(written: Mapping[str, Any], index: int) -> Message:
    """Return core's view of a message as it is written."""
    return to_message(written["data"], index)
