"""How others count the same prompts: tokencost, litellm, langchain-core."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenwise_core.messages import Message, Prompt
from tokenwise_core.tokens import describe_encodings

Count = Callable[[str, Prompt], int]
"""(model, prompt) → tokens"""


def peers() -> dict[str, Count | str]:
    """Return each peer's counter, or the words that say how to add it."""
    return {
        "tokencost": _tokencost() if _installed("tokencost") else "absent: pip install tokencost",
        "litellm": _litellm() if _installed("litellm") else "absent: pip install litellm",
        "langchain-core": _langchain() if _installed("langchain_core") else "absent: pip install langchain-core",
    }


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@contextmanager
def offline_files() -> Iterator[None]:
    """Give the peers' tiktoken verified copies of the BPE files, and keep litellm off the network."""
    wanted = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with tempfile.TemporaryDirectory() as folder:
        for encoding in describe_encodings():
            if encoding.path is not None:
                shutil.copy(encoding.path, Path(folder) / encoding.path.name)
        wanted["TIKTOKEN_CACHE_DIR"] = folder
        before = {key: os.environ.get(key) for key in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for key, value in before.items():
                os.environ.pop(key, None) if value is None else os.environ.__setitem__(key, value)


def _tokencost() -> Count:
    logging.getLogger("tokencost").setLevel(logging.CRITICAL)  # a line for each model that it does not know

    def count(model: str, prompt: Prompt) -> int:
        from tokencost import count_message_tokens

        return int(count_message_tokens(_plain(prompt), model))

    return count


def _litellm() -> Count:
    def count(model: str, prompt: Prompt) -> int:
        import litellm

        tools = _tools(prompt)
        return int(litellm.token_counter(model=model, messages=_wire(prompt), tools=tools or None))

    return count


def _langchain() -> Count:
    def count(model: str, prompt: Prompt) -> int:
        from langchain_core.messages.utils import count_tokens_approximately

        return int(count_tokens_approximately(_wire(prompt), tools=_tools(prompt) or None))

    return count


def _plain(prompt: Prompt) -> list[dict[str, Any]]:
    """Return roles and texts only: tokencost knows nothing else."""
    return [{"role": message.role, "content": message.text} for message in prompt.messages]


def _wire(prompt: Prompt) -> list[dict[str, Any]]:
    return [_message(message) for message in prompt.messages]


def _message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.name:
        wire["name"] = message.name
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id or "call"
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id or "call", "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return wire


def _tools(prompt: Prompt) -> list[Mapping[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in prompt.tools
    ]
