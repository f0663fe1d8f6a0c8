"""What the callbacks copy on the request path: the framework changes its live messages and answers later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, TextBlock
from llama_index.core.schema import MetadataMode, NodeWithScore


class Snapshot(NamedTuple):
    """A message's fields, copied; a text block is its text, any other the dict of its fields."""

    role: str
    blocks: list[str | dict[str, Any]]
    extra: Mapping[str, Any]


class Reply(NamedTuple):
    """An answer's fields, copied; *raw* is the provider's own object, which nobody changes.

    *began* is that of a stream's first chunk: Anthropic reports the input there and the output at the end.
    """

    message: Snapshot
    raw: object
    extra: Mapping[str, Any]
    began: object = None


_NOTHING: Mapping[str, Any] = {}
_new = tuple.__new__  # a NamedTuple's own constructor takes twice as long, once for each message of each call


def of_message(message: ChatMessage) -> Snapshot:
    """Copy a message's fields."""
    fields = message.__dict__
    blocks, extra = fields["blocks"], fields["additional_kwargs"]
    if type(message) is not ChatMessage and (tag := getattr(message, "tokenwise", None)):
        extra = {**extra, "tokenwise": tag}  # of a memory's own message, which keeps it where no provider gets it
    if len(blocks) == 1 and type(blocks[0]) is TextBlock:
        copied = [blocks[0].__dict__["text"]]
    else:
        copied = [block.text if type(block) is TextBlock else dict(block.__dict__) for block in blocks]
    return _new(Snapshot, (fields["role"], copied, dict(extra) if extra else _NOTHING))


def of_prompt(prompt: str) -> Snapshot:
    """Return the message that a plain prompt amounts to."""
    return Snapshot("user", [prompt], {})


def of_response(response: ChatResponse | CompletionResponse, began: object = None) -> Reply:
    """Copy an answer's fields; *began* is the raw object of its first chunk."""
    if isinstance(response, CompletionResponse):
        message = Snapshot("assistant", [response.text], {})
    else:
        message = of_message(response.message)
    return Reply(message, response.raw, dict(response.additional_kwargs), began)


def of_node(node: NodeWithScore) -> list[str]:
    """Return a node's text as prompts show it, and bare where that differs."""
    shown = node.node.get_content(metadata_mode=MetadataMode.LLM)
    bare = node.node.get_content()
    return [text for text in dict.fromkeys((shown, bare)) if text]
