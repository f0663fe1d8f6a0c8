"""What a prompt template tells of a prompt's parts: its variables, its answer schema, and how to read it backwards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate
from llama_index.core.types import BaseOutputParser

from tokenwise_core.usage.call import Known, known_from_variables
from tokenwise_core.usage.components import Component

_VARIABLE = re.compile(r"\{([a-zA-Z_]\w*)\}")  # LlamaIndex knows no escape: a doubled brace stays doubled


class Filled(NamedTuple):
    """A template and what it was filled with, as an event brought them."""

    template: BasePromptTemplate
    variables: Mapping[str, Any]

    @property
    def is_chat(self) -> bool:
        """Say whether its messages are templates each (a chat engine puts its whole history in so)."""
        return isinstance(self.template, ChatPromptTemplate)

    def known(self) -> tuple[Known, ...]:
        """Return the texts that were filled in, and the answer schema that a parser appends."""
        texts = {name: _texts(value) for name, value in self.variables.items()}
        return (*known_from_variables(texts), *_schema(self.template.output_parser))


def filled(template: BasePromptTemplate, arguments: Mapping[str, Any] | None) -> Filled:
    """Note a template with its fixed and its given variables."""
    return Filled(template, {**template.kwargs, **(arguments or {})})


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]


def _schema(parser: BaseOutputParser | None) -> tuple[Known, ...]:
    """Return the format instructions that *parser* appends to a prompt."""
    if parser is None:
        return ()
    mark = "\x00"
    _, _, after = parser.format(mark).partition(mark)
    return (Known(component=Component.OUTPUT_SCHEMA, text=after.strip()),) if after.strip() else ()


def read_back(template: str, text: str) -> tuple[Known, ...]:
    """Return what the variables of *template* hold in *text*; nothing where it was not made from it.

    For prompts that a framework fills in itself and sends without saying so (the condense step of chat engines).
    """
    found = _pattern(template).search(text)
    return known_from_variables({name: [value] for name, value in found.groupdict().items()}) if found else ()


@lru_cache(maxsize=64)
def _pattern(template: str) -> re.Pattern[str]:
    pieces = _VARIABLE.split(template.strip())
    seen: set[str] = set()
    pattern = ""
    for position, piece in enumerate(pieces):
        if position % 2 == 0:
            pattern += re.escape(piece)
        elif piece in seen:
            pattern += f"(?P={piece})"
        else:
            seen.add(piece)
            greedy = position >= len(pieces) - 2  # the last variable reaches to the last occurrence of what follows it
            pattern += f"(?P<{piece}>.*{'' if greedy else '?'})"
    return re.compile(pattern, re.DOTALL)
