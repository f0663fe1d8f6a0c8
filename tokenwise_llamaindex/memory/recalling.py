"""The tool `recall(id)`: the model asks for what left its context."""

from __future__ import annotations

from typing import Protocol

from llama_index.core.tools import FunctionTool

from tokenwise_core.memory.tool_results import RECALL

TOOL = RECALL
DESCRIPTION = (
    "Return what is no longer in the conversation: the whole of a tool's result by the id that its shortened text "
    "names, or earlier turns by words to search them for."
)


class Recalling(Protocol):
    """What knows a conversation: `SummaryBufferMemory`, `MemoryLever`."""

    def recall(self, id: str) -> str:
        """Return the original under *id*, else the turns that left the context and say something to these words."""
        ...

    def offer_recall(self) -> None:
        """Let shortened results name the tool from now on."""
        ...


def recall_tool(memory: Recalling) -> FunctionTool:
    """Return the tool for an agent whose conversation *memory* keeps; make it before the first request.

    >>> agent = FunctionAgent(tools=[*tools, recall_tool(memory)], llm=llm)
    >>> await agent.run("…", memory=memory)

    A `MemoryLever` serves many conversations: it answers for those of the scope that the tool is called in, and
    searches by words only where that scope names a session.
    """

    def recall(id: str) -> str:
        return memory.recall(id) or f"Nothing was found for {id!r}."

    memory.offer_recall()
    return FunctionTool.from_defaults(recall, name=TOOL, description=DESCRIPTION)
