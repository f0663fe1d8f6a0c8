"""Which session a call belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import RunnableConfig

from tokenwise_core.scoping import current_scope
from tokenwise_langchain.runs import whose
from tokenwise_langchain.snapshots import scope_of

SessionOf = str | Callable[[RunnableConfig], str | None] | None
"""Names the session of a call: a name, or what tells it from the call's config; None: its thread, or its scope."""


def session_of(given: SessionOf, config: RunnableConfig, messages: Sequence[BaseMessage]) -> str | None:
    """Return the name of a call's session; None where nothing tells it from others.

    A thread's graphs below the outermost have sessions of their own. Without a thread it is the session of the scope,
    and without that the conversation whose first message has this id: LangGraph gives each message one of its own, so
    two users never share a session because they began with the same words.
    """
    if callable(given):
        given = given(config)
    if given is not None:
        return given
    known = whose(config)
    session = scope_of(known).session or current_scope().session
    if session is not None:
        graph = _graph(str(known.get("langgraph_checkpoint_ns") or ""))
        return f"{session}|{graph}" if graph else session
    first = messages[0] if messages else None
    if first is None or first.id is None:
        return None
    user = current_scope().user or scope_of(known).user
    return f"first-{blake2b(repr((user, first.id, first.content)).encode(), digest_size=12).hexdigest()}"


def _graph(namespace: str) -> str:
    """Return the path of the graph that a node's *namespace* lies in, without the ids of its tasks and the node."""
    parts = [part.partition(":")[0] for part in namespace.split("|") if not part.isdigit()]
    return "|".join(parts[:-1])
