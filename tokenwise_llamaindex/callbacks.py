"""The handler that sees every model call of a LlamaIndex application.

It listens on the root of the instrumentation dispatcher, hence to every engine, agent and workflow of the process. The
older `CallbackManager` is served by the same listener, so nothing is counted twice.
"""

from __future__ import annotations

import inspect
import threading
from typing import Any, Self

from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.callbacks.schema import CBEventType
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span import BaseSpan
from llama_index_instrumentation.span_handlers import BaseSpanHandler
from typing_extensions import override

from tokenwise_core.analytics.live import Reporting
from tokenwise_core.switch import enabled
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.runtime import Runtime, runtime_of
from tokenwise_core.usage.store import Store
from tokenwise_llamaindex.listener import Listener

_installing = threading.Lock()


class _EventHandler(BaseEventHandler):
    """Passes events on; what it raised the dispatcher would swallow without a word."""

    listener: Any

    @classmethod
    def class_name(cls) -> str:
        return "TokenBreakdownEventHandler"

    @override
    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        listener: Listener = self.listener
        action = listener.actions.get(type(event))
        if action is None or not enabled():
            return
        try:
            action(listener, event)
        except Exception as error:  # fail-open: bookkeeping never fails the user's call
            listener.failed(error)


class _SpanHandler(BaseSpanHandler[BaseSpan]):
    """Passes spans on and keeps none: the base class would keep every span that ever ended."""

    listener: Any = None

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self.listener = listener

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
        if not enabled():
            return
        try:
            self.listener.entered(id_, parent_id, instance, bound_args.arguments)
        except Exception as error:  # fail-open
            self.listener.failed(error)

    @override
    def span_exit(self, id_: str, *args: Any, **kwargs: Any) -> None:
        try:
            self.listener.left(id_)
        except Exception as error:  # fail-open
            self.listener.failed(error)

    @override
    def span_drop(self, id_: str, *args: Any, err: BaseException | None = None, **kwargs: Any) -> None:
        try:
            self.listener.dropped(id_, err)
        except Exception as error:  # fail-open
            self.listener.failed(error)

    @override
    def new_span(self, *args: Any, **kwargs: Any) -> None:
        """Keep no span."""

    @override
    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> None:
        """Keep no span."""

    @override
    def prepare_to_drop_span(self, *args: Any, **kwargs: Any) -> None:
        """Keep no span."""


class TokenBreakdownHandler(Reporting, BaseCallbackHandler):
    """Records where the tokens of every model call go, and reports it.

    >>> with TokenBreakdownHandler() as tracker:
    ...     index.as_query_engine().query("…")
    >>> tracker.breakdown().total_tokens

    `install()` does the same for good. One handler sees all threads, tasks, engines and agents of the process. In a
    `CallbackManager([handler])` it installs itself when the first trace begins, and what the manager says is passed
    over; `as_callback()` installs it at once. *store* is a store, its URL, or None for `TOKENWISE_STORE`; *runtime*
    shares a recorder with others instead. *log* writes one INFO record a call to the logger `tokenwise.usage`.

    A copy or deepcopy is the handler itself; a pickle opens the store again where it is loaded (for a *store* given
    as an object or a *runtime*: the default one), not installed.
    """

    def __init__(self, *, store: Store | str | None = None, runtime: Runtime | None = None, log: bool = True) -> None:
        super().__init__(event_starts_to_ignore=[], event_ends_to_ignore=[])
        self._url = store if isinstance(store, str) else None
        self._log = log
        runtime = runtime or runtime_of(store)
        self.meter = Meter(runtime.recorder, runtime.accountant, framework="llamaindex", log_calls=log)
        self._listener = Listener(self.meter)
        self._events = _EventHandler(listener=self._listener)
        self._spans = _SpanHandler(self._listener)
        self._withdrawn = False

    @property
    def errors(self) -> int:
        """How many events could not be accounted for."""
        return self._listener.errors

    # On the dispatcher ------------------------------------------------------------------------------------------------

    @property
    def installed(self) -> bool:
        """Whether the handler listens."""
        return any(handler is self._events for handler in get_dispatcher().event_handlers)

    def install(self) -> Self:
        """Listen to every model call of this process from now on; once is enough, twice is the same."""
        root = get_dispatcher()
        with _installing:
            self._withdrawn = False
            if not self.installed:
                root.add_span_handler(self._spans)
                root.add_event_handler(self._events)
        return self

    def uninstall(self) -> None:
        """Stop listening; calls under way are not booked any more."""
        root = get_dispatcher()  # it can only add handlers; new lists, since another thread may be going through these
        with _installing:
            self._withdrawn = True
            root.event_handlers = [handler for handler in root.event_handlers if handler is not self._events]
            root.span_handlers = [handler for handler in root.span_handlers if handler is not self._spans]

    def __enter__(self) -> Self:
        return self.install()

    def __exit__(self, *raised: object) -> None:
        self.uninstall()

    # In a CallbackManager ---------------------------------------------------------------------------------------------

    def as_callback(self) -> Self:
        """Return what can be given to a `CallbackManager`, installed already."""
        return self.install()

    @override
    def start_trace(self, trace_id: str | None = None) -> None:
        """Install the handler, unless somebody has uninstalled it; LlamaIndex lets what is raised here through."""
        try:
            if not self._withdrawn and not self.installed:
                self.install()
        except Exception as error:  # fail-open
            self._listener.failed(error)

    @override
    def end_trace(self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None) -> None:
        """Do nothing: the dispatcher tells."""

    @override
    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        """Do nothing: the dispatcher tells the same."""
        self.start_trace()
        return event_id

    @override
    def on_event_end(
        self, event_type: CBEventType, payload: dict[str, Any] | None = None, event_id: str = "", **kwargs: Any
    ) -> None:
        """Do nothing: the dispatcher tells the same."""

    # Copies: LlamaIndex copies models and states, the calls under way stay one ----------------------------------------

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self._url, "log": self._log}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a meter of its own on the store as seen from here
