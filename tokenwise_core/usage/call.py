"""What an adapter tells the meter about one model call.

The request path only takes cheap snapshots; `CallDetails` and `Answered` are made from them later, in the recorder's
thread, by the two callables that the adapter hands to `Meter.start` and `Meter.end`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tokenwise_core.messages import Answer, Prompt
from tokenwise_core.scoping import Scope
from tokenwise_core.usage.components import Component
from tokenwise_core.usage.events import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A text whose component is known before it is looked for in the prompt (a template variable, a document)."""

    component: Component
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDetails:
    """The request: what was sent, to which model, and what is known of where its parts came from.

    *known* are template variables of this prompt; *templated* says that they are all of them, so that the rest of the
    messages they stand in is fixed text of the template. *scope* holds what the framework knows (thread id, agent
    name); what the application set with `scope(...)` wins over it.
    """

    prompt: Prompt
    model: str | None = None
    provider: str | None = None
    scope: Scope = field(default_factory=Scope)
    operation: str = "chat"
    node: str | None = None
    run_name: str | None = None
    known: tuple[Known, ...] = ()
    templated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The response: the answer, the usage as the provider reported it (None when it did not), and its names.

    Of a cache's hit, *usage* is what the stored answer had cost, *lever* the cache that saves it, *saving_reason* the
    kind of hit.
    """

    answer: Answer = field(default_factory=Answer)
    usage: Usage | None = None
    response_model: str | None = None
    response_id: str | None = None
    lever: str = "llm_cache"
    saving_reason: str = ""


_VARIABLES: Mapping[Component, frozenset[str]] = {
    Component.RETRIEVED_CONTEXT: frozenset(
        {"context", "context_str", "context_msg", "documents", "docs", "retrieved", "retrieved_context", "sources"}
    ),
    Component.USER_INPUT: frozenset(
        {"question", "query", "query_str", "input", "user_input", "user_msg", "message", "human_input", "new_input"}
    ),
    Component.HISTORY: frozenset({"history", "chat_history", "messages", "message_history", "conversation"}),
    Component.SUMMARY: frozenset({"summary", "conversation_summary", "existing_summary"}),
    Component.MEMORY: frozenset({"memory", "memories", "facts", "profile"}),
    Component.FEW_SHOT: frozenset({"examples", "few_shot", "few_shot_examples"}),
    Component.AGENT_MESSAGES: frozenset({"agent_scratchpad", "scratchpad", "existing_answer"}),
    Component.TOOL_DEFINITIONS: frozenset({"tools", "tool_desc", "tool_descriptions", "tool_names"}),
    Component.OUTPUT_SCHEMA: frozenset({"format_instructions", "schema", "output_schema", "json_schema"}),
}


def component_of_variable(name: str) -> Component | None:
    """Return the component that a prompt template's variable of this *name* usually holds."""
    return next((component for component, names in _VARIABLES.items() if name.lower() in names), None)


def known_from_variables(variables: Mapping[str, Iterable[str]]) -> tuple[Known, ...]:
    """Turn template variables (name → its text or texts) into `Known`s; a variable of another name is user input."""
    return tuple(
        Known(component=component_of_variable(name) or Component.USER_INPUT, text=text)
        for name, texts in variables.items()
        for text in texts
        if text.strip()
    )


__all__ = ["Answered", "CallDetails", "Known", "component_of_variable", "known_from_variables"]
