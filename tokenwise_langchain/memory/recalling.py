"""The tool `recall(id)`: the model asks for what left its context."""

from __future__ import annotations

from langchain.tools import ToolRuntime
from langchain_core.tools import BaseTool, StructuredTool

from tokenwise_core.memory.tool_results import RECALL
from tokenwise_core.memory.view import View
from tokenwise_langchain.memory.keeper import Keeper
from tokenwise_langchain.memory.naming import SessionOf, session_of

STATE = "tokenwise_memory"
"""Where an agent's private state holds the view."""
DESCRIPTION = (
    "Return what is no longer in the conversation: the whole of a tool's result by the id that its shortened text "
    "names, or earlier turns by words to search them for."
)


def recalling_tool(keeper: Keeper, session: SessionOf) -> BaseTool:
    """Return the tool for the agent whose conversations *keeper* keeps."""

    def recall(id: str, runtime: ToolRuntime) -> str:
        messages = runtime.state.get("messages") or []
        derived = runtime.state.get(STATE)
        name = session_of(session, runtime.config, messages)
        original = keeper.memory.original(name, id) if name is not None else None
        if original is not None:
            return original
        view = View.from_dict(derived) if derived else None
        return keeper.find(name, messages, id, view=view) or f"Nothing was found for {id!r}."

    async def arecall(id: str, runtime: ToolRuntime) -> str:
        return await keeper.memory.work(lambda: recall(id, runtime))

    return StructuredTool.from_function(recall, arecall, name=RECALL, description=DESCRIPTION)
