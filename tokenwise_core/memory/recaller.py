"""The searching side of recall: one index a conversation, filled behind, asked within a time budget."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from cachetools import LRUCache

from tokenwise_core.deadline import Workers, is_ending
from tokenwise_core.embeddings import default_embedder
from tokenwise_core.errors import MissingExtra
from tokenwise_core.memory.conversation import Conversation
from tokenwise_core.memory.index import Floats
from tokenwise_core.memory.recall import Recall, Searchable, recalled
from tokenwise_core.memory.view import Range, Slot
from tokenwise_core.protocols import CountText, Embedder
from tokenwise_core.said import Said

log = logging.getLogger("tokenwise.memory")

BATCH = 4
"""Turns that are embedded at once: a process may end between two batches, and aborts within one.

Long turns take the bundled model .15 s each on a busy core, in large batches as in small ones.
"""
STEP = 16
"""Messages that are indexed at once: the conversation's next request, on an event loop perhaps, waits no longer."""
QUERY_S = 0.1
"""How long a question may take to be embedded; past that it is searched by its words."""
_CONVERSATIONS = 512


class Recaller:
    """Keeps what left the context findable, by its words and (where there is an embedder) by its meaning."""

    def __init__(self, recall: Recall, *, count: CountText) -> None:
        self.recall, self._count = recall, count
        self._renew()

    def _renew(self) -> None:
        self._workers = Workers(max_threads=4, name="tokenwise-recall")
        self._known: LRUCache[str, Searchable] = LRUCache(_CONVERSATIONS)
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None
        self._opening = threading.Lock()
        self._said = Said()
        self._is_opened = False
        self.is_lexical = self.recall.embedder is None
        self.lexical_only = 0

    def prepare(self, conversation: Conversation, stop: int) -> None:
        """Make the messages before *stop* findable, behind."""
        found = self._of(conversation)
        if found.is_filling:  # whose lock is not waited for: this may be an event loop
            return
        with found.lock:
            waits = not self.is_lexical and found.index.missing(1)
            if found.is_filling or (len(found.index) >= stop and not waits):
                return
            found.is_filling = True
        if not self._workers.submit(lambda: self._fill(conversation, found, stop)):
            found.is_filling = False

    def find(self, conversation: Conversation, evicted: Sequence[Range], query: str, *, budget: int) -> Slot | None:
        """Return what *query* needs of the *evicted* messages; embeds the query, so it may take a while."""
        stop = evicted[-1][1] if evicted else 0
        found = self._of(conversation)
        with found.lock:
            found.extend(conversation, stop, self._count)
            wanted = found.index.to_embed(query)
        vectors = self._vectors(wanted)
        with found.lock:
            found.extend(conversation, stop, self._count)
            slot = recalled(
                conversation,
                found,
                evicted=evicted,
                query=query,
                vectors=vectors,
                budget=budget,
                count=self._count,
                cues=self.recall.cues,
            )
        self.lexical_only += vectors is None
        return slot

    def drain(self, timeout_s: float = 60.0) -> bool:
        """Wait until all that was to be embedded is; False past *timeout_s*."""
        return self._workers.rest(timeout_s)

    def _of(self, conversation: Conversation) -> Searchable:
        with self._lock:
            found = self._known.get(conversation.id)
            if found is None:
                found = self._known[conversation.id] = Searchable()
            return found

    def _fill(self, conversation: Conversation, found: Searchable, stop: int) -> None:
        """Index, and embed batch by batch what has no vector yet."""
        try:
            for some in range(len(found.index) + STEP, stop + STEP, STEP):
                with conversation.lock, found.lock:
                    found.extend(conversation, min(some, stop, len(conversation)), self._count)
            embedder = self._opened()
            while embedder is not None and not is_ending():
                with found.lock:
                    waiting = found.index.missing(BATCH)
                if not waiting:
                    return
                rows = embedder.embed([text or "-" for text in waiting.values()])
                with found.lock:
                    found.index.put_vectors(waiting, rows)
        except Exception as error:  # fail-open: it is searched by words
            if self._said.is_due("turns", error):
                log.warning("turns could not be embedded (%s): they are recalled by their words", type(error).__name__)
        finally:
            found.is_filling = False

    def _vectors(self, wanted: Sequence[str]) -> Floats | None:
        """Embed what the search wants of a question; None without an embedder, while it loads, or past its time."""
        if not self._is_opened:
            self._workers.submit(self._opened)
            return None
        embedder = self._embedder
        if embedder is None:
            return None
        try:
            return np.asarray(self._workers.run(lambda: embedder.embed(wanted), QUERY_S), np.float32)
        except Exception as error:  # fail-open
            if self._said.is_due("question", error):
                log.warning("a question could not be embedded (%s): it is searched by its words", type(error).__name__)
            return None

    def _opened(self) -> Embedder | None:
        """Return the embedder, which may have to be loaded; None where there is none, which is said once."""
        with self._opening:
            if not self._is_opened:
                self._embedder = self._open()
                self.is_lexical = self._embedder is None
                self._is_opened = True
            return self._embedder

    def _open(self) -> Embedder | None:
        try:
            embedder = default_embedder() if self.recall.embedder == "default" else self.recall.embedder
            if embedder is not None:
                embedder.embed(["ready"])
        except MissingExtra as error:
            log.warning("recall searches by words alone: %s", error)
            return None
        return embedder

    def __getstate__(self) -> dict[str, Any]:
        return {"recall": self.recall, "_count": self._count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._renew()
