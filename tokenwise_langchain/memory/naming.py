"""Which session a call belongs to, and the views that are kept of sessions whose framework keeps none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b

from cachetools import LRUCache
from langchain_core.messages import BaseMessage
from langchain_core.runnables.config import RunnableConfig

from tokenwise_core.errors import StoreError
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.view import View
from tokenwise_core.scoping import current_scope
from tokenwise_langchain.runs import whose
from tokenwise_langchain.snapshots import scope_of

SessionOf = str | Callable[[RunnableConfig], str | None] | None
"""Names the session of a call: a name, or what tells it from the call's config; None: its thread, or its scope."""
_KEPT = 512


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


class Views:
    """The views of sessions, kept in this process; *stored*: in the memory's session store, too, for any worker.

    What is known goes on only where it holds for the conversation at hand: another one under the same name begins anew.
    """

    def __init__(self, memory: Memory, *, stored: bool = False) -> None:
        self._memory, self._stored = memory, stored
        self._views: LRUCache[str, tuple[View, int]] = LRUCache(_KEPT)
        self._lock, self._saving = threading.Lock(), threading.Lock()

    def must_load(self, session: str | None) -> bool:
        """Say whether `load` would read the store."""
        return self._stored and session is not None and session not in self._views

    def load(self, session: str | None) -> None:
        """Read the view of *session* from the store, where this process does not know it."""
        if session is None or not self.must_load(session):
            return
        try:
            found = self._memory.sessions.view(session)
        except StoreError:
            return
        if found is not None:
            with self._lock:
                self._views.setdefault(session, (View.from_dict(found.data), found.version))

    def of(self, conversation: Conversation) -> View:
        """Return what is known of *conversation*."""
        with self._lock:
            view, _ = self._views.get(conversation.id, (View(), 0))
        held = view.holding(conversation)
        return held if held is view or held.summaries else View()

    def keep(self, session: str | None, view: View) -> None:
        """Remember *view*."""
        if session is None:
            return
        with self._lock:
            _, version = self._views.get(session, (view, 0))
            self._views[session] = view, version
        if self._stored:
            self._memory.behind(lambda: self._save(session))

    def _save(self, session: str) -> None:
        """Store the newest view; one save at a time, so that they stand in their order."""
        with self._saving:
            with self._lock:
                found = self._views.get(session)
            if found is None:
                return
            view, version = found
            try:
                stands = self._memory.sessions.save_view(session, view.to_dict(), expected=version)
            except StoreError:
                return  # this process knows it; another one begins with what was stored last
            with self._lock:
                newest, _ = self._views.pop(session, found)
                if stands:  # else another process was quicker: its view goes on
                    self._views[session] = newest, version + 1
