"""A session that is kept: an append-only log of the framework's own messages, and the view derived from it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from tokenwise_core.errors import StoreError
from tokenwise_core.flow import Asker, AsyncAsker
from tokenwise_core.memory.engine import Memory
from tokenwise_core.memory.pending import Pending, others_wait, store_others
from tokenwise_core.memory.request import Prepared, Request
from tokenwise_core.memory.sessions import Changes, LogItem, LogRow, Owner
from tokenwise_core.memory.usage import MemoryUsage, usage_of
from tokenwise_core.memory.view import View
from tokenwise_core.messages import Message
from tokenwise_core.said import Said
from tokenwise_core.usage.events import Usage

log = logging.getLogger("tokenwise.memory")

Project = Callable[[Mapping[str, Any], int], Message]
"""From a message as the framework writes it (JSON), and its position, to core's view of it."""


class Session:
    """One session in a memory's store: what a history or a framework's memory class is built on.

    Messages are appended as the JSON that the framework writes, and come back as it; nothing is ever taken out of the
    log but by `clear` and `replace`. Several threads and processes may append at once: nothing is lost, nothing comes
    twice. While the store is down, messages wait in the process, for all its histories of the session, and are appended
    as soon as the store answers, though this one be gone by then; that is tried once more when the process ends.
    """

    def __init__(self, memory: Memory, id: str, *, project: Project, owner: Owner | None = None) -> None:
        self.memory, self.id = memory, id
        self._project, self._owner = project, owner
        self._pending = Pending.of(memory.sessions, id)
        self._lock = self._pending.lock
        self._said = Said()
        self._rows: list[LogRow] = []
        self._views: list[Message] = []
        self._epoch = self._last = 0
        self._saving, self._reading = threading.Lock(), threading.Lock()
        self._view: View | None = None
        self._version = self._claimed = 0
        self._is_saved = True

    # The log ----------------------------------------------------------------------------------------------------------

    def append(self, messages: Sequence[Mapping[str, Any]], *, ids: Sequence[str] | None = None) -> None:
        """Append messages; *ids* make a repeated append harmless (new ones are made where none are given)."""
        names = ids if ids is not None else [uuid4().hex for _ in messages]
        with self._lock:
            self._pending.add(messages, names, owner=self._owner)
        self.flush()

    @property
    def waits(self) -> bool:
        """Say whether there is something that the store has not taken yet."""
        return bool(self._pending)

    def flush(self) -> None:
        """Store what waits, if the store answers; do not hold the lock."""
        if not self._pending:
            return
        sessions = self.memory.sessions
        try:
            self.memory.store.ask(sessions, "append", self._pending.store)
        except StoreError as error:
            self._pending.failed(error)
            return
        if others_wait(sessions):
            self.memory.behind(lambda: store_others(sessions))

    def messages(self) -> list[dict[str, Any]]:
        """Return all messages, those of other processes too."""
        return self._now(())[0]

    def views(self) -> list[Message]:
        """Return core's views of all messages."""
        self._catch_up()
        with self._lock:
            return self._viewed()

    def _viewed(self) -> list[Message]:
        for row in self._rows[len(self._views) :]:
            self._views.append(replace(self._project(row.data, len(self._views)), at=row.at))
        known = len(self._views)
        return self._views + [self._project(item.data, known + n) for n, item in enumerate(self._not_stored())]

    def _not_stored(self) -> list[LogItem]:
        """Return what waits; not what was stored too late for us to know it, and was read since."""
        items = self._pending.items
        if not items:
            return items
        stored = {row.id for row in self._rows}
        return [item for item in items if item.id not in stored]

    def replace(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Put *messages* in the place of all."""
        with self._lock:
            self._pending.replace(messages, owner=self._owner)
        self._catch_up()

    def clear(self) -> None:
        """Forget the session: messages, view, summaries, originals; raises `StoreError` where they are still there."""
        with self._lock:
            self.memory.sessions.clear(self.id)
            self._pending.forget()
            self._view, self._version, self._is_saved = None, 0, True
        self._catch_up()

    def _catch_up(self) -> None:
        """Take up what is new in the store, if it answers; do not hold the lock."""
        self.flush()
        with self._reading:
            with self._lock:
                if self._pending.anew:
                    self._rows, self._views, self._epoch, self._last = [], [], 0, 0
                    return
                after, epoch = self._last, self._epoch
            sessions = self.memory.sessions
            try:
                new: Changes = self.memory.store.ask(
                    sessions, "read", lambda: sessions.changes(self.id, after=after, epoch=epoch)
                )
            except StoreError as error:
                if self._said.is_due("read", error):
                    log.warning("the session store failed (%s): going on with what is known here", error)
                return
            with self._lock:
                if new.replaced:
                    self._rows, self._views = [], []
                self._rows += new.rows
                self._epoch = new.epoch
                self._last = new.last_seq

    # A request --------------------------------------------------------------------------------------------------------

    def prepare(
        self, request: Request | None = None, *, more: Sequence[Mapping[str, Any]] = (), ask: Asker | None = None
    ) -> tuple[Prepared, list[dict[str, Any]]]:
        """Return what to send, and the messages that its plan's positions mean.

        *more* are messages that stand behind the log for this request only (a question that is stored later).
        """
        messages, views = self._now(more)
        with self.memory.using(self.id) as conversation:
            conversation.replace(views)
            prepared = self.memory.prepare(conversation, self._known(), request, ask=ask)
        self._remember(prepared.view)
        return prepared, messages

    async def aprepare(
        self, request: Request | None = None, *, more: Sequence[Mapping[str, Any]] = (), ask: AsyncAsker | None = None
    ) -> tuple[Prepared, list[dict[str, Any]]]:
        """Do the same without blocking the event loop."""
        (messages, views), view = await self.memory.work(lambda: (self._now(more), self._known()))
        with self.memory.using(self.id) as conversation:
            await self.memory.work(lambda: conversation.replace(views))  # counts what is new here
            prepared = await self.memory.aprepare(conversation, view, request, ask=ask)
        self._remember(prepared.view)
        return prepared, messages

    def _now(self, more: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[Message]]:
        """Return all messages and their views, *more* behind them."""
        self._catch_up()
        with self._lock:
            stored = [row.data for row in self._rows] + [dict(item.data) for item in self._not_stored()]
            views = self._viewed()
        behind = [self._project(message, len(views) + n) for n, message in enumerate(more)]
        return [*stored, *map(dict, more)], [*views, *behind]

    def answered(self, prepared: Prepared, *, usage: Usage | None = None, ask: Asker | None = None) -> None:
        """Note that the answer has come; see `Memory.answered`."""
        self.memory.answered(prepared, usage=usage, ask=ask)

    def usage(self) -> MemoryUsage:
        """Return what this session holds and shows: tokens in all, by role, summaries, stable prefix."""
        views = self.views()
        with self.memory.using(self.id) as conversation:
            conversation.replace(views)
            return usage_of(conversation, self._known().holding(conversation), self.memory)

    # The view ---------------------------------------------------------------------------------------------------------

    def _known(self) -> View:
        """Return the view that goes on: this process's, or one that another has saved since."""
        sessions = self.memory.sessions
        try:
            stored = self.memory.store.ask(sessions, "view", lambda: sessions.view(self.id))
        except StoreError:
            stored = None
        with self._lock:
            newest = max(self._version, self._claimed)
            if stored is not None and (self._view is None or stored.version > newest):
                self._view, self._version = View.from_dict(stored.data), stored.version
            return self._view or View()

    def _remember(self, view: View) -> None:
        """Keep *view*, and save it behind."""
        with self._lock:
            self._view, self._is_saved = view, False
        self.memory.behind(self._save)

    def _save(self) -> None:
        """Save the newest view; one save at a time, so that they stand in their order.

        Where another process was quicker, its view goes on, and this one's decisions are made anew.
        """
        with self._saving:
            with self._lock:
                view, expected = self._view, self._version
                if view is None or self._is_saved:
                    return
                self._is_saved, self._claimed = True, expected + 1
            sessions, data = self.memory.sessions, view.to_dict()
            try:
                stands = self.memory.store.ask(
                    sessions,
                    "save",
                    lambda: sessions.save_view(self.id, data, expected=expected, owner=self._owner),
                )
            except StoreError as error:
                if self._said.is_due("view", error):
                    log.warning("the view of session %s cannot be saved (%s)", self.id, error)
                stands = None
            with self._lock:
                if stands is not None:
                    self._version = self._claimed if stands else 0  # whatever is stored then is newer
                self._claimed = 0
