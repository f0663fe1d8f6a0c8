"""Tool definitions as the OpenAI chat models are shown them: a TypeScript namespace.

Two generations: cl100k models (recipe and test values of hmarr/openai-chat-tokens, MIT), and o200k models (worked out
on recorded usage; openai-harmony renders the open models alike).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
_SIMPLE = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}
_COMMENTED_LEVELS = 2
"""Columns of indentation before which comments are shown: descriptions of nested properties are not."""


def function_text(name: str, description: str, parameters: Schema, *, commented: bool = False) -> str:
    """Return one function as o200k models see it; *commented* shows what is said of all its parameters."""
    head = f"// {clean(description)}\n" if description else ""
    if not _properties(parameters):
        return f"{head}type {name} = () => any;"
    whole = parameters.get("description") if commented else None
    comment = f"// {clean(whole)}\n" if isinstance(whole, str) and whole else ""
    return f"{head}type {name} = (_: {comment}{{ {_Writer(parameters).properties(parameters, 0)}}}) => any;"


def compact_function(name: str, description: str, parameters: Schema) -> str:
    """Return one function as cl100k models see it: each property ends in a comma, defaults are not shown."""
    head = f"// {description}\n" if description else ""
    if not _properties(parameters):
        return f"{head}type {name} = () => any;"
    return f"{head}type {name} = (_: {{\n{_Cl100kWriter(parameters).properties(parameters, 0)}\n}}) => any;"


def clean(description: str) -> str:
    """Return a description as it is shown: every line without its indentation."""
    return "\n".join(line.strip() for line in description.strip().split("\n"))


class _Writer:
    """Walks one tool's schema; references are resolved against its root, one inside itself is `any`."""

    shows_constants = True

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._open: list[str] = []

    def properties(self, node: Schema, level: int) -> str:
        lines = [line for entry in self._entries(node, level) for line in entry]
        return "\n".join(" " * level + line for line in lines)

    def _entries(self, node: Schema, level: int) -> Iterator[list[str]]:
        properties = _properties(node)
        last = len(properties) - 1
        for position, (name, given) in enumerate(properties.items()):
            schema = given if isinstance(given, Mapping) else {}
            comma = "" if position == last else ","
            line = f"{name}{_mark(name, node)}: {self.type(schema, level)}{comma}{_default(schema)}"
            yield [*self._comments(schema, level), line]

    def _comments(self, schema: Schema, level: int) -> Iterator[str]:
        if level >= _COMMENTED_LEVELS:
            return
        if isinstance(title := schema.get("title"), str) and title:
            yield f"// {title}\n//"
        if isinstance(description := schema.get("description"), str) and description:
            yield f"// {clean(description)}"

    def type(self, schema: Any, level: int) -> str:
        if not isinstance(schema, Mapping):
            return "any"
        if "$ref" in schema:
            return self._referred(str(schema["$ref"]), level)
        for union in ("anyOf", "oneOf"):
            if isinstance(schema.get(union), list | tuple):
                return " | ".join(self.type(option, level) for option in schema[union])
        if "const" in schema and self.shows_constants:
            return _literal(schema["const"])
        if isinstance(schema.get("enum"), list | tuple) and schema["enum"]:
            return " | ".join(_literal(value) for value in schema["enum"])
        return self._named(schema.get("type"), schema, level)

    def _named(self, kind: Any, schema: Schema, level: int) -> str:
        if isinstance(kind, list | tuple):
            return " | ".join(self._named(one, schema, level) for one in kind)
        if kind == "object":
            return self._object(schema, level) if _properties(schema) else "object"
        if kind == "array":
            return f"{self.type(schema['items'], level)}[]" if schema.get("items") else "any[]"
        return _SIMPLE.get(kind, "any") if isinstance(kind, str) else "any"

    def _object(self, schema: Schema, level: int) -> str:
        return "{\n" + self.properties(schema, level + 2) + "\n" + " " * level + "}"

    def _referred(self, reference: str, level: int) -> str:
        name = reference.rsplit("/", 1)[-1]
        definitions = self._root.get("$defs") or self._root.get("definitions")
        if name in self._open or not isinstance(definitions, Mapping):
            return "any"
        self._open.append(name)
        try:
            return self.type(definitions.get(name), level)
        finally:
            self._open.pop()


class _Cl100kWriter(_Writer):
    """The older layout: no titles, no defaults, no constants."""

    shows_constants = False

    def _entries(self, node: Schema, level: int) -> Iterator[list[str]]:
        for name, given in _properties(node).items():
            schema = given if isinstance(given, Mapping) else {}
            yield [*self._comments(schema, level), f"{name}{_mark(name, node)}: {self.type(schema, level)},"]

    def _comments(self, schema: Schema, level: int) -> Iterator[str]:
        description = schema.get("description")
        if level < _COMMENTED_LEVELS and isinstance(description, str) and description:
            yield f"// {description}"

    def _object(self, schema: Schema, level: int) -> str:
        return "{\n" + self.properties(schema, level + 2) + "\n}"


def _properties(node: Schema) -> Schema:
    properties = node.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _mark(name: str, node: Schema) -> str:
    required = node.get("required")
    return "" if isinstance(required, list | tuple) and name in required else "?"


def _default(schema: Schema) -> str:
    """Return the comment that names a default."""
    default = schema.get("default")
    if default is None:
        return ""
    return f" // default: {default if isinstance(default, str) else _literal(default)}"


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
