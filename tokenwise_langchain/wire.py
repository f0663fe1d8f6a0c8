"""LangChain's tools in the form that is bound to a model: each converted once, as long as it stays what it is."""

from __future__ import annotations

from collections.abc import Hashable
from copy import deepcopy
from typing import Any
from weakref import ref

from langchain_core.tools import BaseTool, Tool
from langchain_core.utils.function_calling import convert_to_openai_tool

from tokenwise_core.tokens.memo import Memo, content_key
from tokenwise_langchain.blocks import Fields

_converted: Memo[Fields] = Memo(2_048)


def openai_tool(tool: Any) -> Fields:
    """Return *tool* as `convert_to_openai_tool` does, to be read only; raise what that raises.

    An agent offers the same tools with every call, and to convert one costs as much as to look an answer up.
    """
    key = _key(tool)
    if key is None:
        return convert_to_openai_tool(tool)
    found = _converted.get(key)
    if found is None:
        found = deepcopy(convert_to_openai_tool(tool))  # parts of it are the tool's own, and may be changed in place
        _converted.put(key, found)
    return found


def _key(tool: Any) -> Hashable | None:
    """Return all that the conversion of *tool* depends on; None where that is not known.

    A schema given as JSON counts by its content. One given as a class counts as the class of the model's arguments that
    the tool makes of it and keeps until its name, description or `args_schema` is set again, as LangChain itself does:
    what it binds changes with that class. Referred to weakly, so that tools made for one call are not kept.
    """
    if not isinstance(tool, BaseTool) or isinstance(tool, Tool):  # a `Tool`'s form may stand in its metadata
        return None
    schema = tool.tool_call_schema
    shape = ref(schema) if isinstance(schema, type) else content_key(schema)
    return None if shape is None else (tool.name, tool.description, shape)
