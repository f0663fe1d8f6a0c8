"""Brings each instrumentation event and span to the handlers that it concerns.

One pair of dispatcher handlers serves all of ours: those installed for good hear everything, one in a `with` block
what begins in its context. A span's id stays with the handlers that it began under, hence a stream, or a child span in
a thread or task without the context, finds them after the block too; so does the generator that a span returned, of
which some (`Refine`'s) call the model only when they are first advanced.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import AsyncGeneratorType, GeneratorType
from typing import Any
from weakref import WeakSet

from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionStartEvent,
)
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span import BaseSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler
from typing_extensions import override

from tokenwise_core.switch import enabled
from tokenwise_llamaindex.dispatching import attach, detach
from tokenwise_llamaindex.generators import Generators
from tokenwise_llamaindex.listener import Listener

log = logging.getLogger("tokenwise.llamaindex")

MAX_OPEN = 20_000  # spans under way, and streams handed out: those that never end are forgotten

_STARTS = frozenset({LLMChatStartEvent, LLMCompletionStartEvent, EmbeddingStartEvent})
_GENERATORS = (GeneratorType, AsyncGeneratorType)
_ENDS = frozenset({LLMChatEndEvent, LLMCompletionEndEvent, EmbeddingEndEvent, ExceptionEvent})


class Block:
    """One `with`; it lives as long as a context knows it: the block's own, and those of tasks begun inside."""

    __slots__ = ("__weakref__", "fresh", "listener", "muted", "open", "route")

    def __init__(self, listener: Listener, *, fresh: bool) -> None:
        self.listener, self.fresh = listener, fresh
        self.open, self.muted = True, False
        self.route = (listener,)


_bound: ContextVar[tuple[Block, ...] | None] = ContextVar("tokenwise_llamaindex_blocks", default=None)

_Routes = OrderedDict[str, tuple[Listener, ...]]


class Router:
    """Who listens, and to which spans. Without a lock where events pass: each step is one operation of a container."""

    def __init__(self) -> None:
        self.spans: _Routes = OrderedDict()
        self.streams: _Routes = OrderedDict()  # calls that are open after their span has ended
        self.generators = Generators()
        self._everywhere: tuple[Listener, ...] = ()
        self._strays: tuple[Block, ...] = ()  # for threads that know no block: what the main thread has open
        self._blocks: WeakSet[Block] = WeakSet()
        self._lock = threading.Lock()
        self._event_handler = _EventHandler(router=self)
        self._span_handler = _SpanHandler(self)
        self._warned = False

    # Who listens ------------------------------------------------------------------------------------------------------

    def hears(self, listener: Listener) -> bool:
        """Say whether *listener* is installed, or in a block that is open."""
        return listener in self._everywhere or any(
            block.listener is listener and block.open and not block.muted for block in tuple(self._blocks)
        )

    def hears_all(self, listener: Listener) -> bool:
        """Say whether *listener* is installed for good."""
        return listener in self._everywhere

    def install(self, listener: Listener) -> None:
        """Bring everything to *listener* from now on."""
        with self._lock:
            if listener not in self._everywhere:
                self._everywhere = (*self._everywhere, listener)
            self._attach()

    def uninstall(self, listener: Listener) -> None:
        """Bring nothing to *listener* any more, not even the ends of what it knows."""
        with self._lock:
            self._everywhere = tuple(other for other in self._everywhere if other is not listener)
            for block in tuple(self._blocks):
                block.muted = block.muted or block.listener is listener
            for routes in (self.spans, self.streams):
                for span, route in tuple(routes.items()):
                    if listener in route:
                        routes[span] = tuple(other for other in route if other is not listener)
                        if not routes[span]:
                            routes.pop(span, None)
            self.generators.remove(listener)
        self._sweep()

    def enter(self, listener: Listener) -> None:
        """Begin a block: bring to *listener* what begins in this context, or in one copied from it."""
        bound = _bound.get()
        block = Block(listener, fresh=bound is None)
        with self._lock:
            _bound.set((*(self._strays if bound is None else bound), block))
            if _in_main_program():
                self._strays = (*self._strays, block)
            self._blocks.add(block)
            self._attach()

    def leave(self, listener: Listener) -> None:
        """End the innermost block of *listener*; what began in it is followed to its end."""
        self._close(listener)
        self._sweep()

    def _close(self, listener: Listener) -> None:
        bound = _bound.get() or ()
        block = next((block for block in reversed(bound) if block.listener is listener and block.open), None)
        if block is not None:
            alone = block.fresh and block is bound[-1]
            _bound.set(None if alone else tuple(other for other in bound if other is not block))
        else:  # the context was a copy that is gone, as in a dependency that a web framework runs in a thread
            ours = (block for block in tuple(self._blocks) if block.listener is listener and block.open)
            block = next(ours, None)
            self._warn()
        if block is not None:
            block.open = False
            with self._lock:
                self._strays = tuple(other for other in self._strays if other is not block)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning("a `with` of a handler ended in another context than it began in: it may have missed calls")

    def _attach(self) -> None:
        attach(self._event_handler, self._span_handler)

    def _sweep(self) -> None:
        """Leave the dispatcher once nobody listens and nothing is under way."""
        with self._lock:
            if not self._busy():
                detach(self._event_handler, self._span_handler)

    def _busy(self) -> bool:
        generators = self.generators.by_frame
        return bool(self._everywhere or self._strays or self.spans or self.streams or generators or self._blocks)

    # What passes ------------------------------------------------------------------------------------------------------

    def event(self, event: BaseEvent) -> None:
        """Bring *event* to the handlers of its span."""
        kind, span = type(event), event.span_id
        action = Listener.actions.get(kind)
        if action is None:
            return
        route = self.spans.get(span) or self.streams.get(span)  # type: ignore[arg-type]  # None is in neither
        if route is None:
            route = self._here(())
            if route and span and kind in _STARTS:  # its span began before the block
                _put(self.streams, span, route)
        _each(self._everywhere, route, action, event)
        if span and kind in _ENDS and span in self.streams and not any(listener.is_open(span) for listener in route):
            self._forget(self.streams, span)

    def entered(self, span: str, parent: str | None, instance: object, arguments: dict[str, Any]) -> None:
        """Note that *span* begins, and who is to hear of it: who hears of its parent, and who listens here."""
        above = (self.spans.get(parent) or self.streams.get(parent) or ()) if parent else ()
        if not above and self.generators.by_frame:
            above = self.generators.advanced()
        route = self._here(above)
        if route:
            _put(self.spans, span, route)
        _each(self._everywhere, route, Listener.entered, span, parent, instance, arguments)

    def left(self, span: str, result: object) -> None:
        """Note that *span* ended; a stream that it returned goes on."""
        route = self.spans.get(span, ())
        _each(self._everywhere, route, Listener.left, span)
        if route:
            for listener in route:
                if listener.is_open(span):
                    _put(self.streams, span, route)
                    break
            if isinstance(result, _GENERATORS):
                self.generators.add(result, route)
            self._forget(self.spans, span)

    def dropped(self, span: str, error: BaseException | None) -> None:
        """Note that *span* ended by an exception."""
        route = self.spans.get(span, ())
        _each(self._everywhere, route, Listener.dropped, span, error)
        if route:
            self._forget(self.spans, span)

    def _here(self, above: tuple[Listener, ...]) -> tuple[Listener, ...]:
        """Return the handlers *above* and those of the blocks that this context is in."""
        bound = _bound.get()
        if bound is None:
            bound = self._strays
        if not bound or (len(bound) == 1 and bound[0].listener in above):
            return above
        if not above and len(bound) == 1:
            return () if bound[0].muted else bound[0].route
        return tuple(dict.fromkeys((*above, *[block.listener for block in bound if not block.muted])))

    def _forget(self, routes: _Routes, span: str) -> None:
        routes.pop(span, None)
        if not self._busy():
            self._sweep()


