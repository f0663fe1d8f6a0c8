"""What a prompt template is about to be filled with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import BaseMessage

from tokenwise_core.usage.call import Known, known_from_variables
from tokenwise_langchain.blocks import Fields, read_content


def template_variables(serialized: Fields | None, inputs: object) -> tuple[Known, ...]:
    """Return the texts that a prompt template is about to be filled with, by the component their names suggest."""
    kwargs = (serialized or {}).get("kwargs") or {}
    names = [*(kwargs.get("input_variables") or ()), *(kwargs.get("optional_variables") or ())]
    if not isinstance(inputs, Mapping):
        inputs = {names[0] if len(names) == 1 else "input": inputs}
    given = {**(kwargs.get("partial_variables") or {}), **inputs}
    wanted = [*names, *(kwargs.get("partial_variables") or {})] or list(given)
    return known_from_variables({name: list(_texts(given[name])) for name in wanted if name in given})


def _texts(value: object) -> Iterator[str]:
    """Yield the texts as the template writes them: those of messages one by one, all else as `str` does."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseMessage):
        yield read_content(value.content)[0]
    elif isinstance(value, list | tuple) and value and all(_is_message(item) for item in value):
        for item in value:
            yield from _texts(item if isinstance(item, BaseMessage) else _said_in(item))
    elif value is not None and value != []:
        yield str(value)


def _is_message(item: object) -> bool:
    if isinstance(item, tuple):
        return len(item) == 2 and all(isinstance(part, str) for part in item)
    return isinstance(item, BaseMessage) or (isinstance(item, Mapping) and "role" in item and "content" in item)


def _said_in(item: Any) -> str:
    return item[1] if isinstance(item, tuple) else read_content(item["content"])[0]
