"""The tokenisers: exact once their file is found, an estimate until then; nothing ever waits for a download."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import tiktoken

from tokenwise_core import process
from tokenwise_core.tokens.bpe_files import (
    BPE_FILES,
    BpeFile,
    Fetch,
    Places,
    build,
    download,
    keep,
    own_cache,
    places_of,
    verified,
)
from tokenwise_core.tokens.estimator import estimate_tokens
from tokenwise_core.tokens.memo import Memo, text_key
from tokenwise_core.usage.components import CountSource

log = logging.getLogger("tokenwise.tokens")

OFFLINE = "TOKENWISE_OFFLINE"
LOAD_SECONDS = 5.0
_LONGEST_PIECE = 100_000
"""Characters given to the regex engine at once: a run of a million equal signs overflows its stack."""
_warning_due = threading.Lock()
"""Taken by the first tokeniser without its file and never given back: one warning a process is enough."""


class Tokenizer:
    """One encoding, shared by all counters of the process: exact once its file is found, an estimate until then.

    *generation* grows when a download turns estimates into counts.
    """

    def __init__(self, file: BpeFile, *, places: Places | None = None, fetch: Fetch | None = None) -> None:
        self.name = file.name
        self._file = file
        self._places = places or places_of
        self._fetch = fetch or download
        self._encoding: tiktoken.Encoding | None = None
        self.generation = 0
        self._looked = False
        self._lock, self._pid = threading.Lock(), process.pid
        self._memo: Memo[int] = Memo()

    @property
    def source(self) -> CountSource:
        """`exact` with the real tokeniser, else `estimated`."""
        return CountSource.EXACT if self.encoding() is not None else CountSource.ESTIMATED

    @property
    def is_loaded(self) -> bool:
        """Say whether the file was looked for: before that, a count may take 0.1 to 0.5 s."""
        return self._looked

    def encoding(self) -> tiktoken.Encoding | None:
        """Return the encoding, or None while no file is at hand; the first call loads it (0.1 to 0.3 s)."""
        if not self._looked:
            self._look()
        return self._encoding

    def __call__(self, text: str) -> int:
        """Return the number of tokens of *text*, remembered."""
        return self.count(text)

    def count(self, text: str) -> int:
        """Return the number of tokens of *text*, remembered."""
        if not text:
            return 0
        key = text_key(text)
        known = self._memo.get(key)
        if known is None:
            generation = self.generation
            known = self._count(text)
            if generation == self.generation:  # else it may be an estimate from before the download
                self._memo.put(key, known)
        return known

    def prepare(self) -> None:
        """Load in a thread, so that the first count in an event loop need not wait for it."""
        if not self._looked:
            threading.Thread(target=self._look, name=f"tokenwise-load-{self.name}", daemon=True).start()

    def encode(self, text: str) -> list[int] | None:
        """Return token ids, or None while only estimates are possible."""
        encoding = self.encoding()
        if encoding is None:
            return None
        return [token for part in _parts(text) for token in encoding.encode_ordinary(part)]

    def _count(self, text: str) -> int:
        encoding = self.encoding()
        if encoding is None:
            return estimate_tokens(text)
        if len(text) <= _LONGEST_PIECE:
            return len(encoding.encode_ordinary(text))
        return sum(len(encoding.encode_ordinary(part)) for part in _parts(text))

    def _look(self) -> None:
        if self._pid != process.pid:  # a forked child: a thread that is not here may have held the lock
            self._lock, self._pid = threading.Lock(), process.pid
        held = self._lock.acquire(timeout=LOAD_SECONDS)
        try:
            if not self._looked:
                self._encoding = self._load()
                self._looked = True
                if self._encoding is None:
                    self._do_without()
        finally:
            if held:
                self._lock.release()

    def _load(self) -> tiktoken.Encoding | None:
        for _, path in self._places(self._file):
            data = verified(self._file, path)
            if data is not None:
                return build(self._file, data)
        return None

    def _do_without(self) -> None:
        """Warn, once in a process, and fetch the file behind the caller's back unless that is forbidden."""
        offline = os.environ.get(OFFLINE, "") not in ("", "0")
        log.log(
            logging.WARNING if _warning_due.acquire(blocking=False) else logging.DEBUG,
            'no BPE file for %s: counts are estimates%s (to install one: pip install "tokenwise[offline]")',
            self.name,
            "" if offline else " until it is downloaded",
        )
        if not offline:
            threading.Thread(target=self._download, name=f"tokenwise-{self.name}", daemon=True).start()

    def _download(self) -> None:
        try:
            data = self._fetch(self._file.url)
        except Exception as error:  # a thread of ours: whatever goes wrong, estimates go on
            log.info("download of %s failed (%s)", self.name, type(error).__name__)
            return
        if hashlib.sha256(data).hexdigest() != self._file.sha256:
            log.warning("download of %s has a wrong checksum and is not used", self.name)
            return
        keep(own_cache() / self._file.cache_name, data)
        encoding = build(self._file, data)
        self._encoding = encoding
        self._memo.clear()  # the estimates
        self.generation += 1


def _parts(text: str) -> Iterator[str]:
    for start in range(0, len(text), _LONGEST_PIECE):
        yield text[start : start + _LONGEST_PIECE]


@cache
def tokenizer(encoding: str) -> Tokenizer:
    """Return the shared tokeniser of an encoding.

    `o200k_harmony` cuts ordinary text as `o200k_base` does; `cl100k_40k` is our stand-in for Claude's.
    """
    if encoding == "cl100k_40k":
        return Tokenizer(replace(BPE_FILES["cl100k_base"], merges=40_000))
    return Tokenizer(BPE_FILES["o200k_base" if encoding == "o200k_harmony" else encoding])
