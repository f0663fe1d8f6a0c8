"""Tool definitions as the OpenAI chat models are shown them: a TypeScript namespace.

Two generations: cl100k models (recipe and test values of hmarr/openai-chat-tokens, MIT), and o200k models (worked out
on recorded usage; openai-harmony renders the open models alike).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
_SIMPLE = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}
_DEEPEST = 24
"""Levels of nesting that are followed: a schema may refer to itself."""


def clean(description: str) -> str:
    """Return a description as it is shown: every line without its indentation."""
    return "\n".join(line.strip() for line in description.strip().split("\n"))


def function_text(name: str, description: str, parameters: Schema, *, commented: bool = False) -> str:
    """Return one function as o200k models see it; *commented* shows what is said of all its parameters."""
    head = f"// {clean(description)}\n" if description else ""
    properties = parameters.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return f"{head}type {name} = () => any;"
    whole = parameters.get("description") if commented else None
    comment = f"// {clean(whole)}\n" if isinstance(whole, str) and whole else ""
    return f"{head}type {name} = (_: {comment}{{ {_Writer(parameters).properties(parameters, 0)}}}) => any;"


def compact_function(name: str, description: str, parameters: Schema) -> str:
    """Return one function as cl100k models see it: each property ends in a comma, defaults are not shown."""
    head = f"// {description}\n" if description else ""
    properties = parameters.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return f"{head}type {name} = () => any;"
    return f"{head}type {name} = (_: {{\n{_Cl100kWriter(parameters).properties(parameters, 0)}\n}}) => any;"


def _default(schema: Schema) -> str:
    """Return the comment that names a default."""
    if schema.get("default") is None:
        return ""
    default = schema["default"]
    return f" // default: {default if isinstance(default, str) else json.dumps(default)}"


class _Writer:
    """Walks one tool's schema; references are resolved against its root."""

    shows_constants = True

    def __init__(self, root: Schema) -> None:
        self._root = root

    def properties(self, node: Schema, level: int) -> str:
        lines = [line for entry in self._entries(node, level) for line in entry]
        return "\n".join(" " * level + line for line in lines)

    def _entries(self, node: Schema, level: int) -> Iterator[list[str]]:
        properties = node.get("properties") or {}
        required = node.get("required") or ()
        last = len(properties) - 1
        for position, (name, given) in enumerate(properties.items()):
            schema = given if isinstance(given, Mapping) else {}
            mark = "" if name in required else "?"
            comma = "" if position == last else ","
            yield [*self._comments(schema, level), f"{name}{mark}: {self.type(schema, level)}{comma}{_default(schema)}"]

    def _comments(self, schema: Schema, level: int) -> Iterator[str]:
        if level >= 2:
            return
        if isinstance(title := schema.get("title"), str) and title:
            yield f"// {title}\n//"
        if isinstance(description := schema.get("description"), str) and description:
            yield f"// {clean(description)}"

    def type(self, schema: Any, level: int) -> str:
        if not isinstance(schema, Mapping) or level > _DEEPEST:
            return "any"
        if "$ref" in schema:
            return self.type(self._resolved(schema["$ref"]), level + 1) if level < _DEEPEST else "any"
        for union in ("anyOf", "oneOf"):
            if isinstance(schema.get(union), Sequence):
                return " | ".join(self.type(option, level) for option in schema[union])
        if "const" in schema and self.shows_constants:
            return json.dumps(schema["const"])
        if isinstance(schema.get("enum"), Sequence) and schema["enum"]:
            return " | ".join(json.dumps(value) for value in schema["enum"])
        kind = schema.get("type")
        if isinstance(kind, list):
            return " | ".join(self.type({**schema, "type": one}, level) for one in kind)
        if kind == "object":
            return self._object(schema, level)
        if kind == "array":
            return f"{self.type(schema['items'], level)}[]" if schema.get("items") else "any[]"
        return _SIMPLE.get(kind, "any") if isinstance(kind, str) else "any"

    def _object(self, schema: Schema, level: int) -> str:
        if not schema.get("properties"):
            return "object"
        return "{\n" + self.properties(schema, level + 2) + "\n" + " " * level + "}"

    def _resolved(self, reference: Any) -> Any:
        name = str(reference).rsplit("/", 1)[-1]
        definitions = self._root.get("$defs") or self._root.get("definitions") or {}
        return definitions.get(name, {}) if isinstance(definitions, Mapping) else {}


class _Cl100kWriter(_Writer):
    """The older layout: no titles, no defaults, no constants."""

    shows_constants = False

    def _entries(self, node: Schema, level: int) -> Iterator[list[str]]:
        required = node.get("required") or ()
        for name, given in (node.get("properties") or {}).items():
            schema = given if isinstance(given, Mapping) else {}
            mark = "" if name in required else "?"
            yield [*self._comments(schema, level), f"{name}{mark}: {self.type(schema, level)},"]

    def _comments(self, schema: Schema, level: int) -> Iterator[str]:
        description = schema.get("description")
        if level < 2 and isinstance(description, str) and description:
            yield f"// {description}"

    def _object(self, schema: Schema, level: int) -> str:
        return "{\n" + self.properties(schema, level + 2) + "\n}"
