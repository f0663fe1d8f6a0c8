"""The published tables of merges: where they may stand on this machine, how they are checked, fetched and kept."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.util
import os
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import platformdirs
import tiktoken

DOWNLOAD_SECONDS = 30.0
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
        if verified(file, path) is not None:
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


def verified(file: BpeFile, path: Path) -> bytes | None:
    """Return the bytes at *path* if they are the published ones; another's damaged file is left as it is."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == file.sha256 else None


def build(file: BpeFile, data: bytes) -> tiktoken.Encoding:
    """Return the encoding of verified bytes; ordinary text only, control tokens are never looked for."""
    pairs = (line.split() for line in data.splitlines() if line)
    return tiktoken.Encoding(
        name=file.name,
        pat_str=file.pattern,
        mergeable_ranks=dict(islice(((base64.b64decode(token), int(rank)) for token, rank in pairs), file.merges)),
        special_tokens={"<|endoftext|>": file.end_of_text},
    )


def download(url: str) -> bytes:
    """Return what stands at *url*; tiktoken's own download has no time limit and can hang behind a firewall."""
    request = urllib.request.Request(url, headers={"User-Agent": "tokenwise"})  # noqa: S310 - https, from BPE_FILES
    with urllib.request.urlopen(request, timeout=DOWNLOAD_SECONDS) as response:  # noqa: S310
        data: bytes = response.read()
    return data


def keep(path: Path, data: bytes) -> None:
    """Write through a temporary file, so that no reader sees half of it; a read-only home is no failure."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as partial:
            partial.write(data)
        Path(partial.name).replace(path)
