"""Opens the parts of a cache, once a process, behind the first request: store, index, verifier, embedder."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import make_url

from tokenwise_core.cache.entries import Entries
from tokenwise_core.cache.entries.protocol import NearestNeighbours
from tokenwise_core.cache.finder import Finder, Policy
from tokenwise_core.cache.index import FaissIndex
from tokenwise_core.cache.key import DIGEST_BYTES
from tokenwise_core.cache.verifier import Verifier
from tokenwise_core.errors import MissingExtra
from tokenwise_core.protocols import Clock, Embedder
from tokenwise_core.usage.pricing import PriceBook

log = logging.getLogger("tokenwise.cache")

RETRY_S = 30.0
"""Pause after an embedder could not be loaded, before it is tried again."""
LOAD_S = 30.0
"""How long the writer waits for an embedder that is loading, before it stores answers for exact hits only."""


class Parts:
    """The open parts of one cache. *finder* needs the store; *embedder_id* is known once the embedder has loaded.

    Opening may block and raise: it runs in the cache's threads. An absent extra leaves the exact cache working.
    """

    def __init__(
        self,
        *,
        entries: Entries,
        embedder: Embedder | None,
        policy: Policy,
        prices: PriceBook,
        clock: Clock,
    ) -> None:
        self.entries, self.embedder, self._policy = entries, embedder, policy
        self._prices, self._clock = prices, clock
        self._finder: Finder | None = None
        self._lock = threading.Lock()
        self._warming = threading.Lock()
        self._tried_once = threading.Event()
        self._tried = float("-inf")
        self.embedder_id: str | None = None
        self.is_missing = embedder is None
        self.ready = threading.Event()
        self.pid = os.getpid()

    @property
    def opened(self) -> Finder | None:
        """Return the finder where the store is open; never blocks."""
        return self._finder

    def finder(self) -> Finder:
        """Return the finder, opening the store first."""
        if self._finder is None:
            with self._lock:
                if self._finder is None:
                    finder = Finder(
                        entries=self.entries,
                        searcher=self._searcher(),
                        embedder=self.embedder,
                        verifier=Verifier(explore=self._policy.explore),
                        policy=self._policy,
                        clock=self._clock,
                    )
                    finder.refresh()
                    self._finder = finder
        return self._finder

    @property
    def is_warm_up_due(self) -> bool:
        """Say whether the embedder is to be loaded now."""
        return not self.ready.is_set() and time.monotonic() - self._tried >= RETRY_S and not self._warming.locked()

    def warm_up(self, learn: Callable[[], None]) -> None:
        """Load all that is slow: the embedder, what was learnt (by *learn*), the price list."""
        if not self._warming.acquire(blocking=False):
            return
        try:
            self._tried = time.monotonic()
            finder = self._opened_with_embedder()
            if self.embedder is None:
                finder.embedder = None
            else:
                finder.searcher.search(bytes(DIGEST_BYTES), self.embedder.embed(["warm"])[0], 1)
            learn()
            self._prices.price("gpt-4o")
            self.ready.set()
        finally:
            self._warming.release()

    def _opened_with_embedder(self) -> Finder:
        """Open the store and load the embedder, each whatever becomes of the other."""
        try:
            return self.finder()
        finally:
            try:
                self._load_embedder()
            finally:
                self._tried_once.set()

    def waited_for_embedder(self) -> bool:
        """Wait for the embedder's first loading to end, but not for ever; True where it is loaded."""
        self._tried_once.wait(LOAD_S)
        self._tried_once.set()  # one that hangs is waited for once
        return self.embedder_id is not None

    def wait_no_longer(self) -> None:
        """Let who waits for the embedder go on without."""
        self._tried_once.set()

    def retry_at_once(self) -> None:
        """Forget that loading failed a moment ago."""
        self._tried = float("-inf")

    def _load_embedder(self) -> None:
        if self.embedder is None or self.embedder_id is not None:
            return
        try:
            self.embedder.embed(["warm"])
            self.embedder_id = self.embedder.id
        except MissingExtra as error:
            log.warning("the semantic cache serves exact hits only: %s", error)
            self.embedder, self.is_missing = None, True

    def _searcher(self) -> NearestNeighbours:
        if self.entries.searches:
            assert isinstance(self.entries, NearestNeighbours)
            return self.entries
        return FaissIndex(self.entries, folder=snapshot_folder(self.entries.url))

    def close(self) -> None:
        """Let go of all handles."""
        finder, self._finder = self._finder, None
        if finder is not None and isinstance(finder.searcher, FaissIndex):
            finder.searcher.close()
        self.entries.close()


def snapshot_folder(url: str) -> Path | None:
    """Return where the index over the store at *url* keeps its snapshots: beside a SQLite file, else nowhere."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(f"{parsed.database}-index")
