"""Where the BPE files are: found offline and verified, else fetched in the background; never waited for."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.util
import logging
import os
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path

import platformdirs
import tiktoken

from tokenwise_core.tokens.estimator import estimate_tokens
from tokenwise_core.tokens.memo import Memo, text_key
from tokenwise_core.usage.components import CountSource

log = logging.getLogger("tokenwise.tokens")

OFFLINE = "TOKENWISE_OFFLINE"
DOWNLOAD_SECONDS = 30.0
LOAD_SECONDS = 5.0
_LONGEST_PIECE = 100_000
"""Characters given to the regex engine at once: a run of a million equal signs overflows its stack."""

# Patterns, special tokens and checksums are tiktoken's (`tiktoken_ext/openai_public.py`, MIT).
_CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


Fetch = Callable[[str], bytes]
"""Address in, content out; raises OSError or ValueError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BpeFile:
    """A published table of merges: its address, its checksum, and the pattern that cuts text before it.

    *merges* takes only the first so many: a stand-in for models with a smaller vocabulary.
    """

    name: str
    sha256: str
    pattern: str
    end_of_text: int
    merges: int | None = None

    @property
    def url(self) -> str:
        return f"https://openaipublic.blob.core.windows.net/encodings/{self.name}.tiktoken"

    @property
    def cache_name(self) -> str:
        """The name under which tiktoken stores it: sha1 of the address."""
        return hashlib.sha1(self.url.encode(), usedforsecurity=False).hexdigest()


Places = Callable[[BpeFile], Iterable[tuple[str, Path]]]
"""Where a file may stand, as (origin, path), in the order of preference."""
BPE_FILES = {
    file.name: file
    for file in (
        BpeFile(
            name="cl100k_base",
            sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
            pattern=_CL100K,
            end_of_text=100_257,
        ),
        BpeFile(
            name="o200k_base",
            sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
            pattern=_O200K,
            end_of_text=199_999,
        ),
    )
}
_SHIPPED_BY = {
    "llama-index-core": ("llama_index", "core/_static/tiktoken_cache"),
    "litellm": ("litellm", "litellm_core_utils/tokenizers"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingInfo:
    """What `tokenwise doctor` shows of an encoding: where it was found, None when counts are estimates."""

    name: str
    origin: str | None
    path: Path | None = None
    remedy: str | None = None


def describe_encodings() -> list[EncodingInfo]:
    """Tell for each encoding where its file stands, without loading it."""
    return [_describe(file) for file in BPE_FILES.values()]


def _describe(file: BpeFile) -> EncodingInfo:
    for origin, path in places_of(file):
        if _verified(file, path) is not None:
            return EncodingInfo(name=file.name, origin=origin, path=path)
    return EncodingInfo(
        name=file.name,
        origin=None,
        remedy=f'pip install "tokenwise[offline]", or set TIKTOKEN_CACHE_DIR to a folder that holds {file.cache_name}',
    )


def own_cache() -> Path:
    """Return the folder where downloads of ours are kept."""
    return Path(platformdirs.user_cache_dir("tokenwise", appauthor=False)) / "tiktoken"


def places_of(file: BpeFile) -> Iterator[tuple[str, Path]]:
    """Yield (origin, path) of files that exist, the user's own first."""
    folders = [
        (name, os.environ[name]) for name in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR") if os.environ.get(name)
    ]
    candidates = [(name, Path(folder)) for name, folder in folders]
    candidates.append(("tiktoken's default cache", Path(tempfile.gettempdir()) / "data-gym-cache"))
    candidates.append(("tokenwise's cache", own_cache()))
    candidates.extend(_shipped())
    for origin, folder in candidates:
        path = folder / file.cache_name
        if path.is_file():
            yield origin, path


def _shipped() -> Iterator[tuple[str, Path]]:
    """Yield folders of installed packages that ship BPE files; the packages are located, not imported."""
    for package, (module, inside) in _SHIPPED_BY.items():
        with contextlib.suppress(ImportError, ValueError, AttributeError):
            spec = importlib.util.find_spec(module)
            for root in (spec.submodule_search_locations if spec else None) or ():
                yield f"shipped by {package}", Path(root) / inside


def _verified(file: BpeFile, path: Path) -> bytes | None:
    """Return the bytes at *path* if they are the published ones; another's damaged file is left as it is."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == file.sha256 else None


def _build(file: BpeFile, data: bytes) -> tiktoken.Encoding:
    pairs = (line.split() for line in data.splitlines() if line)
    return tiktoken.Encoding(
        name=file.name,
        pat_str=file.pattern,
        mergeable_ranks=dict(islice(((base64.b64decode(token), int(rank)) for token, rank in pairs), file.merges)),
        special_tokens={"<|endoftext|>": file.end_of_text},
    )


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
        self._lock = threading.Lock()
        self._memo: Memo[int] = Memo()

    @property
    def source(self) -> CountSource:
        """`exact` with the real tokeniser, else `estimated`."""
        return CountSource.EXACT if self.encoding() is not None else CountSource.ESTIMATED

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
        held = self._lock.acquire(timeout=LOAD_SECONDS)  # a fork may have copied it while another thread held it
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
            data = _verified(self._file, path)
            if data is not None:
                return _build(self._file, data)
        return None

    def _do_without(self) -> None:
        """Warn once, and fetch the file behind the caller's back unless that is forbidden."""
        offline = os.environ.get(OFFLINE, "") not in ("", "0")
        log.warning(
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
        _keep(own_cache() / self._file.cache_name, data)
        encoding = _build(self._file, data)
        self._encoding = encoding
        self._memo.clear()  # the estimates
        self.generation += 1


def _parts(text: str) -> Iterator[str]:
    for start in range(0, len(text), _LONGEST_PIECE):
        yield text[start : start + _LONGEST_PIECE]


def download(url: str) -> bytes:
    """Return what stands at *url*; tiktoken's own download has no time limit and can hang behind a firewall."""
    request = urllib.request.Request(url, headers={"User-Agent": "tokenwise"})  # noqa: S310 - https, from BPE_FILES
    with urllib.request.urlopen(request, timeout=DOWNLOAD_SECONDS) as response:  # noqa: S310
        data: bytes = response.read()
    return data


def _keep(path: Path, data: bytes) -> None:
    """Write through a temporary file, so that no reader sees half of it; a read-only home is no failure."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as partial:
            partial.write(data)
        Path(partial.name).replace(path)


@cache
def tokenizer(encoding: str) -> Tokenizer:
    """Return the shared tokeniser of an encoding.

    `o200k_harmony` cuts ordinary text as `o200k_base` does; `cl100k_40k` is our stand-in for Claude's.
    """
    if encoding == "cl100k_40k":
        return Tokenizer(replace(BPE_FILES["cl100k_base"], merges=40_000))
    return Tokenizer(BPE_FILES["o200k_base" if encoding == "o200k_harmony" else encoding])
