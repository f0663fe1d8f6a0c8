"""Hashes of a prompt's parts: its fixed parts as one fingerprint, and its pieces as the prefix ledger compares them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from tokenwise_core.messages import Message, Prompt
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.prompt_cache import PrefixPart
from tokenwise_core.usage.reconcile import Part


def fingerprint(prompt: Prompt, fixed: bytes) -> str:
    """Hash the fixed parts of *prompt*: system messages before the first turn, tools and schema (*fixed*)."""
    digest = hashlib.blake2b(digest_size=8)
    for message in prompt.messages:
        if message.role not in ("system", "developer"):
            break
        digest.update(message.text.encode("utf-8", "surrogatepass"))
    digest.update(fixed)
    return digest.hexdigest()


def fixed_digest(prompt: Prompt) -> bytes:
    """Hash the tools and the answer schema, in the order in which they are sent."""
    tools = [(tool.name, tool.description, tool.parameters) for tool in prompt.tools]
    schema = prompt.output_schema and (prompt.output_schema.name, prompt.output_schema.schema)
    text = json.dumps([tools, schema], sort_keys=False, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _message_digest(message: Message) -> bytes:
    digest = hashlib.blake2b(message.role.encode(), digest_size=16)
    for text in (message.text, message.reasoning, *(f"{c.name}({c.arguments})" for c in message.tool_calls)):
        digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
    return digest.digest()


def prefix_parts(prompt: Prompt, parts: Sequence[Part], fixed: bytes) -> list[PrefixPart]:
    """Group *parts* by where they stand: each message is one piece, tools and schema (*fixed*) together are one.

    A piece bears the name of its largest component other than overhead.
    """
    tokens: dict[int | None, int] = {}
    largest: dict[int | None, Part] = {}
    for part in parts:
        tokens[part.message] = tokens.get(part.message, 0) + part.tokens
        if part.component is not Component.OVERHEAD:
            largest[part.message] = max(largest.get(part.message, part), part, key=lambda p: p.tokens)
    return [
        PrefixPart(
            digest=fixed if where is None else _message_digest(prompt.messages[where]),
            tokens=size,
            component=str(largest[where].component if where in largest else Component.OVERHEAD),
        )
        for where, size in tokens.items()
        if where is not None or prompt.tools or prompt.output_schema
    ]
