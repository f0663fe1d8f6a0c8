"""Summaries asked for in the application's own words: a template of `summary` and `new_lines`, as LangChain's own."""

from __future__ import annotations

import re
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompts import BasePromptTemplate

from tokenwise_core.errors import BadInput

Template = BasePromptTemplate[Any]

_VARIABLES = {"summary", "new_lines"}
_BLOCK = re.compile(
    r"\A[^<]*(?:<known_from_before>\n(?P<summary>.*?)\n</known_from_before>\n\n)?"
    r"<conversation>\n(?P<new_lines>.*)\n</conversation>\n\n[^<]*\Z",
    re.DOTALL,
)
_LISTS = re.compile(r"\A[^<]*<list_1>\n(?P<lists>.*)\n</list_\d+>\n\n[^<]*\Z", re.DOTALL)
_BETWEEN = re.compile(r"\n</list_\d+>\n\n<list_\d+>\n")


def checked_template(prompt: Template | None) -> Template | None:
    """Return *prompt*; `BadInput` for one that asks for anything but the earlier summary and the new lines."""
    if prompt is None:
        return None
    variables = getattr(prompt, "input_variables", None)
    if variables is None or set(variables) != _VARIABLES:
        found = f"a {type(prompt).__name__}" if variables is None else f"of {', '.join(sorted(variables)) or 'nothing'}"
        raise BadInput(
            f"prompt is {found}: give a prompt template of `summary` and `new_lines`, the variables of LangChain's "
            "SUMMARY_PROMPT, or leave it out for ours"
        )
    return prompt


def worded(prompt: Template, asked: str) -> list[BaseMessage]:
    """Return what core asks for in the words of *prompt*; as it asks it where it asks something else."""
    material = material_of(asked)
    if material is None:
        return [HumanMessage(asked)]
    summary, new_lines = material
    return prompt.format_prompt(summary=summary, new_lines=new_lines).to_messages()


def material_of(asked: str) -> tuple[str, str] | None:
    """Return the earlier summary and the new lines in a prompt of core's (`prompts.block_prompt`, `merge_prompt`).

    Of several lists of facts that are to be merged, the first is the earlier summary.
    """
    block = _BLOCK.match(asked)
    if block is not None:
        return block["summary"] or "", block["new_lines"]
    merge = _LISTS.match(asked)
    if merge is None:
        return None
    first, *others = _BETWEEN.split(merge["lists"])
    return first, "\n".join(others)
