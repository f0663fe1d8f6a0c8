"""Embedding models in ONNX, run on the CPU by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenwise_core._optional import require
from tokenwise_core.embeddings.files import existing_onnx_file, folder_of, packaged, read_json, weights_hash
from tokenwise_core.embeddings.handle import Handle
from tokenwise_core.embeddings.tokenizer import tokenizer_in
from tokenwise_core.embeddings.vectors import Vectors, unit
from tokenwise_core.embeddings.window import WINDOW, surely_fits
from tokenwise_core.errors import BadInput

_KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


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
        self._handle, self._identity = Handle[_Model](), Handle[str]()

    @property
    def id(self) -> str:
        """Name and weight hash, read once, without opening the model."""
        return self._identity.get(self._identify)

    def fits(self, text: str) -> bool:
        """Tell whether all of *text* is within the window."""
        model = self._model()
        return surely_fits(text, model.window) or not model.tokenizer.encode(text).overflowing

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text; of a text longer than the window, what is beyond it is not seen."""
        model = self._model()
        encoded = [model.tokenizer.encode(text).ids for text in texts]  # one by one: its pool of threads dies in a fork
        out = np.zeros((len(encoded), model.dimension), dtype=np.float32)
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))  # like lengths together: little padding
        for start in range(0, len(order), self._batch):
            rows = order[start : start + self._batch]
            out[rows] = model.run([encoded[i] for i in rows])
        return out

    def _identify(self) -> str:
        file = self._file()
        name = "all-MiniLM-L6-v2-int8" if self._path is None else folder_of(file).name
        return f"{name}@{weights_hash(file)[:12]}"

    def _file(self) -> Path:
        return packaged() if self._path is None else existing_onnx_file(self._path)

    def _model(self) -> _Model:
        return self._handle.get(lambda: _open(self._file(), threads=self._threads, max_tokens=self._max_tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """An open session with its tokenizer. *pooled* says that the output is a vector a text already."""

    session: Any
    tokenizer: Any
    window: int
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
        return unit(out if self.pooled else out[:, 0] if self.first_token else _mean(out, mask))


def _mean(hidden: Vectors, mask: NDArray[np.int64]) -> Vectors:
    """Average the vectors of real tokens."""
    weights = mask[:, :, None].astype(np.float32)
    mean: Vectors = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
    return mean


def _open(file: Path, *, threads: int, max_tokens: int | None) -> _Model:
    runtime = require("onnxruntime", extra="local")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    inputs = frozenset(item.name for item in session.get_inputs())
    if not inputs <= _KNOWN_INPUTS or "input_ids" not in inputs:
        raise BadInput(f"{file} is not a text-embedding model: it takes {sorted(inputs)}, not {sorted(_KNOWN_INPUTS)}")
    outputs = session.get_outputs()
    chosen = next((item for item in outputs if item.name == "sentence_embedding"), outputs[0])
    folder = folder_of(file)
    window = max_tokens or read_json(folder / "sentence_bert_config.json").get("max_seq_length") or WINDOW
    tokenizer = tokenizer_in((file.parent, folder))
    tokenizer.no_padding()
    tokenizer.enable_truncation(window)
    return _Model(
        session=session,
        tokenizer=tokenizer,
        window=window,
        pad=next((i for i in map(tokenizer.token_to_id, ("[PAD]", "<pad>")) if i is not None), 0),
        inputs=inputs,
        output=chosen.name,
        pooled=len(chosen.shape) == 2,
        first_token=_pools_first_token(folder),
        dimension=chosen.shape[-1],
    )


def _pools_first_token(folder: Path) -> bool:
    """Read sentence-transformers' pooling; mean where nothing is said, an error where it is neither."""
    modes = {name for name, on in read_json(folder / "1_Pooling" / "config.json").items() if on is True}
    modes &= {f"pooling_mode_{kind}" for kind in ("cls_token", "max_tokens", "mean_sqrt_len_tokens", "lasttoken")}
    if modes - {"pooling_mode_cls_token"}:
        raise BadInput(f"{folder} pools by {', '.join(sorted(modes))}: only mean and first token are read")
    return bool(modes)
