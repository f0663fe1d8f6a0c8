"""The handler that sees every model call of a LangChain or LangGraph application, and the ambient way to install it.

Each hook takes a snapshot and returns; reading, counting and storing happen in the recorder's thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar, cast
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook

from tokenwise_core.analytics.live import Reporting
from tokenwise_core.switch import enabled
from tokenwise_core.usage.call import Answered
from tokenwise_core.usage.events import Status
from tokenwise_core.usage.meter import Meter
from tokenwise_core.usage.runtime import Runtime, runtime_of
from tokenwise_core.usage.store import Store
from tokenwise_langchain.snapshots import Reply, Request, put_together, scope_of
from tokenwise_langchain.templates import template_variables

log = logging.getLogger("tokenwise.langchain")

Hook = TypeVar("Hook", bound=Callable[..., None])
_ABORTS = (GeneratorExit, asyncio.CancelledError, KeyboardInterrupt)
_MAX_HEARD = 1_000  # streams whose pieces are kept; the oldest are given up
_LOGGED_ERRORS = 3  # one broken hook must not write a line for every token


def _fail_open(hook: Hook) -> Hook:
    """Wrap a hook so that nothing of ours reaches the call: log (no user text) and count."""

    @wraps(hook)
    def guarded(self: TokenBreakdownHandler, *args: Any, **kwargs: Any) -> None:
        try:
            hook(self, *args, **kwargs)
        except Exception as error:  # a fail-open boundary: bookkeeping never fails the user's call
            self._failed(hook.__name__, error)

    return cast("Hook", guarded)


class TokenBreakdownHandler(Reporting, BaseCallbackHandler):
    """Records where the tokens of every model call go, and reports it.

    Give it to any runnable (`config={"callbacks": [handler]}`), or use `track_tokens()`. One handler may serve many
    threads, tasks and chains at once. *store* is a store, its URL, or None for `TOKENWISE_STORE`; *runtime* shares a
    recorder with others instead. *log* writes one INFO record a call to the logger `tokenwise.usage`.

    A copy or deepcopy is the handler itself; a pickle opens the store again where it is loaded (for a *store* given
    as an object or a *runtime*: the default one).
    """

    run_inline = True
    """Run in the caller's thread also in async code: another thread would cost 200 µs per streamed token."""
    raise_error = False

    def __init__(self, *, store: Store | str | None = None, runtime: Runtime | None = None, log: bool = True) -> None:
        self._url = store if isinstance(store, str) else None
        self._log = log
        runtime = runtime or runtime_of(store)
        self.meter = Meter(runtime.recorder, runtime.accountant, framework="langchain", log_calls=log)
        self.errors = 0
        self._billed = threading.local()
        self._heard: OrderedDict[Hashable, list[Any]] = OrderedDict()

    # Model calls

    @_fail_open
    def on_chat_model_start(
        self,
        serialized: Mapping[str, Any] | None,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a chat model's call; LangChain gives one list of messages a run."""
        if not enabled():
            return
        traces = self.meter.traces
        request = Request(
            messages=messages[0],
            metadata=metadata,
            extra=kwargs,
            tags=tags,
            templated=bool(traces.known(parent_run_id)),
            run_name=traces.name(parent_run_id),
        )
        self._start(run_id, request, parent_run_id)

    @_fail_open
    def on_llm_start(
        self,
        serialized: Mapping[str, Any] | None,
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a string model's call."""
        if not enabled():
            return
        self._billed.batch = False
        traces = self.meter.traces
        request = Request(
            texts=prompts,
            metadata=metadata,
            extra=kwargs,
            tags=tags,
            templated=bool(traces.known(parent_run_id)),
            run_name=traces.name(parent_run_id),
        )
        self._start(run_id, request, parent_run_id)

    def on_llm_new_token(self, token: object, *, run_id: UUID, chunk: Any = None, **kwargs: Any) -> None:
        """Note the time of a stream's first piece, and keep the pieces: of a cancelled call there is nothing else."""
        self.meter.first_token(run_id)
        heard = self._heard.get(run_id)
        if heard is not None and chunk is not None:
            heard.append(chunk)

    def on_stream_event(self, event: Mapping[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        """Note the same for streams of events (`stream_events(version="v3")`)."""
        if event.get("event") == "content-block-delta":
            self.meter.first_token(run_id)

    @_fail_open
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Book a call that came to its end."""
        self._heard.pop(run_id, None)
        reply = Reply(response)
        if reply.usage_beside is not None:
            self._share(reply)
        self.meter.end(run_id, reply.answered, status=Status.CACHE_HIT if reply.is_cache_hit else Status.OK)

    @_fail_open
    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, response: LLMResult | None = None, **kwargs: Any
    ) -> None:
        """Book a call that failed or was broken off, with what had come until then."""
        self._heard.pop(run_id, None)
        reply = Reply(response, error)
        status = Status.ABORTED if isinstance(error, _ABORTS) else Status.ERROR
        self.meter.end(run_id, reply.answered, status=status, error_type=type(error).__name__)

    # The runs around them: only who called whom, and what was learnt on the way

    @_fail_open
    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        run_type: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a chain, graph, node or prompt template; the latter's variables tell what a prompt is made of."""
        self._enter(run_id, parent_run_id, metadata, kwargs.get("name"))
        if run_type == "prompt" and parent_run_id is not None:
            self.meter.traces.learn(parent_run_id, template_variables(serialized, inputs))

    @_fail_open
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Forget the run."""
        self.meter.traces.leave(run_id)

    @_fail_open
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Forget the run; a cancelled one takes the model calls below with it, of which LangChain says nothing.

        Not so for other errors: the branches beside a failed one go on.
        """
        if isinstance(error, asyncio.CancelledError):
            self.meter.abort_under(run_id, error_type=type(error).__name__, heard=self._what_was_heard)
        self.meter.traces.leave(run_id)

    on_tool_error = on_retriever_error = on_chain_error

    @_fail_open
    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a tool: models are called inside some."""
        name = kwargs.get("name") or (serialized or {}).get("name")
        self._enter(run_id, parent_run_id, metadata, name)

    @_fail_open
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """Forget the run."""
        self.meter.traces.leave(run_id)

    @_fail_open
    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Note a retriever."""
        self._enter(run_id, parent_run_id, metadata, kwargs.get("name"))

    @_fail_open
    def on_retriever_end(self, documents: Sequence[Document], *, run_id: UUID, **kwargs: Any) -> None:
        """Remember the texts, to be found in the prompts that follow."""
        self.meter.retrieved(run_id, [document.page_content for document in documents])
        self.meter.traces.leave(run_id)

    def _start(self, run: UUID, request: Request, parent: UUID | None) -> None:
        self.meter.start(run, request.details, parent=parent)
        if parent is not None:  # a bare call is never heard of again when it is cancelled
            self._heard[run] = []
            if len(self._heard) > _MAX_HEARD:
                with suppress(KeyError):  # another thread was quicker
                    self._heard.popitem(last=False)

    def _what_was_heard(self, run: Hashable) -> Callable[[], Answered] | None:
        pieces = self._heard.pop(run, None)
        return (lambda: Reply(put_together(pieces)).answered()) if pieces else None

    def _enter(self, run: UUID, parent: UUID | None, metadata: Mapping[str, Any] | None, name: str | None) -> None:
        if not enabled():
            return
        hint = scope_of(metadata) if parent is None and metadata else None
        self.meter.traces.enter(run, parent, hint, name)

    def _share(self, reply: Reply) -> None:
        """Tell a string model's reply whose batch was billed with an earlier one from a reply without usage.

        LangChain gives the usage of a batch's one response to its first reply and `{}` to the others, one after the
        other in one thread; a provider that reports nothing leaves `{}` everywhere.
        """
        if reply.usage_beside:
            self._billed.batch = True
        else:
            reply.shares_response = getattr(self._billed, "batch", False)

    def _failed(self, hook: str, error: Exception) -> None:
        self.errors += 1
        if self.errors <= _LOGGED_ERRORS:
            log.warning("%s failed (%s); the call goes on uncounted", hook, type(error).__name__)

    # Copies: LangChain copies configurations and models, the calls under way stay one

    def __copy__(self) -> TokenBreakdownHandler:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenBreakdownHandler:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self._url, "log": self._log}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a meter of its own on the store as seen from here


_ambient: ContextVar[TokenBreakdownHandler | None] = ContextVar("tokenwise_tracker", default=None)
register_configure_hook(_ambient, inheritable=True)  # once: LangChain's list of hooks only grows


@contextmanager
def track_tokens(
    *, store: Store | str | None = None, runtime: Runtime | None = None, log: bool = True
) -> Iterator[TokenBreakdownHandler]:
    """Track every model call made inside, without passing a handler; the arguments are those of the handler.

    Follows asyncio tasks and LangChain's own threads. Trackers nest: the outer one reports what the inner one sees.

    >>> with track_tokens() as tracker:
    ...     chain.invoke("…")
    >>> tracker.breakdown().total_tokens
    """
    handler = TokenBreakdownHandler(store=store, runtime=runtime, log=log)
    outer = _ambient.get()
    if outer is not None:
        handler.meter.report_to(outer.meter)
    token = _ambient.set(handler)
    try:
        yield handler
    finally:
        with suppress(ValueError):  # a generator closed in another context: that context ends with it
            _ambient.reset(token)
