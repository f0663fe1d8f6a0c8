"""What all handlers of one process share: a store, its recorder and its accountant, one set for each store URL."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from tokenwise_core.errors import BadInput, StoreError
from tokenwise_core.settings import Settings, default_store, load_settings
from tokenwise_core.tokens import Calibration, TokenCounter
from tokenwise_core.usage.accountant import Accountant
from tokenwise_core.usage.pricing import PriceBook
from tokenwise_core.usage.recorder import Recorder
from tokenwise_core.usage.store import MemoryStore, Retention, Store, open_store

log = logging.getLogger("tokenwise.store")

CALIBRATION_KEY = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A recorder and the accountant whose events it writes."""

    recorder: Recorder
    accountant: Accountant


_shared: dict[tuple[int, str], Runtime] = {}
_lock = threading.Lock()


def shared_runtime(store: str | None = None) -> Runtime:
    """Return this process's runtime of the store at URL *store* (default: `TOKENWISE_STORE`).

    A store that cannot be opened is logged once and replaced by one in memory, settings that cannot be read by the
    defaults: the application goes on.
    """
    settings = _settings()
    url = store or settings.store
    key = (os.getpid(), url)  # a forked child opens its own
    with _lock:
        if key not in _shared:
            _shared[key] = make_runtime(_open_or_memory(url), settings)
        return _shared[key]


def runtime_of(store: Store | str | None) -> Runtime:
    """Return what a handler given *store* writes to: the shared runtime of a URL, or one of its own over a store."""
    return shared_runtime(store) if store is None or isinstance(store, str) else make_runtime(store)


def make_runtime(
    store: Store,
    settings: Settings | None = None,
    *,
    prices: PriceBook | None = None,
    counters: Mapping[str, TokenCounter] | None = None,
) -> Runtime:
    """Return a runtime of its own over *store*; calibration is read from it and written back as it is learnt.

    *counters* count models that we don't know, by name: `{"mine": TokenCounter(my_count, model="mine")}`.
    """
    settings = settings or _settings()
    calibration = Calibration()
    accountant = Accountant(
        prices=prices or _prices(settings),
        calibration=calibration,
        counters=counters,
        keep_text=settings.keep_text,
        prepare=lambda: _recall(store, calibration),
    )
    recorder = Recorder(store, retention=_retention(settings), redact=_redact(settings))
    recorder.after_write(_saver(store, accountant.calibration))
    return Runtime(recorder=recorder, accountant=accountant)


def _settings() -> Settings:
    try:
        return load_settings()
    except (BadInput, OSError) as error:
        log.warning("the settings cannot be read (%s); the defaults are used", error)
        return Settings.model_construct(store=default_store())


def _prices(settings: Settings) -> PriceBook:
    try:
        return PriceBook(overrides=settings.prices)
    except (BadInput, OSError) as error:
        log.warning("your prices cannot be read (%s); the list prices are used", error)
        return PriceBook()


def _retention(settings: Settings) -> Retention:
    cap = settings.max_store_mb
    return Retention(
        raw_days=settings.raw_days,
        rollup_days=settings.rollup_days,
        max_bytes=None if cap is None else round(cap * 1_000_000),
    )


def _redact(settings: Settings) -> Callable[[str], str | None] | None:
    """Return the user's hook; where it cannot be imported no text is kept at all."""
    if settings.redact is None:
        return None
    module, _, name = settings.redact.partition(":")
    try:
        hook: Callable[[str], str | None] = getattr(import_module(module), name)
    except Exception as error:  # fail-open for the call, fail-closed for its text
        log.warning("the redact hook %s cannot be imported (%s): no text is kept", settings.redact, error)
        return _nothing
    return hook


def _nothing(text: str) -> None:
    """Keep nothing of *text*."""


def _open_or_memory(url: str) -> Store:
    try:
        return open_store(url)
    except (StoreError, BadInput, ImportError, OSError) as error:
        log.warning("the usage store cannot be opened (%s); this process keeps its events in memory", error)
        return MemoryStore()


def _recall(store: Store, calibration: Calibration) -> None:
    """Read what was learnt before; runs in the recorder's thread, so that a slow store delays nobody."""
    try:
        state = store.get_state(CALIBRATION_KEY)
        if state:
            calibration.restore(state)
    except Exception as error:  # fail-open: a bad state is a cold start
        log.warning("the calibration state cannot be read (%s); starting anew", type(error).__name__)


def _saver(store: Store, calibration: Calibration) -> Callable[[], None]:
    """Return what writes the calibration to *store* where it has changed since the last time."""
    saved = calibration.to_dict()

    def save() -> None:
        nonlocal saved
        state = calibration.to_dict()
        if state != saved:
            store.set_state(CALIBRATION_KEY, state)
            saved = state

    return save


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603  another thread of the parent may have held it
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
