"""Memory as a lever of `TokenwiseLLM`: what a chat call sends is edited by core's plan, an agent's tool loop included.

LlamaIndex's memories see neither the system prompt nor the loop of an agent's run, which lives in its scratchpad.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from cachetools import LRUCache
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock

from tokenwise_core.errors import BadInput
from tokenwise_core.memory import Keep, Memory, Prepared, Request, View
from tokenwise_core.memory.sessions import Owner
from tokenwise_core.memory.views import Views
from tokenwise_core.messages import Message
from tokenwise_core.scoping import current_scope
from tokenwise_core.stack import Course, Do, Proceed
from tokenwise_core.usage.events import Usage
from tokenwise_llamaindex import snapshots
from tokenwise_llamaindex.cache.parameters import provider_name
from tokenwise_llamaindex.calls import LLMAnswer, LLMCall
from tokenwise_llamaindex.convert import api_of, to_answered, to_prompt
from tokenwise_llamaindex.memory.asking import Asking, followed, is_free, is_ours
from tokenwise_llamaindex.memory.messages import HEADS, MemoryMessage, opened, shown
from tokenwise_llamaindex.memory.recalling import TOOL
from tokenwise_llamaindex.memory.seen import Seen

_LEAST = 3
"""Messages behind the system prompt that a conversation has before anything can be left out of it."""
_KEPT = 512
_MANY = 16
_LONG = 8_000
"""Messages, and characters of one, that are new and take some milliseconds to be read and counted."""
_OPENING = 3
"""Messages by whose beginning a conversation is known where no session is named."""

_TALKS = 4
"""Conversations of a scope that `recall` looks into."""
_Whose = tuple[str | None, str | None, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Talk:
    """One call's conversation: the *head* that is sent unchanged, the *rest*, its *id*, and what core must know."""

    id: str
    head: Sequence[ChatMessage]
    rest: Sequence[ChatMessage]
    request: Request


class MemoryLever:
    """Shortens the messages of chat calls by a core `Memory`; `complete` is none of its business.

    A conversation is known by the session of the scope and its first message, else by how it begins: name it with
    `scope(session=…)` where many begin alike. Its view is kept in this process and in the memory's session store.
    Beside a `SummaryBufferMemory` that has summarised, only the turn at hand is edited: the history is that one's.
    """

    place = "memory"
    fails_closed = False

    def __init__(self, memory: Memory) -> None:
        if not isinstance(memory, Memory):
            raise BadInput(f"memory is a {type(memory).__name__}: give a tokenwise_core.memory.Memory")
        self.memory = memory
        self._views = Views(memory)
        self._seen: LRUCache[str, Seen] = LRUCache(_KEPT)
        self._talks: LRUCache[_Whose, dict[str, Sequence[ChatMessage]]] = LRUCache(_KEPT)
        self._lock = threading.Lock()
        self._offers_recall = False

    def around(self, request: LLMCall) -> Course[LLMCall, LLMAnswer]:
        """Edit the messages, and tell the memory when the answer has come."""
        if not self.memory.counter.is_loaded:
            yield Do(lambda: None, self.memory.loaded)
        talk = None if is_ours() or request.prompt is not None else _talk(self.memory, request)
        if talk is None:
            answer: LLMAnswer = yield Proceed(request)
            return answer
        prepared: Prepared = yield Do(lambda: self._prepare(talk, request), lambda: self._aprepare(talk, request))
        sent = self._sent(talk, prepared)
        answer = yield Proceed(request if sent is None else replace(request, messages=sent))
        learn = _Learning(self.memory, prepared, request, sent or request.messages, answer)
        if self.memory.summaries == "after_answer" and not request.streamed:
            yield Do(learn.now, learn.later)
        elif self.memory.summaries == "after_answer" and _on_a_loop():
            self.memory.behind(learn.now)  # a stream has ended inside of its reader's loop: nothing can be awaited
        else:
            learn.now()
        return answer

    def recall(self, id: str) -> str:
        """Return the original under *id*, else what left the context and answers these words; "" where nothing does.

        Of the conversations of this scope, the newest first; by words only where it names a session.
        """
        with self._lock:
            talks = list(reversed(self._talks.get(_whose(), {}).items()))
        for name, _ in talks:
            if (original := self.memory.original(name, id)) is not None:
                return original
        for name, rest in talks if current_scope().session else ():
            with self.memory.using(name) as conversation:
                conversation.replace(Seen().views(rest))
                if found := self.memory.recalled(conversation, self._views.read(name), id):
                    return found
        return ""

    def offer_recall(self) -> None:
        """Note the conversations of a scope, so that `recall` finds them; results name the tool where it is sent."""
        self._offers_recall = True

    def _note(self, talk: _Talk) -> None:
        if not self._offers_recall:
            return
        with self._lock:
            others = {name: rest for name, rest in self._talks.get(_whose(), {}).items() if name != talk.id}
            self._talks[_whose()] = dict([*others.items(), (talk.id, talk.rest)][-_TALKS:])

    def _prepare(self, talk: _Talk, call: LLMCall) -> Prepared:
        views = self._viewed(talk)
        with self.memory.using(talk.id) as conversation:
            conversation.replace(views)
            view = self._views.read(talk.id)
            prepared = self.memory.prepare(conversation, view, talk.request, ask=_asking(call).ask)
        return self._kept(talk, prepared)

    async def _aprepare(self, talk: _Talk, call: LLMCall) -> Prepared:
        view = self._views.known(talk.id)
        if view is None:
            view = await self._read(talk.id)
        with self.memory.using(talk.id) as conversation:
            if _takes_long(talk.rest[len(conversation) :]):
                await self.memory.work(lambda: conversation.replace(self._viewed(talk)))
            else:
                conversation.replace(self._viewed(talk))
            prepared = await self.memory.aprepare(conversation, view, talk.request, ask=_asking(call).aask)
        return self._kept(talk, prepared)

    async def _read(self, id: str) -> View:
        return await self.memory.work(lambda: self._views.read(id))

    def _viewed(self, talk: _Talk) -> list[Message]:
        """Return core's views of the conversation's messages; those that were seen before are not made anew."""
        seen = self._seen.pop(talk.id, None) or Seen()  # who comes at the same time makes them anew
        views = seen.views(talk.rest)
        self._seen[talk.id] = seen
        return views

    def _kept(self, talk: _Talk, prepared: Prepared) -> Prepared:
        scope = current_scope()
        self._note(talk)
        self._views.keep(talk.id, prepared.view, owner=Owner(application=scope.application, user=scope.user))
        return prepared

    def _sent(self, talk: _Talk, prepared: Prepared) -> list[ChatMessage] | None:
        """Return the messages to send; None where all are sent as they are."""
        if prepared.plan.parts == (Keep(0, len(talk.rest)),):
            return None
        sent = list(shown(prepared.plan, talk.rest, prepared.mark))
        return [*talk.head, *(opened(sent, prepared.mark) if prepared.view.evicted else sent)]


