"""Handlers of ours on the root of the instrumentation dispatcher, which can only add them, and has no lock."""

from __future__ import annotations

import threading
from typing import Any

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers import BaseEventHandler
from llama_index_instrumentation.span_handlers import BaseSpanHandler

_lock = threading.Lock()


def attach(events: BaseEventHandler, spans: BaseSpanHandler[Any] | None = None) -> None:
    """Add the handlers, unless they are there; new lists, since another thread may be going through the old ones."""
    root = get_dispatcher()
    with _lock:
        if any(handler is events for handler in root.event_handlers):
            return
        if spans is not None:
            root.span_handlers = [*root.span_handlers, spans]
        root.event_handlers = [*root.event_handlers, events]


def detach(events: BaseEventHandler, spans: BaseSpanHandler[Any] | None = None) -> None:
    """Take the handlers away."""
    root = get_dispatcher()
    with _lock:
        root.event_handlers = [handler for handler in root.event_handlers if handler is not events]
        if spans is not None:
            root.span_handlers = [handler for handler in root.span_handlers if handler is not spans]
