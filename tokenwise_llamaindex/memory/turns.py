"""The turns of one session: what is appended, what is shown for a request, and when its answer has come."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms.llm import LLM

from tokenwise_core.deadline import TooBusy
from tokenwise_core.errors import StoreError
from tokenwise_core.memory import Memory, Plan, Prepared, Request, Session, View
from tokenwise_core.memory.sessions import LogItem, Owner
from tokenwise_core.outcome import Outcome
from tokenwise_core.scoping import current_scope
from tokenwise_core.switch import enabled
from tokenwise_llamaindex.cache.parameters import provider_name
from tokenwise_llamaindex.memory.asking import Asking, followed
from tokenwise_llamaindex.memory.log import Log
from tokenwise_llamaindex.memory.messages import ANSWERING, ASKING, read, written
from tokenwise_llamaindex.recent import Recent

log = logging.getLogger("tokenwise.memory")

Data = Mapping[str, Any]
T = TypeVar("T")

_living: WeakValueDictionary[str, Turns] = WeakValueDictionary()
"""Sessions that are open in this process. A workflow's context writes its state down and reads it again before each run
that goes on with it: by the name in there it finds the very session, with its store and its model, which JSON cannot
hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a framework says when it wants the messages for a request: the question, where it says it, and how many
    *fixed_tokens* stand before them.
    """

    query: str | None = None
    fixed_tokens: int = 0


class Turns:
    """One session, its messages and its view. Thread-safe.

    *llm* makes summaries; without it they are made of the conversation's own sentences. *summariser_price* is the
    price of its input in that of the model's that answers.
    """

    def __init__(self, memory: Memory, id: str, *, llm: LLM | None = None, summariser_price: float = 1.0) -> None:
        self.memory, self.id, self.llm = memory, id, llm
        self._price = summariser_price
        self.outcome: Outcome[Plan] | None = None
        scope = current_scope()
        self._log = Log()
        owner = Owner(application=scope.application, user=scope.user)
        self.session = Session(memory, id, project=self._log.project, owner=owner)
        self._lock = threading.Lock()
        self._name = uuid4().hex
        _living[self._name] = self
        self._prepared: Prepared | None = None
        self._view: View | None = None
        self._shown: list[ChatMessage] = []
        self._follows = False  # whether the last request was seen on its way, so that one can ask behind it
        self._last: str | None = None
        self.offers_recall = False

    # The log ----------------------------------------------------------------------------------------------------------

    def append(self, messages: Sequence[Data]) -> None:
        """Append messages."""
        if messages:
            self.session.append(messages)
            self._last = str(messages[-1]["role"])

    def replace(self, messages: Sequence[Data]) -> None:
        """Put *messages* in the place of all; where they go on from what is known, only the rest is appended."""
        known = self.session.messages()
        if known and known == list(messages[: len(known)]):
            self.append(messages[len(known) :])
            return
        self._last = str(messages[-1]["role"]) if messages else None
        self.session.replace(messages)

    def clear(self) -> None:
        """Forget the session."""
        with self._lock:
            self._prepared, self._view, self._last, self.outcome = None, None, None, None
            self._shown = []
        self.session.clear()

    def history(self) -> list[ChatMessage]:
        """Return copies of all messages."""
        return self._log.copies(self.session.messages())

    # A request --------------------------------------------------------------------------------------------------------

    def show(self, asked: Asked) -> list[ChatMessage]:
        """Return the messages for a request."""
        if not enabled():
            return self.history()
        if not self._is_request(asked):
            return self._looked_at(asked)
        more = self._more(asked)
        ask = Asking(llm=model).ask if (model := self._model()) else None
        return self._sent(*self.session.prepare(self._request(asked), more=more, ask=ask), more)

    async def ashow(self, asked: Asked) -> list[ChatMessage]:
        """Return the messages for a request without blocking the event loop."""
        if not enabled():
            return await self.work(self.history)
        if not await self.work(lambda: self._is_request(asked)):
            return await self.work(lambda: self._looked_at(asked))
        more = self._more(asked)
        ask = Asking(llm=model).aask if (model := self._model()) else None
        return self._sent(*await self.session.aprepare(self._request(asked), more=more, ask=ask), more)

    async def prepared(self, asked: Asked) -> tuple[Prepared, int]:
        """Prepare a request, whoever carries it out; return with it how many messages there are."""
        ask = Asking(llm=model).aask if (model := self._model()) else None
        prepared, data = await self.session.aprepare(self._request(asked), ask=ask)
        with self._lock:
            self._prepared, self._view, self.outcome = prepared, prepared.view, prepared.outcome
        return prepared, len(data)

    async def work(self, function: Callable[[], T]) -> T:
        """Return what *function* returns, from a thread; where none comes free, it is done here: no message is lost."""
        try:
            return await self.memory.work(function)
        except TooBusy:
            return function()

    def _is_request(self, asked: Asked) -> bool:
        """Say whether a model is going to be asked: agents also look at their memory when they have ended."""
        if self._last is None:
            known = self.session.messages()
            self._last = str(known[-1]["role"]) if known else None
        return asked.query is not None or self._last in ASKING

    def _more(self, asked: Asked) -> list[dict[str, Any]]:
        """Return the question, where it is going to be put only with its answer: so do most chat engines."""
        if asked.query is None or self._last in ASKING:
            return []
        return [written(ChatMessage(role=MessageRole.USER, content=asked.query))]

    def _request(self, asked: Asked) -> Request:
        model = self._model()
        if isinstance(recent := getattr(self.llm, "recent", None), Recent):
            recent.watched = True
        summariser: Literal["own", "other"] = "own" if self._follows else "other"
        return Request(
            fixed_tokens=asked.fixed_tokens,
            model=None if model is None else model.metadata.model_name,
            provider=None if model is None else provider_name(model),
            query=asked.query,
            summariser=None if model is None else summariser,
            summariser_price=self._price,
            offers_recall=self.offers_recall,
        )

    def recall(self, id: str) -> str:
        """Return the original under *id*, else what left the context and answers these words; "" where nothing does."""
        original = self.memory.original(self.id, id)
        if original is not None:
            return original
        views = self.session.views()
        with self.memory.using(self.id) as conversation:
            conversation.replace(views)
            return self.memory.recalled(conversation, self.view(), id)

    def _sent(self, prepared: Prepared, data: Sequence[Data], more: Sequence[Data]) -> list[ChatMessage]:
        shown = self._log.shown(prepared, data, stop=len(data) - len(more))
        with self._lock:
            self._prepared, self._view, self.outcome = prepared, prepared.view, prepared.outcome
            self._shown = shown
        return list(shown)

    def _looked_at(self, asked: Asked) -> list[ChatMessage]:
        """Return what would be shown now, and remember nothing of it."""
        data, views = self.session.messages(), self.session.views()
        with self.memory.using(self.id) as conversation:
            conversation.replace(views)
            prepared = self.memory.look(conversation, self.view(), self._request(asked))
        return self._log.shown(prepared, data, stop=len(data))

    # Its answer -------------------------------------------------------------------------------------------------------

    def answered(self, messages: Sequence[Data]) -> None:
        """Begin the summary that is due, if there is an answer among *messages*."""
        if not any(message["role"] in ANSWERING for message in messages):
            return
        asking = self._asking(messages[-1])
        if (prepared := self._taken()) is not None:
            self.session.answered(prepared, ask=asking.ask if asking else None)

    async def aanswered(self, messages: Sequence[Data]) -> None:
        """Do the same; a summary that is waited for is made in a thread."""
        if any(message["role"] in ANSWERING for message in messages):
            await self.begin(messages[-1])

    async def begin(self, answer: Data | None = None) -> None:
        """Begin the summary that is due after what was prepared last."""
        asking = self._asking(answer)
        if (prepared := self._taken()) is not None:
            await asyncio.to_thread(self.session.answered, prepared, ask=asking.ask if asking else None)

    def _asking(self, answer: Data | None) -> Asking | None:
        """Return who makes summaries; behind the last request and its *answer*, where the model is a `TokenwiseLLM`."""
        model = self._model()
        if model is None:
            return None
        recent = getattr(self.llm, "recent", None)
        sent = recent.behind(self._shown) if isinstance(recent, Recent) else None
        self._follows = sent is not None
        if sent is None:
            return Asking(llm=model)
        return Asking(
            llm=model, sent=followed(sent.messages, None if answer is None else read(answer)), params=sent.params
        )

    def _model(self) -> LLM | None:
        """Return the model itself: what is asked for us passes no levers of the application's."""
        return None if self.llm is None else getattr(self.llm, "inner", self.llm)

    def _taken(self) -> Prepared | None:
        with self._lock:
            prepared, self._prepared = self._prepared, None
        return prepared if enabled() else None

    # What outlives the process ----------------------------------------------------------------------------------------

    def view(self) -> View:
        """Return the view that was shown last: here, else in another process."""
        if self._view is not None:
            return self._view
        try:
            stored = self.memory.sessions.view(self.id)
        except StoreError:
            return View()
        return View() if stored is None else View.from_dict(stored.data)

    def dump(self) -> dict[str, Any]:
        """Return messages, view, and summaries that are made and not shown yet, as strict JSON."""
        views = self.session.views()
        data = self.session.messages()[: len(views)]
        rows = [{"at": view.at, "data": one} for view, one in zip(views, data, strict=True)]
        try:
            made = self.memory.sessions.results(self.id)
        except StoreError:
            made = {}  # they are made anew
        return {
            "messages": rows,
            "view": self.view().to_dict(),
            "made": made,
            "summarised": self.llm is not None,
            "living": self._name,
        }

    @staticmethod
    def living(dumped: Mapping[str, Any]) -> Turns | None:
        """Return the open session that was dumped, if nothing was put since: else what was dumped is another one."""
        found = _living.get(str(dumped.get("living")))
        if found is None or found.session.messages() != [row["data"] for row in dumped.get("messages", ())]:
            return None
        return found

    def restore(self, dumped: Mapping[str, Any]) -> None:
        """Take up what `dump` returned, unless the session's store knows the session."""
        sessions, now = self.memory.sessions, time.time()
        if sessions.length(self.id):
            return
        items = [
            LogItem(id=uuid4().hex, data=row["data"], at=now if row.get("at") is None else row["at"])
            for row in dumped.get("messages", ())
        ]
        sessions.append(self.id, items)
        sessions.save_view(self.id, View.from_dict(dumped.get("view")).to_dict(), expected=0)
        holder = uuid4().hex
        for block, summary in dumped.get("made", {}).items():
            if sessions.lease(self.id, block, holder=holder, seconds=1.0):
                sessions.finish(self.id, block, holder, summary)