@dataclass(frozen=True, slots=True)
class _Learning:
    """What is done when the answer has come."""

    memory: Memory
    prepared: Prepared
    call: LLMCall
    sent: Sequence[ChatMessage]
    answer: LLMAnswer

    def now(self) -> None:
        """Tell the memory; begin the summary that is due."""
        response = self.answer.response
        sent = followed(self.sent, response.message if isinstance(response, ChatResponse) else None)
        asking = Asking(llm=self.call.llm, sent=sent, params=self.call.params)
        self.memory.answered(self.prepared, usage=_usage(self.call, self.answer), ask=asking.ask)

    async def later(self) -> None:
        """Do the same in a thread: there the summary is waited for."""
        await asyncio.to_thread(self.now)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _takes_long(new: Sequence[ChatMessage]) -> bool:
    """Say whether so much is new that an event loop would stand still while it is read and counted."""
    return len(new) > _MANY or any(len(message.content or "") > _LONG for message in new)


def _asking(call: LLMCall) -> Asking:
    """Return who makes a summary before the request: nothing has been sent that one could ask behind."""
    return Asking(llm=call.llm)


def _talk(memory: Memory, call: LLMCall) -> _Talk | None:
    """Return the conversation of a call; None where there is nothing to leave out."""
    messages = call.messages
    start = _start(messages)
    head, rest = messages[:start], messages[start:]
    if len(rest) < _LEAST:
        return None
    model = call.llm.metadata.model_name
    fixed = to_prompt(map(snapshots.of_message, head), call.params, api=api_of(call.llm.class_name()))
    asks_behind = memory.summaries != "inline" and is_free(call.params)  # else apart, at the full price
    request = Request(
        fixed_tokens=memory.fixed_tokens(fixed),
        model=model if model != "unknown" else None,
        provider=provider_name(call.llm),
        query=call.asked.query,
        offers_recall=any(tool.name == TOOL for tool in fixed.tools),
        summariser="own" if asks_behind else "other",
    )
    return _Talk(id=_name(rest), head=head, rest=rest, request=request)


def _whose() -> _Whose:
    scope = current_scope()
    return scope.application, scope.user, scope.session


def _start(messages: Sequence[ChatMessage]) -> int:
    """Return where the part begins that may be edited: behind the system prompt.

    Where `SummaryBufferMemory` has summarised already, what it shows is its business: behind that comes the turn at
    hand, the tool loop of which it does not see.
    """
    if any(isinstance(message, MemoryMessage) and message.role is MessageRole.USER for message in messages):
        asked = (at for at, one in enumerate(messages) if one.role is MessageRole.USER and type(one) is ChatMessage)
        return max(asked, default=len(messages))
    return next((at for at, message in enumerate(messages) if message.role not in HEADS), len(messages))


def _name(messages: Sequence[ChatMessage]) -> str:
    """Return the name of a conversation: other calls of a session, such as a tool's own, begin otherwise."""
    scope = current_scope()
    opening = messages[:1] if scope.session else messages[:_OPENING]
    said = [(message.role.value, message.content, _calls(message)) for message in opening]
    key = repr((scope.application, scope.user, scope.session, said))
    return f"llm-{blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


def _calls(message: ChatMessage) -> list[str | None]:
    return [block.tool_call_id for block in message.blocks if isinstance(block, ToolCallBlock)]


def _usage(call: LLMCall, answer: LLMAnswer) -> Usage | None:
    return to_answered(snapshots.of_response(answer.response, answer.began), provider_name(call.llm)).usage
