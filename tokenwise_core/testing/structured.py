"""Put a recorded answer into the JSON that a prompt demands, when it can be put in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from tokenwise_core.messages import Prompt, ToolDefinition

_ANSWER_NAMES = ("answer", "response", "text", "content", "output", "result", "message", "reply", "summary")
_DEEPEST = 8
_FORCING = frozenset({"any", "required"})
_FREE = frozenset({"auto", "none", ""})


def is_valid(value: object, schema: Mapping[str, Any]) -> bool:
    """Tell whether *value* follows *schema*; a schema that cannot be read accepts nothing. Fetches no reference."""
    try:
        Draft202012Validator.check_schema(schema)
        return bool(Draft202012Validator(schema, registry=Registry()).is_valid(value))
    except (SchemaError, Unresolvable):
        return False


def fill(schema: Mapping[str, Any], answer: str) -> dict[str, Any] | None:
    """Return the object under *schema* that says *answer*, or None where it has no place for it.

    A recorded answer that is itself valid JSON is taken as it is. Otherwise the answer goes into the string property
    named "answer" (or response, text, content, …), else into the first free string; every other required property
    gets its default, its first allowed value, or the emptiest one: the recording knows no more.
    """
    recorded = _as_object(answer)
    if recorded is not None and is_valid(recorded, schema):
        return recorded
    top = _resolved(schema, schema)
    properties = top.get("properties", {})
    place = _place(properties, schema)
    if place is None:
        return None
    filled = {
        name: answer if name == place else _emptiest(properties.get(name, {}), schema)
        for name in dict.fromkeys((*top.get("required", ()), place))
    }
    return filled if is_valid(filled, schema) else None


def forced_tool(prompt: Prompt, answer: str) -> tuple[ToolDefinition, dict[str, Any]] | None:
    """Return the tool that the prompt forces and its arguments saying *answer*; None where none is or none can.

    Where any tool will do, the last one with room for the answer is taken: frameworks append the tool that stands
    for the answer's schema behind the application's own.
    """
    choice = tool_choice(prompt)
    if choice in _FREE:
        return None
    for tool in reversed(prompt.tools):
        if choice in _FORCING or tool.name == choice:
            arguments = fill(tool.parameters, answer)
            if arguments is not None:
                return tool, arguments
    return None


def tool_choice(prompt: Prompt) -> str:
    """Return the tool choice as one word: "auto", "none", "any"/"required", or the tool's name ("" if not given)."""
    choice = prompt.options.get("tool_choice")
    if isinstance(choice, Mapping):
        inner = choice.get("function")
        name = inner.get("name") if isinstance(inner, Mapping) else choice.get("name")
        return str(name or choice.get("type") or "")
    if isinstance(choice, bool):
        return "any" if choice else "none"
    return str(choice or "")


def may_call(prompt: Prompt, name: str) -> bool:
    """Tell whether the prompt's tool choice leaves room for a call of *name*."""
    choice = tool_choice(prompt)
    return choice != "none" and (choice in _FREE or choice in _FORCING or choice == name)


def _as_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _place(properties: Mapping[str, Any], root: Mapping[str, Any]) -> str | None:
    free = [name for name, schema in properties.items() if _takes_prose(_resolved(schema, root), root)]
    return next((name for name in _ANSWER_NAMES if name in free), free[0] if free else None)


def _takes_prose(schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    if any(key in schema for key in ("enum", "const", "format", "pattern")):
        return False
    variants = [_resolved(variant, root) for variant in (*schema.get("anyOf", ()), *schema.get("oneOf", ()))]
    types = schema.get("type", ())
    return "string" in ([types] if isinstance(types, str) else types) or any(_takes_prose(v, root) for v in variants)


def _resolved(schema: object, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow local references ("#/$defs/…"); what leads nowhere is the schema that accepts anything."""
    for _ in range(_DEEPEST):
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(reference, str):
            break
        target: Any = root
        for step in reference.removeprefix("#").strip("/").split("/"):
            target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        schema = target
    return schema if isinstance(schema, Mapping) else {}


def _emptiest(schema: object, root: Mapping[str, Any], depth: int = 0) -> Any:
    """Return the least that *schema* accepts, as far as its common keywords tell."""
    rules = _resolved(schema, root)
    for key in ("default", "const"):
        if key in rules:
            return rules[key]
    if rules.get("enum"):
        return rules["enum"][0]
    variants = (*rules.get("anyOf", ()), *rules.get("oneOf", ()))
    if variants and "type" not in rules:
        nullable = any(_resolved(variant, root).get("type") == "null" for variant in variants)
        return None if nullable or depth > _DEEPEST else _emptiest(variants[0], root, depth + 1)
    types = rules.get("type", "null")
    return _empty_of(types if isinstance(types, str) else types[0], rules, root, depth)


def _empty_of(kind: str, rules: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if depth > _DEEPEST:
        return None
    if kind == "object":
        properties = rules.get("properties", {})
        return {name: _emptiest(properties.get(name, {}), root, depth + 1) for name in rules.get("required", ())}
    if kind == "array":
        return [_emptiest(rules.get("items", {}), root, depth + 1) for _ in range(rules.get("minItems", 0))]
    if kind in {"number", "integer"}:
        least = max(0, rules.get("minimum", 0), rules.get("exclusiveMinimum", -1) + 1)
        return min(least, rules.get("maximum", least))
    return {"string": " " * rules.get("minLength", 0), "boolean": False}.get(kind)
