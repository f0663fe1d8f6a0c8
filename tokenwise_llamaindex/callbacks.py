"""The handler that sees every model call of a LlamaIndex application.

It listens on the root of the instrumentation dispatcher, hence to every engine, agent and workflow. The older
`CallbackManager` is served by the same listener, so nothing is counted twice.
"""

from __future__ import annotations

from typing import Any, Self

from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.callbacks.schema import CBEventType
from typing_extensions import override

from tokenwise_core.analytics.live import Reporting
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.runtime import Runtime, runtime_of
from tokenwise_core.usage.store import Store
from tokenwise_llamaindex.listener import Listener
from tokenwise_llamaindex.routing import router


class TokenBreakdownHandler(Reporting, BaseCallbackHandler):
    """Records where the tokens of every model call go, and reports it.

    >>> with TokenBreakdownHandler() as tracker:
    ...     index.as_query_engine().query("…")
    >>> tracker.breakdown().total_tokens

    A `with` block sees the calls of its own context (thread or task, and what copies it: tasks, workflows, the threads
    of LlamaIndex), so that each request of a server can have a handler; blocks nest. What began inside is followed to
    its end, a stream that is read afterwards too. A thread that copies no context (`ThreadPoolExecutor`) belongs to
    the block of the main program around it, if there is one; elsewhere run it in `contextvars.copy_context()`.

    `install()` listens to the whole process for good. In a `CallbackManager([handler])` it does so when the first
    trace begins, and what the manager says is passed over; `as_callback()` does at once. *store* is a store, its URL,
    or None for `TOKENWISE_STORE`; *runtime* shares a recorder with others instead. *log* writes one INFO record a call
    to the logger `tokenwise.usage`.

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
        self._withdrawn = False

    @property
    def errors(self) -> int:
        """How many events could not be accounted for."""
        return self._listener.errors

    # On the dispatcher ------------------------------------------------------------------------------------------------

    @property
    def installed(self) -> bool:
        """Whether the handler listens: for good, or in a `with` block that is open somewhere."""
        return router.hears(self._listener)

    def install(self) -> Self:
        """Listen to every model call of this process from now on; once is enough, twice is the same."""
        self._withdrawn = False
        router.install(self._listener)
        return self

    def uninstall(self) -> None:
        """Stop listening; calls under way are not booked any more."""
        self._withdrawn = True
        router.uninstall(self._listener)

    def __enter__(self) -> Self:
        self._withdrawn = False
        router.enter(self._listener)
        return self

    def __exit__(self, *raised: object) -> None:
        self._withdrawn = not router.hears_all(self._listener)
        router.leave(self._listener)

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
