"""A plan as LangChain messages: what is kept stays the very object, what is put in bears our mark."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from hashlib import blake2b
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from tokenwise_core.memory.plan import Keep, Plan, Put
from tokenwise_core.usage.components import Component
from tokenwise_langchain.blocks import read_content

MARK = "tokenwise"
Copies = MutableMapping[int, tuple[str, BaseMessage]]


def applied(plan: Plan, messages: Sequence[BaseMessage], *, mark: str | None, copies: Copies) -> list[BaseMessage]:
    """Return what the model is shown of *messages*.

    *mark* is the source in the tags of what is put in; *copies* keeps the copies that were made, for the next time.
    """
    shown: list[BaseMessage] = []
    is_borne = any(isinstance(part, Put) for part in plan.parts)  # by a message of ours, else by the first copy
    for part in plan.parts:
        if isinstance(part, Keep):
            shown += messages[part.start : part.stop]
        elif isinstance(part, Put):
            shown.append(_put(part, mark))
        else:
            copy = _swapped(messages[part.position], part.position, part.text, copies)
            bears = mark is not None and not is_borne
            shown.append(_tagged(copy, mark) if bears else copy)
            is_borne = True
    return shown


def is_ours(message: BaseMessage) -> bool:
    """Say whether a message was put in by a plan."""
    return str(message.additional_kwargs.get("lc_source", "")).startswith("tokenwise:")


def known_summary(text: str) -> HumanMessage:
    """Return a summary that was made elsewhere as the message with which a conversation begins."""
    head = "" if text.startswith("[Summary of") else "[Summary of earlier messages]\n"
    return _put(Put(f"{head}{text}", Component.SUMMARY, 0), None)


def _put(part: Put, mark: str | None) -> HumanMessage:
    """Return a message in the user's role, which every provider takes in the middle of a conversation.

    Text and id are the same each time; only the tag, which no provider sees, names the request.
    """
    name = str(part.component)
    tag: dict[str, Any] = {"component": name, "source": mark or "memory"}
    digest = blake2b(part.text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return HumanMessage(
        content=part.text,
        id=f"tokenwise-{name}-{digest}",
        additional_kwargs={MARK: tag, "lc_source": f"tokenwise:{name}"},
    )


def _swapped(message: BaseMessage, at: int, text: str, copies: Copies) -> BaseMessage:
    found = copies.get(at)
    if found is None or found[0] != text:
        found = copies[at] = text, message.model_copy(update={"content": _content(message.content, text)})
    return found[1]


def _tagged(message: BaseMessage, mark: str | None) -> BaseMessage:
    tag = {"component": str(Component.TOOL_RESULTS), "source": mark}
    return message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, MARK: tag}})


def _content(content: str | list[Any], text: str) -> str | list[Any]:
    """Return *content* with *text* in the place of its own, in one block; what else it holds stays as it is."""
    if isinstance(content, str):
        return text
    said: dict[str, Any] = {"type": "text"}
    kept: list[Any] = []
    for block in content:
        if isinstance(block, str) or not read_content([block])[0]:
            kept += [] if isinstance(block, str) else [block]
        elif read_content([block])[1]:  # text and media in one block
            return content
        else:
            said.update({"cache_control": block["cache_control"]} if "cache_control" in block else {})
    return [{**said, "text": text}, *kept] if kept or len(said) > 1 else text
