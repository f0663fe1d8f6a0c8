"""The views of conversations that somebody else keeps: in this process, and in the session store for any other."""

from __future__ import annotations

import logging
import threading

from cachetools import LRUCache

from tokenwise_core.errors import StoreError
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.sessions import Owner
from tokenwise_core.memory.sessions.protocol import owner_here
from tokenwise_core.memory.view import View
from tokenwise_core.said import Said

log = logging.getLogger("tokenwise.memory")

_KEPT = 512


class Views:
    """What was last shown of each conversation, by its id. Thread-safe. Not *stored*: by this process alone.

    What another process saved meanwhile is taken up when a view of ours comes too late; a view holds only for the
    conversation that it was made of, so a wrong one costs money and never truth.
    """

    def __init__(self, memory: Memory, *, stored: bool = True) -> None:
        self._memory, self._stored = memory, stored
        self._known: LRUCache[str, tuple[View, int]] = LRUCache(_KEPT)
        self._lock, self._saving = threading.Lock(), threading.Lock()
        self._said = Said()

    def known(self, id: str) -> View | None:
        """Return the view of *id* that this process knows; asks no store."""
        with self._lock:
            found = self._known.get(id)
        return None if found is None else found[0]

    def must_read(self, id: str) -> bool:
        """Say whether `read` would ask the store."""
        return self._stored and self.known(id) is None

    def of(self, conversation: Conversation) -> View:
        """Return what this process knows of *conversation*; another one under the same name begins anew."""
        view = self.known(conversation.id) or View()
        held = view.holding(conversation)
        return held if held is view or held.summaries else View()

    def read(self, id: str) -> View:
        """Return the view of *id*: that of this process, else the stored one, else an empty one. May wait."""
        view = self.known(id)
        if view is not None or not self._stored:
            return view or View()
        try:
            sessions = self._memory.sessions
            stored = self._memory.store.ask(sessions, "view", lambda: sessions.view(id))
        except StoreError as error:
            if self._said.is_due("read", error):
                log.warning("the session store failed (%s): a conversation begins anew", error)
            return View()
        found = (View(), 0) if stored is None else (View.from_dict(stored.data), stored.version)
        with self._lock:
            return self._known.setdefault(id, found)[0]

    def keep(self, id: str, view: View, *, owner: Owner | None = None) -> None:
        """Remember *view*, and save it behind, under the names of *owner* (those of the scope by default)."""
        owner = owner or owner_here()
        with self._lock:
            _, version = self._known.get(id, (view, 0))
            self._known[id] = view, version
        if self._stored:
            self._memory.behind(lambda: self._save(id, owner))

    def _save(self, id: str, owner: Owner | None) -> None:
        """Save the newest view of *id*; one at a time, so that they stand in their order."""
        with self._saving:
            with self._lock:
                found = self._known.get(id)
            if found is None:
                return
            view, version = found
            try:
                sessions, data = self._memory.sessions, view.to_dict()
                stands = self._memory.store.ask(
                    sessions, "save", lambda: sessions.save_view(id, data, expected=version, owner=owner)
                )
            except StoreError as error:
                if self._said.is_due("save", error):
                    log.warning("the view of %s cannot be saved (%s): this process alone knows it", id, error)
                return
            with self._lock:
                newest, _ = self._known.pop(id, found)
                if stands:  # else another process was quicker: the next request begins with its view
                    self._known[id] = newest, version + 1