class _EventHandler(BaseEventHandler):
    """Passes events on; what it raised the dispatcher would swallow without a word."""

    router: Any

    @classmethod
    def class_name(cls) -> str:
        return "TokenBreakdownEventHandler"

    @override
    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        if enabled():
            self.router.event(event)


class _SpanHandler(BaseSpanHandler[BaseSpan]):
    """Passes spans on and keeps none: the base class would keep every span that ever ended."""

    router: Any = None

    def __init__(self, router: Router) -> None:
        super().__init__()
        self.router = router

    @classmethod
    def class_name(cls) -> str:
        return "TokenBreakdownSpanHandler"

    @override
    def span_enter(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if enabled():
            self.router.entered(id_, parent_id, instance, bound_args.arguments)

    @override
    def span_exit(self, id_: str, *args: Any, result: Any | None = None, **kwargs: Any) -> None:
        self.router.left(id_, result)

    @override
    def span_drop(self, id_: str, *args: Any, err: BaseException | None = None, **kwargs: Any) -> None:
        self.router.dropped(id_, err)

    @override
    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """Keep no span."""

    @override
    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None:
        """Keep no span."""

    @override
    def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> None:
        """Keep no span."""


def _each(
    everywhere: tuple[Listener, ...], route: tuple[Listener, ...], action: Callable[..., None], *told: Any
) -> None:
    """Tell each listener once; one that has trouble counts it, and the next is told all the same."""
    for listener in everywhere:
        try:
            action(listener, *told)
        except Exception as error:  # fail-open: bookkeeping never fails the user's call
            listener.failed(error)
    for listener in route:
        if listener in everywhere:
            continue
        try:
            action(listener, *told)
        except Exception as error:  # fail-open
            listener.failed(error)


def _in_main_program() -> bool:
    """Say whether this is the main thread outside any event loop: a script, whose pools copy no context."""
    if threading.current_thread() is not threading.main_thread():
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


def _put(routes: _Routes, span: str, route: tuple[Listener, ...]) -> None:
    routes[span] = route
    if len(routes) > MAX_OPEN:
        with suppress(KeyError):  # another thread was quicker
            routes.popitem(last=False)


router = Router()
